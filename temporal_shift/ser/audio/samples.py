"""Validate waveforms: their sample rate, their scale, and arrays from callers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Hz: speech that is sampled below 4 kHz is hard to understand; audio converters reach 768 kHz
MIN_RATE, MAX_RATE = 4_000, 768_000
MAX_CHANNELS = 64  # ambisonics of the seventh order
# 30 dB above full scale: normalised speech is below, and integers stored as floats are usually above
MAX_SAMPLE = 32.0


def check_rate(rate: Any, name: str = "sampling_rate") -> int:
    """The rate in Hz as an int.

    Args:
        rate: The rate, also as a whole float or a NumPy number.
        name: The argument, for the message.
    Raises:
        ValueError: If the rate is not an integer in [4000, 768000].
    """
    whole = isinstance(rate, int | float | np.integer | np.floating) and not isinstance(rate, bool)
    if not whole or not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise ValueError(f"{name} must be an integer in [{MIN_RATE}, {MAX_RATE}] Hz, got {rate!r}")
    return int(rate)


def check_scale(wave: npt.NDArray[np.floating], name: str) -> None:
    """Raise a ``ValueError`` if samples are not finite or not in [-32, 32], too large for a full scale of 1.

    Args:
        wave: The samples, of any shape.
        name: The samples, for the message.
    """
    peak = float(np.abs(wave).max(initial=0.0))  # NaN if a sample is NaN
    if not np.isfinite(peak):
        raise ValueError(f"{name} contains samples that are not finite")
    if peak > MAX_SAMPLE:
        raise ValueError(
            f"{name} must have a full scale of 1 and samples in [-{MAX_SAMPLE:g}, {MAX_SAMPLE:g}], got a peak of "
            f"{peak:.6g}: divide by the full scale, such as 32768 for 16 bits"
        )


def as_floats(array: Any, name: str) -> npt.NDArray[np.float32]:
    """An array or tensor as float32 samples with a full scale of 1, in the same shape.

    Floats are not scaled. Signed integers of 8, 16 and 32 bits are divided by their full scale, 2**7, 2**15 or 2**31.
    Unsigned integers of 8 bits are centred at 128 and divided by 128, as in WAV files.

    Args:
        array: A NumPy array or a tensor of any shape.
        name: The argument, for messages.
    Raises:
        TypeError: If ``array`` is not an array or a tensor, or has another dtype.
        ValueError: If samples are not finite or not in [-32, 32].
    """
    if hasattr(array, "detach"):  # a tensor; NumPy has no bfloat16
        array = array.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be an array or a tensor of samples, got {type(array).__name__}")
    wave = _scaled(array, name)
    check_scale(wave, name)
    return wave


def waveform(array: Any, name: str) -> npt.NDArray[np.float32]:
    """A recording, ``(samples,)`` or ``(channels, samples)``, as :func:`as_floats` converts it.

    Args:
        array: As for :func:`as_floats`.
        name: The argument, for messages.
    Raises:
        TypeError, ValueError: As :func:`as_floats`.
        ValueError: If it is empty, has another shape or more than 64 channels, or more channels than samples.
    """
    wave = as_floats(array, name)
    if wave.ndim not in (1, 2) or wave.size == 0:
        raise ValueError(f"{name} must be non-empty, (samples,) or (channels, samples), got the shape {wave.shape}")
    if wave.ndim == 2 and len(wave) > min(MAX_CHANNELS, wave.shape[1]):
        raise ValueError(
            f"{name} must have the shape (samples,) or (channels, samples) with at most {MAX_CHANNELS} channels and at "
            f"least as many samples as channels, got {wave.shape}: is it (samples, channels)?"
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
    raise TypeError(f"{name} must contain floats, uint8, or signed integers of 8, 16 or 32 bits, got {kind}")
