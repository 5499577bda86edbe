"""The learning rates that the published code actually uses. All other schedules are Hugging Face's.

The published code intends a linear warm-up over five epochs, then a decay. It does this instead, with ``T`` steps in
all and ``W`` steps in five epochs:

- On frozen features, a line from ``5e-7`` up while ``t < W``, then a cosine down to ``5e-6`` that starts at ``t = 0``,
  not at ``W``. The rate is set after each step, so optimizer step ``k`` uses the rate of ``t = max(k - 1, 0)``.
- In fine-tuning, a line from 0 up while ``t < W``, the base rate while ``t < 2 W``, then a line down to 0 at ``T``. The
  schedule advances once per epoch but counts ``W`` and ``T`` in steps, so ``t`` is the epoch. It leaves the warm-up
  only with more epochs than five times the steps of an epoch, and decays only with more than ten times as many.
"""

from __future__ import annotations

import math
from collections.abc import Callable

PUBLISHED_WARMUP_EPOCHS = 5
_WARMUP_START = 5e-7  # absolute, independent of the base rate
_COSINE_END = 5e-6  # likewise


def published_factor(setting: str, epochs: int, steps_per_epoch: int, base_rate: float) -> Callable[[int], float]:
    """The factor of the base rate at optimizer step ``k``, counted from 0; ``setting`` is ``features`` or ``finetune``.

    Example:
        >>> of_step = published_factor("finetune", epochs=100, steps_per_epoch=139, base_rate=5e-4)
        >>> [round(5e-4 * of_step(139 * epoch), 7) for epoch in (0, 1, 99)]
        [0.0, 7e-07, 7.12e-05]
    """
    total, warmup = epochs * steps_per_epoch, PUBLISHED_WARMUP_EPOCHS * steps_per_epoch
    start, end = _WARMUP_START / base_rate, _COSINE_END / base_rate

    def of_features(k: int) -> float:
        t = max(k - 1, 0)
        if t < warmup:
            return start + t * (1 - start) / warmup
        return end + 0.5 * (1 - end) * (1 + math.cos(math.pi * t / total))

    def of_finetuning(k: int) -> float:
        t = k // steps_per_epoch
        if t < 2 * warmup:
            return min(t / warmup, 1.0)
        return max(0.0, (total - t) / (total - 2 * warmup))

    return of_features if setting == "features" else of_finetuning
