"""Remarks next to a prediction: no speech was found, or classes tie.

This is not a voice activity detector: a passing car is as loud as speech, and gets no remark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..audio.resampling import SAMPLE_RATE

SILENCE = -60.0  # dBFS: meant to be below quiet speech and above the noise of a quiet room
TIE = 1e-6  # smaller differences of probabilities depend on rounding

_FRAME = round(0.025 * SAMPLE_RATE)


def level_of(samples: npt.NDArray[np.float32]) -> float:
    r"""The level of the loudest frame of 25 ms in dBFS; minus infinity if all frames are constant (digital silence).

    .. math:: 20 \log_{10} \max_f \sqrt{\tfrac{1}{400} \sum_n (x_{f,n} - \bar{x}_f)^2}

    The mean of each frame is subtracted, because a constant offset is inaudible.

    Args:
        samples: ``(samples,)`` at 16 kHz with a full scale of 1. Samples after the last whole frame are ignored, unless
            the clip is shorter than a frame. An empty clip has the level minus infinity.
    """
    whole = len(samples) // _FRAME * _FRAME
    frames = samples[:whole].reshape(-1, _FRAME) if whole else samples[None]
    with np.errstate(invalid="ignore"):  # callers check for NaN
        loudest = float(frames.std(axis=1, dtype=np.float64).max()) if len(samples) else 0.0
    return -math.inf if loudest == 0 else 20 * math.log10(loudest)


def remark(labels: Sequence[str], probabilities: Sequence[float], level: float) -> str:
    """Return what to show next to a prediction: ``no speech found``, ``tie: happy, sad``, both, or an empty string.

    Args:
        labels: The classes.
        probabilities: One per class.
        level: The level of the sound in dBFS, from :func:`level_of`. Below -60 dBFS, no speech is found.
    """
    best = max(probabilities)
    tied = [label for label, share in zip(labels, probabilities, strict=True) if best - share < TIE]
    found = ["no speech found"] if level < SILENCE else []
    if len(tied) > 1:
        found.append(f"tie: {', '.join(tied)}")
    return "; ".join(found)
