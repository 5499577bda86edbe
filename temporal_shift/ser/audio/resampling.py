"""One sample rate for all recordings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

SAMPLE_RATE = 16_000  # Hz, the rate of the pre-trained encoders


def resampled(mono: npt.NDArray[np.float32], rate: int, sample_rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """Resample ``(samples,)``."""
    return mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)
