"""Maps from the labels of a corpus to classes: YAML files of this package or of the user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from ..utils.errors import RecipeError, raise_problems, shortened
from ..utils.names import look_alike_problems, look_alikes
from ..utils.wording import counted
from ..utils.yaml_files import parse_yaml, read_yaml

LabelMap: TypeAlias = Mapping[str, str | None]  # None: utterances with this label are left out


def shipped_map(corpus: str) -> dict[str, str | None]:
    """This package's map from the codes of a corpus to classes, in the order of the classes."""
    name = f"labels/{corpus}.yaml"
    return _checked(parse_yaml((files(__package__) / name).read_text(encoding="utf-8"), name), name)


def read_label_map(path: Path) -> dict[str, str | None]:
    """Read a user's YAML file with lines ``code: class`` or ``code: null``.

    Raises:
        RecipeError: If the file cannot be read, does not contain such a map, or has ``null`` for all labels.
    """
    return _checked(read_yaml(path, "label map"), str(path))


def classes_of(
    codes: Counter[str], own: LabelMap | None, given: LabelMap | None
) -> tuple[dict[str, str | None], tuple[str, ...]]:
    """The class of each code, and all classes in the order of the map.

    A key of the map also matches a code in another case, unless the code is a single letter, the corpus contains it in
    several cases, or the map has several classes for it.

    Args:
        codes: The labels in the corpus, with their numbers of utterances.
        own: The corpus's map, or ``None``.
        given: The user's map, which is used instead of ``own``, or ``None``. Its keys are codes, or classes of ``own``.
            It may omit codes that ``own`` leaves out. If both maps are ``None``, each label is a class, in sorted
            order.
    Raises:
        RecipeError: If codes in the corpus are not in the map, or look alike and have different classes.
    """
    chosen = given if given is not None else own
    if chosen is None:
        _check_alike({code: code for code in codes})
        return {code: code for code in codes}, tuple(sorted(codes))
    labels = tuple(dict.fromkeys(label for label in chosen.values() if label is not None))
    names = own or {}
    chosen = {**_in_other_cases(chosen, codes), **_in_other_cases(chosen, filter(None, names.values())), **chosen}
    unknown = [code for code in sorted(codes) if code not in chosen and code not in names]
    classes: dict[str, str | None] = {}
    for code in codes:
        name = names.get(code)
        if code in chosen or name is None:
            classes[code] = chosen.get(code)
        elif name in chosen:
            classes[code] = chosen[name]
        else:
            unknown.append(code)
    if unknown:
        called = {
            code: repr(code) if names.get(code) in (None, code) else f"{code!r}, {names[code]}" for code in unknown
        }
        listed = ", ".join(f"{called[code]} ({counted(codes[code], 'utterance')})" for code in sorted(unknown))
        raise RecipeError(f"the label map lacks {listed}: give each a class, or null to leave it out")
    _check_alike(classes)
    return classes, labels


def _in_other_cases(chosen: LabelMap, codes: Iterable[str]) -> dict[str, str | None]:
    """The classes of the codes that match a key if case is ignored, such as ``Angry`` and ``angry``.

    Codes of one letter, codes that ``codes`` contains in several cases, and codes that match keys with different
    classes are left out.
    """
    labels: dict[str, set[str | None]] = {}
    for code, label in chosen.items():
        labels.setdefault(code.casefold(), set()).add(label)
    codes = {*codes}
    cases = Counter(code.casefold() for code in codes)
    return {
        code: next(iter(found))
        for code in codes
        if len(code) > 1 and cases[code.casefold()] == 1 and len(found := labels.get(code.casefold(), set())) == 1
    }


def _check_alike(classes: LabelMap) -> None:
    """Raise if labels that look alike have different classes."""
    alike = [group for group in look_alikes(sorted(classes)) if len({classes[code] for code in group} - {None}) > 1]
    codes = [code for group in alike for code in group]
    raise_problems(look_alike_problems("labels", codes, "give them one class in the label map"))


def _checked(found: Any, name: str) -> dict[str, str | None]:
    if not isinstance(found, dict) or not found:
        got = shortened(found) if found is None or isinstance(found, str) else type(found).__name__
        raise RecipeError(f"the label map {name} must contain lines 'code: class' or 'code: null', got {got}")
    for code, label in found.items():
        if not isinstance(code, str):
            raise RecipeError(f"a label in the label map {name} must be text, got null: put it in quotes")
        if not (label is None or (isinstance(label, str) and label)):
            raise RecipeError(f"the class of {code!r} in the label map {name} must be a name or null, got {label!r}")
    if not any(found.values()):
        raise RecipeError(f"the label map {name} must keep at least one class, got none")
    return found
