"""The predicted class from the probabilities of all classes."""

from __future__ import annotations

from collections.abc import Sequence


def most_likely(labels: Sequence[str], probabilities: Sequence[float]) -> str:
    """Return the class with the highest probability; the first one in a tie."""
    return labels[max(range(len(labels)), key=probabilities.__getitem__)]
