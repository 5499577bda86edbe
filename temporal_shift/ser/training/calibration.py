"""Temperature scaling of a classifier's probabilities, and the expected calibration error.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

Logits: TypeAlias = npt.NDArray[np.floating[Any]]  # (N, classes)
Labels: TypeAlias = npt.NDArray[np.integer[Any]]  # (N,)

BOUNDS = (0.05, 20.0)  # lowest and highest temperature; if all predictions are correct, the optimum would be 0
BINS = 15


def temperature(logits: Logits, labels: Labels) -> float:
    r"""Fit the temperature: the :math:`T` in [0.05, 20] that minimises the mean log loss of ``softmax(logits / T)``.

    Division by the temperature does not change the predictions. A temperature above 1 lowers the top probabilities, and
    one below 1 raises them.

    Args:
        logits: ``(N, classes)``.
        labels: The indices of the true classes, integers in ``[0, classes - 1]``, ``(N,)``.
    Raises:
        ValueError: If the shapes are not ``(N, classes)`` and ``(N,)``, or there are no logits.
    Example:
        >>> logits = np.array([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
        >>> round(temperature(logits, np.array([0, 0, 1, 1])), 2)  # probabilities of 0.98 become 0.75
        3.64
    """
    _check(logits, labels)
    found = minimize_scalar(
        lambda log_of: log_loss(logits / math.exp(log_of), labels),
        bounds=[math.log(bound) for bound in BOUNDS],
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def log_loss(logits: Logits, labels: Labels) -> float:
    """The mean negative log likelihood of labels ``(N,)`` for logits ``(N, classes)``.

    Raises:
        ValueError: As :func:`temperature`.
    """
    _check(logits, labels)
    found = log_softmax(logits.astype(np.float64), axis=1)
    return float(-found[np.arange(len(labels)), labels].mean())


def probabilities_of(logits: Logits) -> npt.NDArray[np.float64]:
    """The softmax of each row of logits ``(N, classes)``, float64."""
    return np.asarray(softmax(logits.astype(np.float64), axis=1))


def expected_calibration_error(probabilities: npt.NDArray[np.floating[Any]], labels: Labels, bins: int = BINS) -> float:
    """The distance between the mean top probability and the accuracy of a bin, averaged over bins of equal width.

    The average weights a bin by its number of predictions.

    Args:
        probabilities: ``(N, classes)``.
        labels: The indices of the true classes, ``(N,)``.
        bins: Number of bins of the top probability, ``(k / bins, (k + 1) / bins]``. Default: 15.
    Raises:
        ValueError: If the shapes are not ``(N, classes)`` and ``(N,)``, or there are no probabilities or no bins.
    Example:
        >>> probabilities = np.array([[0.75, 0.25], [0.75, 0.25]])
        >>> expected_calibration_error(probabilities, np.array([0, 1]))  # 75 % expected, 50 % correct
        0.25
    """
    _check(probabilities, labels)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    top = probabilities.max(axis=1)
    excess = (probabilities.argmax(axis=1) == labels) - top
    number = np.clip(np.ceil(top * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(number, weights=excess, minlength=bins)).sum() / len(labels))


def _check(rows: npt.NDArray[Any], labels: Labels) -> None:
    if rows.ndim != 2 or not len(rows) or labels.shape != rows.shape[:1]:
        raise ValueError(
            "logits or probabilities must have the shape (N, classes) with N of at least 1, and labels the shape (N,), "
            f"got {rows.shape} and {labels.shape}"
        )
