"""Validate names, labels and local paths, and detect names that look alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from .errors import RecipeError, raise_problems, shortened
from .wording import listed

_CONTROLS = (
    "Cc",
    "Cs",
    "Zl",
    "Zp",
)  # Unicode's categories of control characters, bytes that are not UTF-8, line breaks
_MISSING = (
    *("", "-", "--", "?", ".", "null", "none", "nil", "undefined"),
    *("nan", "-nan", "nat", "na", "n/a", "n.a.", "<na>", "#na", "#n/a"),
    *("#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!", "#error!"),  # errors of spreadsheets
)
MAX_BYTES = 200  # file systems allow 255; suffixes and temporary names need the rest

# Unicode's Default_Ignorable_Code_Point: zero-width characters, marks of direction, soft hyphens and others
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SEPARATORS = '/\\:*?"<>|'  # Windows forbids all of them
_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE
)  # reserved on Windows


def check_path_name(value: str, argument: str) -> str:
    """Check a name that becomes a file or a folder, and return it in Unicode's form NFC.

    Use it for names of experiments, models, runs, sessions and speakers, but not for whole paths. In a pydantic class,
    use the type :data:`PathName`.

    Args:
        value: The name.
        argument: What the name is, for the message, such as ``"name"``.
    Raises:
        RecipeError: If the name is empty, longer than 200 bytes in UTF-8, or reserved on Windows, if it begins or ends
            with a dot or white space, or contains one of ``/ \\ : * ? " < > |``, a control character, an invisible
            character or a byte that is not UTF-8.
    """
    value = unicodedata.normalize("NFC", value)
    if problem := _problem(value):
        raise RecipeError(f"{argument} {problem}, got {shortened(value)}".lstrip())
    return value


PathName = Annotated[str, AfterValidator(lambda value: check_path_name(value, ""))]


def check_name(value: str, argument: str) -> str:
    """Check a label or another name that is shown and compared, and return its :func:`clean_name`.

    Args:
        value: The name.
        argument: What the name is, for the message.
    Raises:
        RecipeError: If nothing visible is left, or the name has several lines, control characters, bytes that are not
            UTF-8, or more than 200 bytes.
    """
    name = clean_name(value)
    if not name:
        raise RecipeError(f"{argument} must not be empty, got {shortened(value)}".lstrip())
    if any(unicodedata.category(character) in _CONTROLS for character in name):
        expected = "one line of UTF-8 text without control characters"
        raise RecipeError(f"{argument} must be {expected}, got {shortened(value)}".lstrip())
    if len(name.encode()) > MAX_BYTES:
        raise RecipeError(f"{argument} must have at most {MAX_BYTES} bytes in UTF-8, got {shortened(value)}".lstrip())
    return name


Name = Annotated[str, AfterValidator(lambda value: check_name(value, ""))]


def check_local_path(value: object) -> object:
    """Return a path unchanged if it can name a local file.

    Raises:
        RecipeError: If the path is text that is empty, begins with ``~``, or contains ``://`` or a null byte. The
            message begins with "must"; :func:`.sentences_of` puts pydantic's key before it.
    """
    if isinstance(value, str) and (not value.strip() or "\0" in value or "://" in value or value.startswith("~")):
        raise RecipeError(f"must be a path on this machine, relative or absolute, got {shortened(value)}")
    return value


LocalPath = Annotated[Path, BeforeValidator(check_local_path)]


def is_missing(name: str) -> bool:
    """Whether a name is a missing value: empty, ``nan``, ``NA``, ``null``, ``#REF!`` or similar."""
    return clean_name(name).casefold() in _MISSING


def clean_name(text: str) -> str:
    """The name in Unicode's form NFC, without invisible characters and outer white space.

    The result is the same for ``René`` in NFC and NFD, and for ``happy`` with and without a zero-width space.
    """
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).strip()


def look_alike_key(name: str) -> str:
    """Return a key that is equal for names that look alike.

    Such names differ only in case, the amount of white space, leading zeros, the script of digits, invisible
    characters, Unicode's compatible forms such as widths (NFKC), or the ``.0`` of a whole number. The names of each of
    these pairs have the same key: ``Anna`` and ``anna``, ``03`` and ``3``, ``Ses01`` and ``Ses1``, ``3.0`` and ``3``.
    """
    key = " ".join(unicodedata.normalize("NFKC", clean_name(name)).split())
    key = unicodedata.normalize("NFKC", key.casefold())
    key = "".join(str(unicodedata.decimal(character, character)) for character in key)  # digits of every script
    key = re.sub(r"(?<![\d.])0+(?=\d)", "", key)  # not in decimals: 1.05 is not 1.5
    return re.sub(r"^(\d+)\.0+$", r"\1", key)  # 3.0 is 3: spreadsheets can append .0 to a whole number


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of different names with the same :func:`look_alike_key`, in the order of ``names``."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(look_alike_key(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def look_alike_problems(what: str, names: Iterable[str], advice: str) -> list[str]:
    """A list of one sentence with up to ten groups of names that look alike; an empty list if no names do.

    Args:
        what: What the names are, in the plural, for the message.
        names: The names.
        advice: How to solve the problem, for the message.
    """
    groups = look_alikes(names)
    if not groups:
        return []
    found = listed([" and ".join(map(repr, group)) for group in groups], most=10)
    return [f"{what} must not look alike, got {found}: {advice}"]


def clean_label_map(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return a map from labels to classes with clean names. The class ``None`` leaves a label out.

    Raises:
        RecipeError: If no class is left, a class is not a name, a label has two classes, labels of two classes look
            alike, or classes look alike.
    """
    clean: dict[str, str | None] = {}
    for label, name in given.items():
        code, target = clean_name(label), None if name is None else check_name(name, f"the class of {label!r}")
        if target is not None and is_missing(target):
            raise RecipeError(f"the class of {code!r} must be a name, or null to leave it out, got {target!r}")
        if clean.setdefault(code, target) != target:
            raise RecipeError(f"the label {code!r} must have one class, got {clean[code]!r} and {target!r}")
    if not any(clean.values()):
        raise RecipeError("label_map must keep at least one class, got none")
    alike = [
        code for group in look_alikes(clean) if len({clean[code] for code in group} - {None}) > 1 for code in group
    ]
    classes = [target for target in clean.values() if target is not None]
    raise_problems(
        [
            *look_alike_problems("labels", alike, "give them one class"),
            *look_alike_problems("classes", classes, "give them one name"),
        ]
    )
    return clean


def _problem(value: str) -> str | None:
    if not value:
        return "must not be empty"
    if any(unicodedata.category(character) in _CONTROLS for character in value):
        return "must be UTF-8 text without control characters and line breaks"
    if _INVISIBLE.search(value):
        return "must not contain invisible characters"
    if any(character in _SEPARATORS for character in value):
        return f"must not contain any of {' '.join(_SEPARATORS)}"
    if value != value.strip() or value != value.strip("."):
        return "must not begin or end with a dot or white space"
    if len(value.encode()) > MAX_BYTES:
        return f"must have at most {MAX_BYTES} bytes in UTF-8"
    if _DEVICES.fullmatch(value):
        return "must not be a name that Windows reserves for devices"
    return None
