"""The paired comparison of two models: interval, tests, and the smallest detectable difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import binomtest, norm

from ..training.metrics import ClassCounts, Floats, FoldPredictions, Seeds
from .bootstrap import CONFIDENCE, Interval, Resampled, Uncertainty, fold_scores

POWER = 0.8
SIGN_PATTERNS = 2**16  # maximum number of enumerated patterns; with more, this many are drawn

# A true difference of this many standard errors gives an interval without 0 in 80 % of the cases.
DETECTABLE_IN_SE = float(norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER))  # 2.80


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """UA of one model minus UA of another on the same utterances, as means over seeds and folds.

    ``only_first_right``, ``only_second_right`` and ``mcnemar_p`` have one value per seed that both have.
    """

    ua: float  # the difference, as a fraction
    uncertainty: Uncertainty  # of the difference
    sign_flip_p: float  # from :func:`sign_flip_p`
    only_first_right: tuple[int, ...]  # number of utterances
    only_second_right: tuple[int, ...]  # number of utterances
    mcnemar_p: tuple[float, ...]  # from :func:`mcnemar_p`

    @property
    def interval(self) -> Interval:
        return self.uncertainty.interval

    @property
    def p(self) -> float:
        """The two-sided p value of the difference divided by its standard error, from the normal distribution.

        It includes the variation between folds and speakers and, with several seeds, between seeds. If the standard
        error is 0, it is the p of the sign-flip test. A difference of 0 has p 1.
        """
        if self.ua == 0:
            return 1.0
        se = self.uncertainty.se
        return 2 * float(norm.sf(abs(self.ua) / se)) if se else self.sign_flip_p

    @property
    def detectable(self) -> float:
        """The smallest true difference that is detected with 80 % power at the 5 % level."""
        return DETECTABLE_IN_SE * self.uncertainty.se


def paired_difference(first: Seeds, second: Seeds, classes: int, seed: int) -> PairedDifference:
    """UA of ``first`` minus UA of ``second``, with its bootstrap interval and its tests.

    Each resample draws the same speakers and the same seeds for both models; see :class:`.bootstrap.Resampled`. With
    different numbers of seeds, each model draws its own, and McNemar's test compares as many seeds as both have.

    McNemar's exact test compares, seed by seed, the utterances that only one of the two predicts correctly. It assumes
    independent utterances, which does not hold within a speaker; :func:`sign_flip_p` does not assume it.

    Args:
        first: Predictions of a model by seed and fold.
        second: Predictions of the other model by seed and fold.
        classes: Number of classes.
        seed: Makes the random draws repeatable.
    Raises:
        ValueError: If the two have different numbers of folds, or if the utterances of a fold have different speakers
            or labels, or another order.
    """
    for one, other in product(first, second):
        if len(one) != len(other):
            raise ValueError(f"first and second must have the same number of folds, got {len(one)} and {len(other)}")
        for number, folds in enumerate(zip(one, other, strict=True), 1):
            if not FoldPredictions.same_utterances(*folds):
                sizes = " and ".join(str(len(fold.labels)) for fold in folds)
                raise ValueError(
                    "first and second must be tested on the same utterances in the same order, got other speakers or "
                    f"labels in fold {number} ({sizes} utterances)"
                )
    ua = [float(fold_scores(ClassCounts.ua, model, classes).mean()) for model in (first, second)]
    resampled = [Resampled.of(model, ClassCounts.ua, classes, seed) for model in (first, second)]
    pairs = [_only_one_right(*folds) for folds in zip(first, second, strict=False)]
    return PairedDifference(
        ua[0] - ua[1],
        (resampled[0] - resampled[1]).uncertainty(),
        sign_flip_p(speaker_contributions(first, second, classes), seed),
        tuple(only_first for only_first, _ in pairs),
        tuple(only_second for _, only_second in pairs),
        tuple(mcnemar_p(*pair) for pair in pairs),
    )


def speaker_contributions(first: Seeds, second: Seeds, classes: int) -> Floats:
    """What each speaker contributes to the difference of UA; the contributions add up to it.

    UA is a weighted sum over utterances: a correct utterance counts ``1 / (folds * classes in the fold * utterances of
    its class in the fold)``, averaged over the seeds. A speaker's contribution is the sum over its utterances. A
    speaker in several folds has one contribution.
    """
    found: dict[str, float] = {}
    for folds in zip(*first, *second, strict=True):
        fold = folds[0]
        right = np.array([each.is_right for each in folds], dtype=np.float64)
        difference = right[: len(first)].mean(0) - right[len(first) :].mean(0)
        utterances = np.bincount(fold.labels, minlength=classes)
        weight = 1 / (len(first[0]) * (utterances > 0).sum() * utterances[fold.labels])
        speakers, number = np.unique(fold.speakers, return_inverse=True)
        for speaker, value in zip(speakers, np.bincount(number, weight * difference), strict=True):
            found[str(speaker)] = found.get(str(speaker), 0.0) + float(value)
    return np.array([*found.values()])


def sign_flip_p(contributions: Floats, seed: int) -> float:
    """Two-sided permutation test of a difference that is a sum of contributions of speakers.

    Exchanging the predictions of the two models for a speaker changes the sign of its contribution. If the models do
    not differ, all sign patterns are equally likely. p is the share of the patterns that give a sum at least as far
    from 0 as the observed sum. Up to 65536, all ``2 ** speakers`` patterns count; otherwise, 65536 random patterns and
    the observed one.

    The test is exact if speakers are independent. It tests whether these trained models differ on other speakers.
    However, the same trained models predict all speakers of a fold, so a chance difference between training runs counts
    as a difference between the models. With several seeds, :attr:`PairedDifference.p` accounts for it.
    """
    speakers = len(contributions)
    if 2**speakers <= SIGN_PATTERNS:
        negative = np.arange(2**speakers)[:, None] >> np.arange(speakers) & 1
        observed = 0  # the patterns include the observed one
    else:
        negative = np.random.default_rng(seed).integers(2, size=(SIGN_PATTERNS, speakers))
        observed = 1
    sums = np.abs((1 - 2 * negative) @ contributions)
    tolerance = 1e-9 * np.abs(contributions).sum()  # sums of equal size differ by rounding
    as_far = int((sums >= abs(contributions.sum()) - tolerance).sum())
    return (as_far + observed) / (len(sums) + observed)


def mcnemar_p(only_first_right: int, only_second_right: int) -> float:
    """The exact McNemar test: a two-sided binomial test with p = 0.5; 1 if both numbers are 0."""
    differing = only_first_right + only_second_right
    return float(binomtest(only_first_right, differing, 0.5).pvalue) if differing else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p values for the number of comparisons.

    The probability that any corrected p is below 0.05 without a true difference is at most 5 %.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _only_one_right(first: Sequence[FoldPredictions], second: Sequence[FoldPredictions]) -> tuple[int, int]:
    ours, theirs = (np.concatenate([fold.is_right for fold in folds]) for folds in (first, second))
    return int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
