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
    """Numbers of all and of correctly predicted utterances; the last dimension is the true class."""

    right: NDArray[Any]
    utterances: NDArray[Any]

    def wa(self) -> Floats:
        """The accuracy."""
        return np.asarray(self.right.sum(-1) / self.utterances.sum(-1), dtype=np.float64)

    def ua(self) -> Floats:
        """The mean recall over the classes that have an utterance."""
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
        """Counts ``(speaker, true class)``, speakers in sorted order."""
        speakers, number = np.unique(self.speakers, return_inverse=True)
        cell, cells = number * classes + self.labels, len(speakers) * classes
        right = np.bincount(cell, self.is_right, minlength=cells).astype(np.int64)
        utterances = np.bincount(cell, minlength=cells)
        return ClassCounts(right.reshape(-1, classes), utterances.reshape(-1, classes))

    def same_utterances(self, other: FoldPredictions) -> bool:
        """Whether both have the same speakers and labels, in the same order."""
        return np.array_equal(self.speakers, other.speakers) and np.array_equal(self.labels, other.labels)


Seeds: TypeAlias = Sequence[Sequence[FoldPredictions]]  # a model's predictions by seed and fold


def confusion(labels: NDArray[np.integer], predictions: NDArray[np.integer], classes: int) -> Counts:
    """Counts ``(true class, predicted class)``."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def fold_confusion(folds: Sequence[FoldPredictions], classes: int) -> Counts:
    """Counts ``(fold, true class, predicted class)``."""
    return np.stack([confusion(fold.labels, fold.predictions, classes) for fold in folds])


def weighted_accuracy(confusion: NDArray[Any]) -> Floats:
    """WA, the accuracy, of confusion counts ``(..., true class, predicted class)``."""
    return _by_class(confusion).wa()


def unweighted_accuracy(confusion: NDArray[Any]) -> Floats:
    """UA, the mean recall over the classes that have an utterance, of confusion counts ``(..., true, predicted)``.

    A class without utterances in a fold has no recall; as in scikit-learn's ``balanced_accuracy_score``, it does not
    count in that fold's mean.
    """
    return _by_class(confusion).ua()


def binomial_standard_error(accuracy: float, utterances: int) -> float:
    """The standard error of an accuracy, under the assumption that utterances are independent."""
    return math.sqrt(accuracy * (1 - accuracy) / utterances)


def _by_class(confusion: NDArray[Any]) -> ClassCounts:
    return ClassCounts(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1))
