"""One sample rate for all recordings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import soxr

SAMPLE_RATE = 16_000  # Hz, what the backbones were trained on


def resampled_mono(wave: npt.NDArray[np.float32], rate: int, sample_rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """A waveform ``(samples,)``, or ``(channels, samples)`` whose mean is taken, from one rate to the other."""
    mono: npt.NDArray[np.float32] = wave.mean(axis=0) if wave.ndim == 2 else wave
    return mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)
