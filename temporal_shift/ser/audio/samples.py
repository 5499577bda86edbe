"""Validate waveforms: their sample rate, their scale, and arrays from callers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# below 4 kHz speech is not intelligible; no converter records above 768 kHz
MIN_RATE, MAX_RATE = 4_000, 768_000
MAX_CHANNELS = 64  # ambisonics of the seventh order
# 30 dB above full scale: normalised speech stays below, and integers stored as floats are above
MAX_SAMPLE = 32.0


def check_rate(rate: Any, name: str = "sampling_rate") -> int:
    """The rate in Hz as an int.

    Raises:
        ValueError: If it is not an integer in [4000, 768000].
    """
    whole = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not whole or not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise ValueError(f"{name} must be an integer in [{MIN_RATE}, {MAX_RATE}] Hz, got {rate!r}")
    return int(rate)


def check_scale(wave: npt.NDArray[np.floating], name: str) -> None:
    """Raise a ``ValueError`` if samples are not finite, or too large for a full scale of 1."""
    peak = float(np.abs(wave).max(initial=0.0))  # NaN if a sample is
    if not np.isfinite(peak):
        raise ValueError(f"{name} contains samples that are not finite")
    if peak > MAX_SAMPLE:
        raise ValueError(
            f"{name} must have floating-point samples in [-1, 1], got {peak:.6g}: divide by the full scale, such as "
            "32768 for 16 bits"
        )


def as_floats(array: Any, name: str) -> npt.NDArray[np.float32]:
    """An array or tensor as float32 samples with a full scale of 1, in the same shape.

    Floats have a full scale of 1. Integers of 8, 16 and 32 bits are divided by theirs; unsigned 8-bit ones are centred
    at 128 first, as in WAV files.

    Raises:
        TypeError: If it is not an array or a tensor, or of another type.
        ValueError: If samples are not finite or not on a scale of 1.
    """
    if hasattr(array, "detach"):  # a tensor; numpy has no bfloat16
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array or a tensor of samples, got {type(array).__name__}")
    wave = _scaled(array, name)
    check_scale(wave, name)
    return wave


def waveform(array: Any, name: str) -> npt.NDArray[np.float32]:
    """The same for a recording, ``(samples,)`` or ``(channels, samples)``.

    Raises:
        TypeError, ValueError: As :func:`as_floats`; also if it is empty or of another shape.
    """
    wave = as_floats(array, name)
    if wave.ndim not in (1, 2) or wave.size == 0:
        raise ValueError(f"{name} must have the shape (samples,) or (channels, samples), got {wave.shape}")
    if wave.ndim == 2 and len(wave) > min(MAX_CHANNELS, wave.shape[1]):
        raise ValueError(
            f"{name} must have the shape (samples,) or (channels, samples) with at most {MAX_CHANNELS} channels, got "
            f"{wave.shape}: is it (samples, channels)?"
        )
    return wave


def _scaled(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    kind = array.dtype
    if np.issubdtype(kind, np.floating):
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    if kind == np.uint8:
        return ((array.astype(np.float64) - 128) / 128).astype(np.float32)
    if kind in (np.int8, np.int16, np.int32):
        return (array / float(-int(np.iinfo(kind).min))).astype(np.float32)
    raise TypeError(f"{name} must contain floats, or integers of 8, 16 or 32 bits, got {kind}")
