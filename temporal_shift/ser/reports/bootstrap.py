"""Intervals of WA and UA, from resampled folds, speakers and seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from ..training.metrics import ClassCounts, Floats, Seeds

RESAMPLES = 2000
CONFIDENCE = 0.95

Measure: TypeAlias = Callable[[ClassCounts], Floats]  # ClassCounts.wa or ClassCounts.ua


class Interval(NamedTuple):
    """A 95 % percentile interval."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> Interval:
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(values, (tail, 1 - tail))
        return cls(float(low), float(high))


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The 95 % interval of a mean over seeds and folds, and the standard errors of this mean."""

    interval: Interval
    se: float  # standard error over folds, speakers and seeds
    se_speakers: float  # standard error over folds and speakers only: the limit for many seeds


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """A mean over seeds and folds in 2000 resamples of the folds, speakers and seeds.

    ``speakers``: a resample draws as many folds as there are, with replacement, then for each drawn fold as many of its
    speakers as it has, with replacement, and averages over all seeds. Both draws are needed: drawing only the speakers
    ignores the variance between sessions and, with two speakers per fold, halves the variance between speakers.

    ``seeds``: a resample draws ``k - 1`` of the ``k`` seeds with replacement; the value is the deviation of their mean
    from the mean of all. ``k`` draws would show only ``(k - 1) / k`` of the variance between seeds: half, with two
    seeds. With one seed, the deviation is 0.

    The interval is computed from the sum of both. Drawing the seeds anew within each resample of the speakers (a
    crossed bootstrap) would count the variance between single runs three times. ``test_paired.py`` measures in
    simulated experiments how often the 95 % interval contains the true difference: with five
    folds of two speakers, about 97 % with three seeds, and 90 % with one seed, which shows no variation between seeds.
    Few seeds show this variation only roughly.

    The draws depend only on the number of speakers of each fold, the number of seeds and ``seed``, so an effect of a
    speaker or a seed that two models share cancels in their difference.
    """

    speakers: Floats  # (resample,)
    seeds: Floats  # (resample,)

    @classmethod
    def of(cls, model: Seeds, measure: Measure, classes: int, seed: int) -> Resampled:
        """Resample the mean of a measure over the seeds and folds of a model; ``seed`` makes the draws repeatable."""
        return cls(_over_speakers(model, measure, classes, seed), _over_seeds(model, measure, classes, seed))

    def __sub__(self, other: Resampled) -> Resampled:
        return Resampled(self.speakers - other.speakers, self.seeds - other.seeds)

    def uncertainty(self) -> Uncertainty:
        both = self.speakers + self.seeds
        return Uncertainty(Interval.of(both), float(both.std(ddof=1)), float(self.speakers.std(ddof=1)))


def _over_speakers(model: Seeds, measure: Measure, classes: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    drawn = generator.integers(len(model[0]), size=(RESAMPLES, len(model[0])))  # fold numbers
    scores = np.empty((*drawn.shape, len(model)))
    for index, fold_by_seed in enumerate(zip(*model, strict=True)):
        counts = [fold.counts_by_speaker(classes) for fold in fold_by_seed]
        utterances = counts[0].utterances  # (speaker, class)
        speakers = len(utterances)
        times = generator.multinomial(speakers, np.full(speakers, 1 / speakers), size=int((drawn == index).sum()))
        right = np.stack([each.right for each in counts], axis=1)  # (speaker, seed, class)
        resampled = ClassCounts(np.tensordot(times, right, axes=1), (times @ utterances)[:, None])
        scores[drawn == index] = measure(resampled)
    return np.asarray(scores.mean((1, 2)))


def _over_seeds(model: Seeds, measure: Measure, classes: int, seed: int) -> Floats:
    by_seed = fold_scores(measure, model, classes).mean(1)
    seeds = len(by_seed)
    if seeds == 1:
        return np.zeros(RESAMPLES)
    generator = np.random.default_rng([seed, seeds])  # models with different numbers of seeds get independent draws
    times = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=RESAMPLES)
    return np.asarray(times @ (by_seed - by_seed.mean()) / (seeds - 1))


def fold_scores(measure: Measure, model: Seeds, classes: int) -> Floats:
    """The measure by seed and fold, ``(seed, fold)``, as fractions. ``classes`` is the number of classes."""
    return np.array([[float(measure(_whole(fold.counts_by_speaker(classes)))) for fold in folds] for folds in model])


def _whole(counts: ClassCounts) -> ClassCounts:
    return ClassCounts(counts.right.sum(0), counts.utterances.sum(0))
