"""WA and UA from counts of utterances."""

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


@given(answers)
def test_wa_and_ua_agree_with_plain_loops(pairs):
    (confusion,) = metrics.fold_confusion([fold_of(pairs)], CLASSES)
    recalls = []
    for wanted in range(CLASSES):
        said = [predicted for label, predicted in pairs if label == wanted]
        if said:
            recalls.append(sum(predicted == wanted for predicted in said) / len(said))
    assert metrics.weighted_accuracy(confusion) == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert metrics.unweighted_accuracy(confusion) == pytest.approx(sum(recalls) / len(recalls))


@given(answers)
def test_every_utterance_counts_once_for_its_speaker_and_class(pairs):
    counts = fold_of(pairs).counts_by_speaker(CLASSES)
    right, utterances = np.zeros_like(counts.right), np.zeros_like(counts.utterances)
    for position, (label, predicted) in enumerate(pairs):
        right[position % 2, label] += label == predicted
        utterances[position % 2, label] += 1
    assert np.array_equal(counts.right, right)
    assert np.array_equal(counts.utterances, utterances)


def test_ua_ignores_classes_without_utterances():
    confusion = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])
    assert metrics.unweighted_accuracy(confusion) == (3 / 4 + 1 / 2) / 2


def test_the_binomial_standard_error_on_iemocap():
    assert metrics.binomial_standard_error(0.72, 5531) == pytest.approx(0.006, abs=1e-4)
    assert math.isclose(metrics.binomial_standard_error(0.5, 100), 0.05)
