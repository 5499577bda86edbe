import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_shift.ser.training import metrics
from temporal_shift.ser.training.metrics import FoldPredictions

CLASSES = 4
answers = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40)


def fold_of(pairs, speakers=("a", "b")):
    labels, predictions = np.array(pairs).T
    return FoldPredictions(np.resize(np.array(speakers), len(labels)), labels, predictions)


def made_up_folds(seed, skill=0.5, folds=5, speakers=2, utterances=40):
    generator = np.random.default_rng(seed)
    made = []
    for fold in range(folds):
        truth = np.random.default_rng(fold).integers(CLASSES, size=speakers * utterances)  # the same for every seed
        known = generator.random(len(truth)) < skill
        said = np.where(known, truth, generator.integers(CLASSES, size=len(truth)))
        made.append(FoldPredictions(np.repeat([f"{fold}{n}" for n in range(speakers)], utterances), truth, said))
    return made


def headline(folds, figure):
    return figure(metrics.fold_confusion(folds, CLASSES)).mean()


@given(answers)
def test_wa_and_ua_agree_with_plain_loops(pairs):
    confusion = fold_of(pairs).confusion_by_speaker(CLASSES).sum(0)
    recalls = []
    for wanted in range(CLASSES):
        said = [predicted for label, predicted in pairs if label == wanted]
        if said:
            recalls.append(sum(predicted == wanted for predicted in said) / len(said))
    assert metrics.weighted_accuracy(confusion) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert metrics.unweighted_accuracy(confusion) == pytest.approx(sum(recalls) / len(recalls))


@given(answers)
def test_confusion_counts_every_utterance_once_for_its_speaker(pairs):
    counts = fold_of(pairs).confusion_by_speaker(CLASSES)
    expected = np.zeros_like(counts)
    for position, (label, predicted) in enumerate(pairs):
        expected[position % 2, label, predicted] += 1
    assert np.array_equal(counts, expected)


def test_ua_leaves_out_a_class_that_nobody_speaks():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    assert metrics.unweighted_accuracy(confusion) == (3 / 4 + 1 / 2) / 2


def test_interval_contains_the_headline():
    folds = made_up_folds(seed=1)
    for measure in (metrics.weighted_accuracy, metrics.unweighted_accuracy):
        interval = metrics.speaker_bootstrap(measure, [folds], CLASSES, seed=42)
        assert interval.low < headline(folds, measure) < interval.high


def test_interval_has_no_width_where_all_speakers_and_folds_are_alike():
    folds = [fold_of([(0, 0), (0, 0), (1, 0), (1, 0)])] * 3
    for measure in (metrics.weighted_accuracy, metrics.unweighted_accuracy):
        assert metrics.speaker_bootstrap(measure, [folds], CLASSES, seed=0) == metrics.Interval(0.5, 0.5)


def test_a_resample_draws_whole_speakers_of_one_fold():
    folds = [FoldPredictions(np.array(["a", "b", "b"]), np.array([0, 1, 1]), np.array([0, 1, 1])), fold_of([(2, 2)])]
    drawn = metrics.resampled_confusion(folds, CLASSES, seed=3)
    assert drawn.shape == (metrics.RESAMPLES, 2, CLASSES, CLASSES)
    diagonals = {tuple(np.diag(counts).tolist()) for counts in drawn.reshape(-1, CLASSES, CLASSES)}
    assert diagonals == {(2, 0, 0, 0), (1, 2, 0, 0), (0, 4, 0, 0), (0, 0, 1, 0)}


def test_bootstrap_agrees_with_plain_loops_up_to_chance():
    folds = made_up_folds(seed=5, folds=3, utterances=8)
    generator = np.random.default_rng(0)
    means = []
    for _ in range(1000):
        scores = []
        for number in generator.integers(3, size=3):
            fold = folds[number]
            names = generator.choice(np.unique(fold.speakers), size=2)
            rows = np.concatenate([np.flatnonzero(fold.speakers == name) for name in names])
            scores.append(np.mean(fold.labels[rows] == fold.predictions[rows]))
        means.append(np.mean(scores))
    wa = metrics.speaker_bootstrap(metrics.weighted_accuracy, [folds], CLASSES, seed=1)
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx([wa.low, wa.high], abs=0.02)


def test_bootstrap_repeats_with_its_seed_and_differs_with_another():
    folds = made_up_folds(seed=1)
    first, again, other = (
        metrics.speaker_bootstrap(metrics.unweighted_accuracy, [folds], CLASSES, seed) for seed in (42, 42, 43)
    )
    assert first == again != other


def seeds_of(skill, seeds=(1, 2, 3)):
    return [made_up_folds(seed, skill) for seed in seeds]


