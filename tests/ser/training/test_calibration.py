"""Temperature scaling and the expected calibration error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from temporal_shift.ser.training.calibration import (
    expected_calibration_error,
    log_loss,
    probabilities_of,
    temperature,
)


def drawn(true_temperature: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the softmax of the logits divided by a temperature."""
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=3, size=(rows, 4))
    chances = probabilities_of(logits / true_temperature)
    return logits, (chances.cumsum(axis=1) < generator.random((rows, 1))).sum(axis=1)


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(true):
    assert temperature(*drawn(true)) == pytest.approx(true, rel=0.05)


def test_the_temperature_is_a_minimum_of_the_log_loss():
    logits, labels = drawn(2.0, 100)
    best = temperature(logits, labels)
    losses = [log_loss(logits / (best * factor), labels) for factor in (0.99, 1.0, 1.01)]
    assert losses[1] == min(losses)


def test_the_log_loss_is_the_cross_entropy_of_torch():
    logits, labels = drawn(1.0, 100)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))
    assert log_loss(logits, labels) == pytest.approx(expected.item())


def test_a_temperature_lowers_the_error_of_probabilities_that_are_too_high_and_changes_no_prediction():
    logits, labels = drawn(3.0)
    before, after = probabilities_of(logits), probabilities_of(logits / temperature(logits, labels))
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    assert expected_calibration_error(before, labels) > 0.15
    assert expected_calibration_error(after, labels) < 0.02


@pytest.mark.parametrize("wrong", [0, 4])  # 0: all predictions are correct; 4: all are wrong
def test_without_a_best_temperature_it_stays_within_bounds(wrong):
    labels = np.array([0, 1, 2, 3])
    logits = 5.0 * np.eye(4)[(labels + (wrong > 0)) % 4]
    assert 0.05 <= temperature(logits, labels) <= 20


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_calibration_error_matches_its_definition(bins):
    logits, labels = drawn(2.0, 500)
    probabilities = probabilities_of(logits)
    top, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected = 0.0
    for number in range(bins):
        inside = (top > number / bins) & (top <= (number + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - top[inside].mean())
    assert expected_calibration_error(probabilities, labels, bins) == pytest.approx(expected)


def test_certain_and_correct_predictions_have_no_calibration_error():
    assert expected_calibration_error(np.eye(4), np.arange(4)) == 0
    assert expected_calibration_error(np.eye(4), (np.arange(4) + 1) % 4) == 1


@pytest.mark.parametrize(("rows", "labels"), [((0, 4), 0), ((3, 4), 2), ((3,), 3)])
def test_a_number_of_labels_other_than_rows_is_an_error(rows, labels):
    for function in (temperature, log_loss, expected_calibration_error):
        with pytest.raises(ValueError, match=r"must have the shape .* and labels the shape"):
            function(np.ones(rows), np.zeros(labels, dtype=int))


def test_no_bins_are_an_error():
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        expected_calibration_error(np.eye(4), np.arange(4), 0)
