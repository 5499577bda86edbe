"""What the recipe knows of a corpus: its utterances, its classes, its folds. Kept as JSON lines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from .errors import RecipeError
from .files import atomic_write


@dataclass(frozen=True, slots=True)
class Utterance:
    """One labelled recording. ``path`` is absolute, ``seconds`` is the whole recording's duration."""

    id: str
    path: Path
    label: str
    speaker: str
    session: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """A corpus in a fixed order; ``labels[k]`` is the name of class ``k``.

    Raises:
        RecipeError: If there is no utterance, an id occurs twice, or a label is not among the classes.
    """

    utterances: tuple[Utterance, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.utterances:
            raise RecipeError("the manifest holds no utterance")
        seen: set[str] = set()
        for utterance in self.utterances:
            if utterance.id in seen:
                raise RecipeError(f"the utterance {utterance.id} occurs twice")
            if utterance.label not in self.labels:
                raise RecipeError(
                    f"the utterance {utterance.id} has the label {utterance.label!r}, "
                    f"which is not among {', '.join(self.labels)}"
                )
            seen.add(utterance.id)


@dataclass(frozen=True, slots=True)
class Fold:
    """One division of a manifest, named after the session it tests; the numbers index ``Manifest.utterances``."""

    name: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def heldout_folds(manifest: Manifest) -> list[Fold]:
    """Leave one session out: it tests, the next one (after the last, the first) validates, the others train.

    Raises:
        RecipeError: If there are fewer than three sessions, or a speaker is in two parts of a fold.
    """
    sessions = sorted({utterance.session for utterance in manifest.utterances})
    if len(sessions) < 3:
        raise RecipeError(
            f"the corpus has {len(sessions)} session{'s' * (len(sessions) != 1)}: "
            "one to test, one to validate and one to train need at least 3"
        )
    folds = []
    for tested, validating in zip(sessions, sessions[1:] + sessions[:1], strict=True):
        parts: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
        for index, utterance in enumerate(manifest.utterances):
            part = {tested: "test", validating: "validation"}.get(utterance.session, "train")
            parts[part].append(index)
        fold = Fold(tested, **{part: tuple(indices) for part, indices in parts.items()})
        _check_speakers(manifest, fold)
        folds.append(fold)
    return folds


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the classes on the first line and an utterance on each other, all at once or not at all.

    Audio below the manifest's own folder is named relative to it, so that the two can move together.
    """
    folder = path.resolve().parent
    rows: list[dict[str, object]] = [{"labels": manifest.labels}]
    for utterance in manifest.utterances:
        below = utterance.path.is_relative_to(folder)
        audio = utterance.path.relative_to(folder) if below else utterance.path
        rows.append({**asdict(utterance), "path": audio.as_posix()})
    with atomic_write(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def read_manifest(path: Path) -> Manifest:
    """Read what :func:`write_manifest` wrote.

    Raises:
        RecipeError: If there is no such file, or a line is not what it should be; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise RecipeError(f"there is no manifest {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the manifest {path} cannot be read: {error}") from None
    folder = path.resolve().parent
    labels: tuple[str, ...] = ()
    utterances = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if number == 1:
                labels = tuple(row["labels"])
            else:
                utterances.append(Utterance(**{**row, "path": folder / row["path"]}))
        except (ValueError, TypeError, KeyError):
            expected = "the labels" if number == 1 else "an utterance"
            raise RecipeError(f"line {number} of the manifest {path} does not hold {expected}") from None
    return Manifest(tuple(utterances), labels)


def _check_speakers(manifest: Manifest, fold: Fold) -> None:
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    speakers = {part: {manifest.utterances[i].speaker for i in indices} for part, indices in parts.items()}
    for one, other in combinations(speakers, 2):
        if shared := sorted(speakers[one] & speakers[other]):
            raise RecipeError(
                f"the speaker {shared[0]} is in both the {one} and the {other} part of the fold {fold.name}"
            )
