"""The intervals of WA and UA: the draws, and agreement with plain loops."""

import numpy as np
import pytest

from temporal_shift.ser.reports.bootstrap import RESAMPLES, Interval, Resampled
from temporal_shift.ser.training.metrics import ClassCounts, FoldPredictions

from .made_up import CLASSES, folds_of, headline, seeds_of, ua, wa


def uncertainty(measure, model, seed):
    return Resampled.of(model, measure, CLASSES, seed).uncertainty()


MEASURES = [(ClassCounts.wa, wa), (ClassCounts.ua, ua)]


@pytest.mark.parametrize(("measure", "score"), MEASURES)
@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_an_interval_contains_the_mean(measure, score, seeds):
    model = seeds_of(0.5, seeds)
    low, high = uncertainty(measure, model, 42).interval
    assert low < headline(model, score) < high


@pytest.mark.parametrize(("measure", "score"), MEASURES)
def test_equal_speakers_folds_and_seeds_give_no_uncertainty(measure, score):
    labels = np.array([0, 0, 1, 1])
    fold = FoldPredictions(np.array(["a", "b", "a", "b"]), labels, np.zeros(4, dtype=int))
    found = uncertainty(measure, [[fold] * 3] * 2, 0)
    assert (found.interval, found.se, found.se_speakers) == (Interval(0.5, 0.5), 0, 0)


def test_a_resample_draws_whole_speakers_of_one_fold():
    """A speaker's predictions are all right or all wrong, so each drawn fold has a WA of 0, 1/2 or 1."""
    speakers, labels = np.array(["a", "b"]), np.array([0, 0])
    folds = [FoldPredictions(speakers, labels, np.array([0, 1])), FoldPredictions(speakers, labels, np.array([0, 0]))]
    scores = Resampled.of([folds], ClassCounts.wa, CLASSES, seed=3).speakers
    assert scores.shape == (RESAMPLES,)
    assert set(np.unique(scores)) == {0, 0.25, 0.5, 0.75, 1}
    assert scores.mean() == pytest.approx(0.75, abs=0.03)


def resampled_with_loops(model, score, resamples):
    """The bootstrap with loops: draws folds and their speakers, and adds the deviation of ``seeds - 1`` drawn seeds."""
    generator = np.random.default_rng(0)
    by_seed = [headline([folds], score) for folds in model]
    means = []
    for _ in range(resamples):
        scores = []
        for number in generator.integers(len(model[0]), size=len(model[0])):
            names = np.unique(model[0][number].speakers)
            drawn = generator.choice(names, size=len(names))
            for fold in (folds[number] for folds in model):
                rows = np.concatenate([np.flatnonzero(fold.speakers == name) for name in drawn])
                scores.append(score(fold.labels[rows], fold.predictions[rows]))
        of_seeds = generator.choice(by_seed, size=len(model) - 1).mean() - np.mean(by_seed) if len(model) > 1 else 0
        means.append(np.mean(scores) + of_seeds)
    return np.array(means)


@pytest.mark.parametrize(("measure", "score"), MEASURES)
@pytest.mark.parametrize("skills", [(0.5,), (0.4, 0.4, 0.6)])
def test_the_bootstrap_agrees_with_plain_loops_up_to_chance(measure, score, skills):
    model = [folds_of(seed, skill, folds=3, utterances=8) for seed, skill in enumerate(skills)]
    found = uncertainty(measure, model, 1)
    means = resampled_with_loops(model, score, 500)
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx(found.interval, abs=0.03)
    assert means.std() == pytest.approx(found.se, rel=0.15)


def test_the_bootstrap_is_determined_by_its_seed():
    model = seeds_of(0.5)
    first, again, other = (uncertainty(ClassCounts.ua, model, seed) for seed in (42, 42, 43))
    assert first == again != other


@pytest.mark.parametrize(("measure", "score"), MEASURES)
def test_seeds_that_differ_widen_the_interval_and_not_the_error_over_speakers(measure, score):
    """Three seeds, one of them much better: the variance over seeds is added to the variance over speakers."""
    alike, different = [folds_of(1, 0.5)] * 3, [folds_of(1, 0.4), folds_of(1, 0.4), folds_of(1, 0.8)]
    same, spread = (uncertainty(measure, model, 42) for model in (alike, different))
    assert same.se == pytest.approx(same.se_speakers)
    by_seed = [headline([folds], score) for folds in different]
    of_seeds = np.std(by_seed, ddof=1) / np.sqrt(3)
    assert spread.se**2 == pytest.approx(spread.se_speakers**2 + of_seeds**2, rel=0.1)
    assert spread.se > 2 * spread.se_speakers


def test_a_duplicate_seed_does_not_narrow_the_interval():
    folds = folds_of(seed=1)
    once, twice = (uncertainty(ClassCounts.ua, [folds] * times, 42) for times in (1, 2))
    assert once.interval == pytest.approx(twice.interval)