@pytest.mark.parametrize("measure", [metrics.weighted_accuracy, metrics.unweighted_accuracy])
def test_the_interval_of_several_seeds_is_of_their_mean_on_the_same_draws(measure):
    seeds = seeds_of(0.5)
    means = [measure(metrics.resampled_confusion(folds, CLASSES, 42)).mean(-1) for folds in seeds]
    expected = metrics.Interval.of(sum(means) / len(means))
    interval = metrics.speaker_bootstrap(measure, seeds, CLASSES, seed=42)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.low < np.mean([headline(folds, measure) for folds in seeds]) < interval.high


def test_a_seed_given_twice_narrows_nothing():
    folds = made_up_folds(seed=1)
    once, twice = (
        metrics.speaker_bootstrap(metrics.unweighted_accuracy, [folds] * times, CLASSES, 42) for times in (1, 2)
    )
    assert (once.low, once.high) == pytest.approx((twice.low, twice.high))


def test_a_model_does_not_differ_from_itself():
    folds = made_up_folds(seed=1)
    difference = metrics.paired_difference([folds], [folds], CLASSES, seed=42)
    assert difference == metrics.PairedDifference(0.0, metrics.Interval(0.0, 0.0), 0, 0, 1.0)


def test_paired_difference_is_the_difference_of_the_headlines_and_changes_sign_with_the_order():
    good, bad = made_up_folds(seed=1, skill=0.8), made_up_folds(seed=2, skill=0.3)
    forth = metrics.paired_difference([good], [bad], CLASSES, seed=42)
    back = metrics.paired_difference([bad], [good], CLASSES, seed=42)
    ua = metrics.unweighted_accuracy
    assert forth.ua == headline(good, ua) - headline(bad, ua) == -back.ua
    assert 0 < forth.interval.low < forth.ua < forth.interval.high
    assert (forth.interval.low, forth.interval.high) == pytest.approx((-back.interval.high, -back.interval.low))
    assert (forth.only_first_right, forth.only_second_right) == (back.only_second_right, back.only_first_right)


def test_paired_difference_of_other_utterances_is_an_error():
    with pytest.raises(ValueError, match=r"first and second .*same utterances in the same order"):
        metrics.paired_difference([[fold_of([(0, 0)])]], [[fold_of([(1, 0)])]], CLASSES, seed=0)


def test_a_later_seed_on_other_utterances_is_an_error_too():
    one, other = fold_of([(0, 0)]), fold_of([(1, 0)])
    with pytest.raises(ValueError, match=r"first and second .*same utterances in the same order"):
        metrics.paired_difference([[one]], [[one], [other]], CLASSES, seed=0)
    with pytest.raises(ValueError, match=r"first and second .*same utterances in the same order"):
        metrics.paired_difference([[one]], [[one], [one, one]], CLASSES, seed=0)


def test_the_paired_difference_of_several_seeds_is_of_their_means_on_the_same_draws():
    good, bad = seeds_of(0.8), seeds_of(0.4, seeds=(4, 5))
    ua = metrics.unweighted_accuracy
    difference = metrics.paired_difference(good, bad, CLASSES, seed=42)
    expected = [np.mean([headline(folds, ua) for folds in seeds]) for seeds in (good, bad)]
    assert difference.ua == pytest.approx(expected[0] - expected[1])
    draws = [
        np.mean([ua(metrics.resampled_confusion(folds, CLASSES, 42)).mean(-1) for folds in seeds], axis=0)
        for seeds in (good, bad)
    ]
    interval = metrics.Interval.of(draws[0] - draws[1])
    assert (difference.interval.low, difference.interval.high) == pytest.approx((interval.low, interval.high))


def test_mcnemar_counts_the_utterances_of_the_first_seed():
    good, bad = seeds_of(0.8), seeds_of(0.4, seeds=(4, 5))
    several = metrics.paired_difference(good, bad, CLASSES, seed=42)
    first = metrics.paired_difference(good[:1], bad[:1], CLASSES, seed=42)
    assert (several.only_first_right, several.only_second_right, several.mcnemar_p) == (
        first.only_first_right,
        first.only_second_right,
        first.mcnemar_p,
    )
    right = [np.concatenate([fold.predictions == fold.labels for fold in seeds[0]]) for seeds in (good, bad)]
    assert several.only_first_right == (right[0] & ~right[1]).sum()
    assert several.only_second_right == (right[1] & ~right[0]).sum()


@pytest.mark.parametrize(
    ("first", "second"), [(0, 0), (0, 1), (0, 3), (3, 0), (7, 7), (13, 16), (7, 17), (1, 30), (150, 201), (400, 1)]
)
def test_mcnemar_is_the_exact_binomial_test(first, second):
    tail = sum(math.comb(first + second, heads) for heads in range(min(first, second) + 1))
    assert metrics.mcnemar_p(first, second) == pytest.approx(min(1.0, 2 * tail / 2 ** (first + second)))


def test_binomial_standard_error_is_the_one_the_paper_s_corpus_has():
    assert metrics.binomial_standard_error(0.72, 5531) == pytest.approx(0.006, abs=1e-4)
    assert math.isclose(metrics.binomial_standard_error(0.5, 100), 0.05)
