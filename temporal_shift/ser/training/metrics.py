"""WA and UA of a leave-one-session-out experiment, with their uncertainty.

Everything is computed from confusion counts, so 2000 resamples of an experiment take milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Counts: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class FoldPredictions:
    """A model's predictions for the test utterances of one fold; classes are indices into the experiment's labels."""

    speakers: NDArray[np.str_]
    labels: NDArray[np.intp]
    predictions: NDArray[np.intp]

    def confusion_by_speaker(self, classes: int) -> Counts:
        """Counts ``(speaker, true class, predicted class)``, speakers in sorted order."""
        speakers = np.unique(self.speakers)
        rows_of = [self.speakers == speaker for speaker in speakers]
        return np.stack([confusion(self.labels[rows], self.predictions[rows], classes) for rows in rows_of])

    def same_utterances(self, other: FoldPredictions) -> bool:
        """Whether both have the same speakers and labels, in the same order."""
        return np.array_equal(self.speakers, other.speakers) and np.array_equal(self.labels, other.labels)


class Interval(NamedTuple):
    """A 95 % percentile interval."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> Interval:
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(values, (tail, 1 - tail))
        return cls(float(low), float(high))


Measure: TypeAlias = Callable[[NDArray[Any]], Floats]  # of confusion counts (..., true class, predicted class)
Seeds: TypeAlias = Sequence[Sequence[FoldPredictions]]  # a model's predictions by seed and fold


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """UA of a model minus UA of another model on the same utterances."""

    ua: float
    interval: Interval
    only_first_right: int  # utterances
    only_second_right: int
    mcnemar_p: float


def confusion(labels: NDArray[np.integer], predictions: NDArray[np.integer], classes: int) -> Counts:
    """Counts ``(true class, predicted class)``."""
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def weighted_accuracy(confusion: NDArray[Any]) -> Floats:
    """WA, the accuracy, of confusion counts ``(..., true class, predicted class)``."""
    right = np.trace(confusion, axis1=-2, axis2=-1)
    return np.asarray(right / confusion.sum((-2, -1)), dtype=np.float64)


def unweighted_accuracy(confusion: NDArray[Any]) -> Floats:
    """UA, the mean recall over the classes that have an utterance, of confusion counts ``(..., true, predicted)``.

    A class without utterances in a fold has no recall; as in scikit-learn's ``balanced_accuracy_score``, it does not
    count in that fold's mean.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    utterances = confusion.sum(-1)
    recall = right / np.maximum(utterances, 1)
    return np.asarray(recall.sum(-1) / (utterances > 0).sum(-1), dtype=np.float64)


def binomial_standard_error(accuracy: float, utterances: int) -> float:
    """The standard error of an accuracy, under the assumption that utterances are independent."""
    return math.sqrt(accuracy * (1 - accuracy) / utterances)


def speaker_bootstrap(measure: Measure, seeds: Seeds, classes: int, seed: int) -> Interval:
    """The 95 % interval of the mean of a measure over seeds and folds, from 2000 resamples of the speakers.

    The statistic is the reported mean. A resample draws all folds with replacement, then in each drawn fold all its
    speakers with replacement. Both draws are needed: drawing only the speakers ignores the variance between sessions
    and, with two speakers per fold, halves the variance between speakers. In simulations of 5 folds with 2 speakers,
    the 95 % intervals contained the true value in 20 to 75 % of the cases. With all speakers drawn from one pool it was
    74 to 89 %, for another statistic, the pooled UA; with folds, then speakers, it is 85 to 94 %. All seeds share the
    same draws; the seeds themselves are not drawn.
    """
    return Interval.of(_resampled_mean(measure, seeds, classes, seed))


def paired_difference(first: Seeds, second: Seeds, classes: int, seed: int) -> PairedDifference:
    """UA of ``first`` minus UA of ``second`` (means over seeds and folds), its bootstrap interval, McNemar's exact p.

    Each resample draws the same speakers for both models, so a speaker's difficulty cancels. McNemar's test compares
    the utterances that only one of the two predicts correctly, with the first seed of each. It assumes independent
    utterances, which does not hold within a speaker, so the interval is more conservative.

    Raises:
        ValueError: If the two are not tested on the same utterances in the same order.
    """
    for one, other in product(first, second):
        if len(one) != len(other) or not all(map(FoldPredictions.same_utterances, one, other)):
            raise ValueError("first and second must be tested on the same utterances in the same order")
    ua = [
        float(np.mean([unweighted_accuracy(fold_confusion(folds, classes)) for folds in seeds]))
        for seeds in (first, second)
    ]
    draws = [_resampled_mean(unweighted_accuracy, seeds, classes, seed) for seeds in (first, second)]
    first_right, second_right = (
        np.concatenate([fold.predictions == fold.labels for fold in seeds[0]]) for seeds in (first, second)
    )
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    p = mcnemar_p(only_first, only_second)
    return PairedDifference(ua[0] - ua[1], Interval.of(draws[0] - draws[1]), only_first, only_second, p)


def mcnemar_p(only_first_right: int, only_second_right: int) -> float:
    """The exact McNemar test: a two-sided binomial test with p = 0.5; 1 if the models differ on no utterance."""
    differing = only_first_right + only_second_right
    return float(binomtest(only_first_right, differing, 0.5).pvalue) if differing else 1.0


def fold_confusion(folds: Sequence[FoldPredictions], classes: int) -> Counts:
    """Counts ``(fold, true class, predicted class)``."""
    return np.stack([fold.confusion_by_speaker(classes).sum(0) for fold in folds])


def resampled_confusion(folds: Sequence[FoldPredictions], classes: int, seed: int) -> Counts:
    """Counts ``(resample, drawn fold, true class, predicted class)``. Draws depend on ``seed`` and speakers only."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(folds), size=(RESAMPLES, len(folds)))
    confusion = np.empty((*drawn.shape, classes, classes), dtype=np.int64)
    for index, fold in enumerate(folds):
        counts = fold.confusion_by_speaker(classes)
        speakers = len(counts)
        times = generator.multinomial(speakers, np.full(speakers, 1 / speakers), size=int((drawn == index).sum()))
        confusion[drawn == index] = np.tensordot(times, counts, axes=1)
    return confusion


def _resampled_mean(measure: Measure, seeds: Seeds, classes: int, seed: int) -> Floats:
    """The mean over seeds and folds of each resample, with the same draws for every seed."""
    means = [measure(resampled_confusion(folds, classes, seed)).mean(-1) for folds in seeds]
    return np.asarray(np.mean(means, axis=0))
