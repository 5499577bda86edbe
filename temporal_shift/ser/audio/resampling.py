"""Resample recordings to the sample rate of the encoders."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

SAMPLE_RATE = 16_000  # Hz, the rate of the pre-trained encoders


def resampled(mono: npt.NDArray[np.float32], rate: int, sample_rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """Resample ``(samples,)`` from ``rate`` to ``sample_rate`` Hz (default: 16000)."""
    return mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)
