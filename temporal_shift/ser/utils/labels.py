"""From the probabilities of the classes to a label."""

from __future__ import annotations

from collections.abc import Sequence


def most_likely(labels: Sequence[str], probabilities: Sequence[float]) -> str:
    """The label of the highest probability; the first one of a tie."""
    return labels[max(range(len(labels)), key=probabilities.__getitem__)]
