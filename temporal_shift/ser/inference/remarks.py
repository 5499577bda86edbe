"""What a reader must know beside a label: that there is hardly any sound, or that two classes tie.

This is not a voice activity detector: a passing car is as loud as speech, and gets no remark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..audio.resampling import SAMPLE_RATE

SILENCE = -60.0  # dBFS: quiet speech is louder, and the noise of a microphone in a quiet room is below
TIE = 1e-6  # a smaller difference of two probabilities depends on the rounding of the machine

_FRAME = round(0.025 * SAMPLE_RATE)


def level_of(samples: npt.NDArray[np.float32]) -> float:
    r"""The level of the loudest 25 ms, in dBFS; minus infinity without a sound.

    .. math:: 20 \log_{10} \max_f \sqrt{\tfrac{1}{400} \sum_n (x_{f,n} - \bar{x}_f)^2}

    The mean of each frame is subtracted because a constant offset is no sound.

    Args:
        samples: ``(samples,)`` at 16 kHz, full scale being 1. Samples after the last whole frame count in a clip that
            is shorter than a frame only.
    """
    whole = len(samples) // _FRAME * _FRAME
    frames = samples[:whole].reshape(-1, _FRAME) if whole else samples[None]
    with np.errstate(invalid="ignore"):  # callers refuse what a model cannot answer
        loudest = float(frames.std(axis=1, dtype=np.float64).max()) if len(samples) else 0.0
    return -math.inf if loudest == 0 else 20 * math.log10(loudest)


def remark(labels: Sequence[str], probabilities: Sequence[float], level: float) -> str:
    """What to show next to the label: ``no speech found``, ``tie: happy, sad``, both, or nothing.

    Args:
        level: The sound's level as :func:`level_of` gives it: below -60 dBFS, there is no speech.
    """
    best = max(probabilities)
    tied = [label for label, share in zip(labels, probabilities, strict=True) if best - share < TIE]
    found = ["no speech found"] if level < SILENCE else []
    if len(tied) > 1:
        found.append(f"tie: {', '.join(tied)}")
    return "; ".join(found)
