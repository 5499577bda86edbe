"""The scores of a run's epochs, and the epoch that each protocol reports.

================  ====================================================================
protocol          reports
================  ====================================================================
heldout, speaker  the test part at the epoch with the best validation UA
last              the test part at the last epoch
paper             the best test epoch, for WA and UA separately. These figures are
                  optimistic: the test part chooses the epoch that it is scored at.
================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import FiniteFloat

from .folds import Kind


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one epoch's model on one part of a fold; WA and UA are fractions."""

    loss: FiniteFloat
    wa: FiniteFloat
    ua: FiniteFloat


@dataclass(frozen=True, slots=True)
class Epoch:
    """The training loss of one epoch, and the scores after it."""

    epoch: int  # counted from 1
    train_loss: FiniteFloat
    validation: Scores | None  # None for protocols without a validation part
    test: Scores


@dataclass(frozen=True, slots=True)
class Chosen:
    """The epochs, counted from 1, that WA and UA are reported at."""

    wa: int
    ua: int


def choose(kind: Kind, epochs: Sequence[Epoch]) -> Chosen:
    """The epochs that the protocol ``kind`` reports; the first of several equally good epochs.

    Raises:
        ValueError: If the protocol needs validation scores and an epoch has none.
    """
    if kind == "last":
        return Chosen(len(epochs), len(epochs))
    if kind == "paper":
        return best_test_epochs(epochs)
    best = max(epochs, key=lambda epoch: _validated(epoch).ua).epoch
    return Chosen(best, best)


def best_test_epochs(epochs: Sequence[Epoch]) -> Chosen:
    """The choice of the paper's protocol: the best test epoch, for WA and UA separately."""
    by_wa = max(epochs, key=lambda epoch: epoch.test.wa)
    by_ua = max(epochs, key=lambda epoch: epoch.test.ua)
    return Chosen(by_wa.epoch, by_ua.epoch)


def _validated(epoch: Epoch) -> Scores:
    if epoch.validation is None:
        raise ValueError(f"epochs must have validation scores, got None for epoch {epoch.epoch}")
    return epoch.validation
