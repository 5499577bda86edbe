"""WA and UA of predictions, from counts of utterances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]


class ClassCounts(NamedTuple):
    """Numbers of utterances, ``(..., true class)``."""

    right: NDArray[Any]  # correctly predicted
    utterances: NDArray[Any]  # all

    def wa(self) -> Floats:
        """WA, the accuracy, as a fraction."""
        return np.asarray(self.right.sum(-1) / self.utterances.sum(-1), dtype=np.float64)

    def ua(self) -> Floats:
        """UA, the mean recall over the classes that have an utterance, as a fraction."""
        recall = self.right / np.maximum(self.utterances, 1)
        return np.asarray(recall.sum(-1) / (self.utterances > 0).sum(-1), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class FoldPredictions:
    """A model's predictions for the test utterances of one fold; classes are indices into the experiment's labels."""

    speakers: NDArray[np.str_]
    labels: NDArray[np.intp]
    predictions: NDArray[np.intp]

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Whether each utterance is predicted correctly."""
        return np.asarray(self.labels == self.predictions)

    def counts_by_speaker(self, classes: int) -> ClassCounts:
        """Numbers of utterances, ``(speaker, true class)``. The speakers are sorted."""
        speakers, number = np.unique(self.speakers, return_inverse=True)
        cell, cells = number * classes + self.labels, len(speakers) * classes
        right = np.bincount(cell, self.is_right, minlength=cells).astype(np.int64)
        utterances = np.bincount(cell, minlength=cells)
        return ClassCounts(right.reshape(-1, classes), utterances.reshape(-1, classes))

    def same_utterances(self, other: FoldPredictions) -> bool:
        """Whether the utterances of both have the same speakers and labels, in the same order."""
        return np.array_equal(self.speakers, other.speakers) and np.array_equal(self.labels, other.labels)


Seeds: TypeAlias = Sequence[Sequence[FoldPredictions]]  # a model's predictions by seed and fold


def confusion(labels: NDArray[np.integer], predictions: NDArray[np.integer], classes: int) -> Counts:
    """Counts ``(true class, predicted class)``."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def fold_confusion(folds: Sequence[FoldPredictions], classes: int) -> Counts:
    """Counts ``(fold, true class, predicted class)``."""
    return np.stack([confusion(fold.labels, fold.predictions, classes) for fold in folds])


def weighted_accuracy(confusion: NDArray[Any]) -> Floats:
    """WA, the accuracy, of counts ``(..., true class, predicted class)``, as a fraction."""
    return _by_class(confusion).wa()


def unweighted_accuracy(confusion: NDArray[Any]) -> Floats:
    """UA, the mean recall over the classes that have an utterance, of counts ``(..., true class, predicted class)``.

    UA is a fraction. A class without utterances has no recall, so the mean leaves it out, as in scikit-learn's
    ``balanced_accuracy_score``.
    """
    return _by_class(confusion).ua()


def binomial_standard_error(accuracy: float, utterances: int) -> float:
    """The standard error of an accuracy, under the assumption that utterances are independent."""
    return math.sqrt(accuracy * (1 - accuracy) / utterances)


def _by_class(confusion: NDArray[Any]) -> ClassCounts:
    return ClassCounts(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1))
