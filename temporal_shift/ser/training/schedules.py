"""The learning rates that the published code really used. All other schedules are Hugging Face's.

The published code intends a linear warm-up over five epochs, then a cosine. It does this instead:

- On frozen features, with ``T`` steps in all and ``W`` steps in five epochs: a line from ``5e-7`` up while ``t < W``,
  then a cosine down to ``5e-6`` that starts at ``t = 0``, not at ``W``. The rate is set after each step, so optimizer
  step ``k`` uses the rate of ``t = max(k - 1, 0)``.
- In fine-tuning, the schedule advances once per epoch, but its warm-up is counted in iterations. It never leaves the
  warm-up, and the rate of the first epoch is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

PUBLISHED_WARMUP_EPOCHS = 5
_WARMUP_START = 1e-3  # of the base rate: 5e-7 of 5e-4
_COSINE_END = 1e-2  # of the base rate: 5e-6 of 5e-4


def published_factor(setting: str, epochs: int, steps_per_epoch: int) -> Callable[[int], float]:
    """The factor of the base rate at optimizer step ``k``, counted from 0; ``setting`` is ``features`` or ``finetune``.

    Example:
        >>> of_step = published_factor("finetune", epochs=100, steps_per_epoch=139)
        >>> [round(5e-4 * of_step(139 * epoch), 7) for epoch in (0, 1, 99)]
        [0.0, 7e-07, 7.12e-05]
    """
    total, warmup = epochs * steps_per_epoch, PUBLISHED_WARMUP_EPOCHS * steps_per_epoch

    def of_features(k: int) -> float:
        t = max(k - 1, 0)
        if t < warmup:
            return _WARMUP_START + t * (1 - _WARMUP_START) / warmup
        return _COSINE_END + 0.5 * (1 - _COSINE_END) * (1 + math.cos(math.pi * t / total))

    def of_finetuning(k: int) -> float:
        return min(k // steps_per_epoch / warmup, 1.0)

    return of_features if setting == "features" else of_finetuning
