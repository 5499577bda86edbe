"""Check folds: raise an error if results would be meaningless; return a caveat if results are doubtful."""

from __future__ import annotations

from collections.abc import Sequence

from ..corpora.manifest import Manifest
from ..corpora.speaker_groups import are_speaker_groups
from ..utils.errors import RecipeError
from ..utils.wording import counted, listed
from .folds import Fold, Kind

_CONSEQUENCE = {
    "train": "the model cannot learn this class there",
    "validation": "the UA that chooses the epoch leaves this class out",
    "test": "UA is the mean over the other classes there",
}

_FEW = 30  # utterances; an accuracy of 70 % on 30 utterances has a standard error of 8 points


def fold_caveats(manifest: Manifest, folds: Sequence[Fold], kind: Kind, groups: int | None = None) -> list[str]:
    """One caveat for each property of the corpus or the folds that makes results doubtful.

    Args:
        manifest: The utterances.
        folds: The folds.
        kind: The protocol.
        groups: The number of speaker groups in the settings of the corpus. Default: ``None``, not set.
    Raises:
        RecipeError: If the corpus or a training part has fewer than two classes.
    """
    present = _classes(manifest, range(len(manifest.utterances)))
    if len(present) < 2:
        raise RecipeError(f"the corpus must have utterances of at least 2 classes, got {', '.join(present)}")
    for fold in folds:
        if len(found := _classes(manifest, fold.train)) < 2:
            raise RecipeError(
                f"the training part of the fold {fold.name} must have utterances of at least 2 classes, got "
                f"{', '.join(found) or 'none'}"
            )
    unused = [label for label in manifest.labels if label not in present]
    caveats = []
    if unused:
        caveats.append(
            f"No utterance has the label {listed(unused, separator=' or ')}. The chance level counts all labels."
        )
    for part in _CONSEQUENCE:
        caveats += _missing_classes(manifest, folds, part, present)
    if kind != "speaker":
        caveats += _single_speakers(manifest, folds)
    smallest = min(len(fold.validation) for fold in folds)
    if 0 < smallest < _FEW:
        caveats.append(
            f"The smallest validation part has {counted(smallest, 'utterance')}, so the epoch that it chooses depends "
            "on chance. With protocol.kind: last, no epoch is chosen."
        )
    sessions = len({utterance.session for utterance in manifest.utterances})
    if groups is not None and sessions != groups:
        caveats.append(f"groups is {groups}, but the corpus has {counted(sessions, 'session')}.")
    return caveats


def _missing_classes(manifest: Manifest, folds: Sequence[Fold], part: str, present: Sequence[str]) -> list[str]:
    missing: dict[str, list[str]] = {}
    for fold in folds:
        indices = getattr(fold, part)
        found = _classes(manifest, indices) if indices else present
        for label in present:
            if label not in found:
                missing.setdefault(label, []).append(fold.name)
    name = "training" if part == "train" else part
    return [
        f"The {name} part of {len(names)} of {counted(len(folds), 'fold')} ({listed(names)}) has no utterance of "
        f"{label}: {_CONSEQUENCE[part]}."
        for label, names in missing.items()
    ]


def _single_speakers(manifest: Manifest, folds: Sequence[Fold]) -> list[str]:
    names = [fold.name for fold in folds if len({manifest.utterances[index].speaker for index in fold.test}) == 1]
    if not names:
        return []
    caveat = (
        f"The test part of {len(names)} of {counted(len(folds), 'fold')} ({listed(names)}) has one speaker, so the "
        "intervals do not show how much speakers differ within a fold."
    )
    if are_speaker_groups(fold.name for fold in folds):
        caveat += f" With corpus.groups below {len(folds)}, a fold tests more speakers on average, and trains on fewer."
    return [caveat]


def _classes(manifest: Manifest, indices: Sequence[int]) -> list[str]:
    found = {manifest.utterances[index].label for index in indices}
    return [label for label in manifest.labels if label in found]
