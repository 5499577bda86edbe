"""The learning rates of the paper's published code (ShiftSER). All other schedules are Hugging Face's.

The published code intends a linear warm-up over five epochs, then a decay. It computes other rates. Let an epoch have
``n`` steps, five epochs ``W = 5 n`` steps, and all epochs ``T`` steps.

- On frozen features, the rate rises linearly from ``5e-7`` at ``t = 0`` towards the base rate at ``t = W``. From
  ``t = W`` on, it follows a cosine with the base rate at ``t = 0`` and ``5e-6`` at ``t = T``. The code sets the rate
  after each step, so optimizer step ``k``, counted from 0, uses ``t = max(k - 1, 0)``.
- In fine-tuning, the rate rises linearly from 0 at ``t = 0`` to the base rate at ``t = W``, is constant until
  ``t = 2 W``, and then falls linearly to 0 at ``t = T``. The code advances ``t`` once per epoch, but ``W`` and ``T``
  are in steps. So the warm-up takes ``5 n`` epochs, and the rate falls only after ``10 n`` epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

PUBLISHED_WARMUP_EPOCHS = 5
_WARMUP_START = 5e-7  # absolute, independent of the base rate
_COSINE_END = 5e-6  # absolute, independent of the base rate


def published_factor(setting: str, epochs: int, steps_per_epoch: int, base_rate: float) -> Callable[[int], float]:
    """Return a function from an optimizer step, counted from 0, to the learning rate divided by ``base_rate``.

    Args:
        setting: ``"features"`` or ``"finetune"``.
        epochs: Number of epochs.
        steps_per_epoch: Optimizer steps per epoch.
        base_rate: The base rate of the formulas above.
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
        return max(0.0, (total - t) / max(total - 2 * warmup, 1))  # 10 epochs of one step end where the decay starts

    return of_features if setting == "features" else of_finetuning
