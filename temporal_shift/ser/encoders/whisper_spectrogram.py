"""Whisper's log mel spectrogram as tensor operations, so that a model can be exported from waveform to classes.

The feature cache uses Hugging Face's extractor; :class:`.SpeechClassifier` uses this one. The tests compare both.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.audio_utils import mel_filter_bank

from temporal_shift.core.torch_private import assume_constant_result

from ..audio.resampling import SAMPLE_RATE

HOP = 160  # samples
WINDOW = 400  # samples, and points of the Fourier transform, in Whisper's checkpoints


def log_mel(waves: Tensor, bins: int) -> Tensor:
    """The log mel spectrogram of waveforms ``(B, samples)`` at 16 kHz, as ``(B, bins, samples // 160)``.

    Powers are raised to at least 80 dB below each clip's loudest bin, and ``p`` becomes ``(log10(p) + 4) / 4``. The
    Fourier transform is a matrix product, which exporters support. It is in double precision, because in single
    precision quiet bins next to loud bins lose digits.

    Args:
        waves: The waveforms, with more than 200 samples each.
        bins: Number of mel bins.
    """
    frames = waves.shape[1] // HOP
    padded = F.pad(waves[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")[:, 0].double()
    places = torch.arange(frames)[:, None] * HOP + torch.arange(WINDOW)  # (frames, WINDOW)
    transform, filters = (table.to(waves.device) for table in _tables(bins))
    parts = padded[:, places.to(waves.device)] @ transform  # (B, frames, real and imaginary parts)
    # constants instead of the table's sizes, which a compiler treats as unknown with dynamic=True
    power = parts.square().unflatten(-1, (2, WINDOW // 2 + 1)).sum(dim=-2)
    mel = (power @ filters).clamp(min=1e-10).log10().mT  # (B, bins, frames)
    loudest = mel.amax(dim=(1, 2), keepdim=True)
    return ((torch.maximum(mel, loudest - 8.0) + 4.0) / 4.0).to(waves.dtype)


@assume_constant_result  # compilers cannot trace the NumPy functions below
def _tables(bins: int) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(_transform()), torch.from_numpy(_filters(bins))


@cache
def _transform() -> npt.NDArray[np.float64]:
    """Matrix from samples to the real and then the imaginary parts of the windowed spectrum."""
    times, frequencies = np.arange(WINDOW)[:, None], np.arange(WINDOW // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * times / WINDOW)  # Hann, periodic
    angles = 2 * np.pi * times * frequencies / WINDOW
    table: npt.NDArray[np.float64] = window * np.concatenate([np.cos(angles), -np.sin(angles)], axis=1)
    return table


@cache
def _filters(bins: int) -> npt.NDArray[np.float64]:
    filters: npt.NDArray[np.float64] = mel_filter_bank(
        num_frequency_bins=WINDOW // 2 + 1,
        num_mel_filters=bins,
        min_frequency=0.0,
        max_frequency=SAMPLE_RATE / 2,
        sampling_rate=SAMPLE_RATE,
        norm="slaney",
        mel_scale="slaney",
    )
    return filters
