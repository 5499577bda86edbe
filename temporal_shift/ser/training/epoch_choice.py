"""The epochs of a run, and which of them a protocol reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .folds import Kind


@dataclass(frozen=True, slots=True)
class Scores:
    """What one epoch's model makes of some utterances; WA and UA are fractions."""

    loss: float
    wa: float
    ua: float


@dataclass(frozen=True, slots=True)
class Epoch:
    """One point of the learning curves."""

    epoch: int  # counted from 1
    train_loss: float
    validation: Scores | None  # none where nobody validates
    test: Scores


@dataclass(frozen=True, slots=True)
class Chosen:
    """The epochs, counted from 1, that WA and UA are read off."""

    wa: int
    ua: int


def choose(kind: Kind, epochs: Sequence[Epoch]) -> Chosen:
    """The epochs that the protocol reports, the first of equals."""
    if kind == "last":
        return Chosen(len(epochs), len(epochs))
    if kind == "paper":
        return best_test_epochs(epochs)
    best = max(epochs, key=lambda epoch: _validated(epoch).ua).epoch
    return Chosen(best, best)


def best_test_epochs(epochs: Sequence[Epoch]) -> Chosen:
    """What the published protocol takes: the test session's best epoch, for WA and for UA apart."""
    by_wa = max(epochs, key=lambda epoch: epoch.test.wa)
    by_ua = max(epochs, key=lambda epoch: epoch.test.ua)
    return Chosen(by_wa.epoch, by_ua.epoch)


def _validated(epoch: Epoch) -> Scores:
    if epoch.validation is None:
        raise ValueError(f"epoch {epoch.epoch} was not validated")
    return epoch.validation
