"""The folds of a corpus: the training, validation and test parts under each protocol.

=============  ===============  ======================================================================
protocol       tests            validates
=============  ===============  ======================================================================
heldout        a session        the next session; after the last session, the first
speaker        a speaker        the other speakers of the session; if there are none, the next session
last, paper    a session        none
=============  ===============  ======================================================================

All other utterances are for training. No speaker is in two parts of a fold.
:mod:`temporal_shift.ser.training.epoch_choice` defines the epoch that each protocol reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal, TypeAlias

from ..corpora.manifest import Manifest, Utterance
from ..corpora.speaker_groups import are_speaker_groups
from ..utils.errors import RecipeError
from ..utils.wording import listed

Kind: TypeAlias = Literal["heldout", "paper", "last", "speaker"]


@dataclass(frozen=True, slots=True)
class Fold:
    """One split of a manifest. The parts are indices into ``Manifest.utterances``."""

    name: str  # the test session or speaker; "all speakers" without a test part
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def make_folds(manifest: Manifest, kind: Kind) -> list[Fold]:
    """The folds of a protocol, sorted by session, and within a session by speaker.

    Args:
        manifest: The utterances.
        kind: The protocol.
    Raises:
        RecipeError: If there are fewer than 3 sessions (2 for ``paper`` and ``last``), or a speaker is in two parts.
    """
    sessions = sorted({utterance.session for utterance in manifest.utterances})
    minimum = 2 if kind in ("paper", "last") else 3
    if len(sessions) < minimum:
        raise RecipeError(_too_few(manifest, sessions, minimum, kind))
    following = dict(zip(sessions, sessions[1:] + sessions[:1], strict=True))
    if kind == "speaker":
        folds = _speaker_folds(manifest, following)
    else:
        validating = following if kind == "heldout" else {}
        parts = {name: {validating.get(name): "validation", name: "test"} for name in sessions}
        folds = [_fold(manifest, name, lambda utterance: utterance.session, parts[name]) for name in sessions]
    for fold in folds:
        _check_speakers(manifest, fold)
    return folds


def _too_few(manifest: Manifest, sessions: list[str], minimum: int, kind: Kind) -> str:
    speakers = sorted(manifest.count("speaker"))
    what, got = "sessions", str(len(sessions))
    if are_speaker_groups(sessions):
        what = "groups of speakers"
        if len(speakers) < minimum:
            what, got = "speakers", f"{len(speakers)} ({listed(speakers)})"
    return f"the corpus must have at least {minimum} {what} for the protocol {kind!r}, got {got}"


def _speaker_folds(manifest: Manifest, following: dict[str, str]) -> list[Fold]:
    speakers: dict[str, set[str]] = {}  # by session
    for utterance in manifest.utterances:
        speakers.setdefault(utterance.session, set()).add(utterance.speaker)
    folds = []
    for session, of_session in sorted(speakers.items()):
        for name in sorted(of_session):
            validating = [(session, other) for other in of_session - {name}]
            validating = validating or [(following[session], other) for other in speakers[following[session]]]
            parts = {**dict.fromkeys(validating, "validation"), (session, name): "test"}
            folds.append(_fold(manifest, name, lambda utterance: (utterance.session, utterance.speaker), parts))
    return folds


def _fold(manifest: Manifest, name: str, group: Callable[[Utterance], object], parts: Mapping[Any, str]) -> Fold:
    divided: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for index, utterance in enumerate(manifest.utterances):
        divided[parts.get(group(utterance), "train")].append(index)
    return Fold(name, **{part: tuple(indices) for part, indices in divided.items()})


def _check_speakers(manifest: Manifest, fold: Fold) -> None:
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    speakers = {part: {manifest.utterances[i].speaker for i in indices} for part, indices in parts.items()}
    for one, other in combinations(speakers, 2):
        if shared := sorted(speakers[one] & speakers[other]):
            raise RecipeError(
                f"the {one} and {other} parts of the fold {fold.name} must not share speakers, got {shared[0]} in both"
            )
