"""Audio files to fixed-length clips, with soundfile and soxr only: no ffmpeg, no torchcodec."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from .errors import RecipeError

SAMPLE_RATE = 16_000  # Hz, what the backbones were trained on

# The resampler looks ahead: with this much more than the clip, its last samples are those of the whole file.
_LOOK_AHEAD = 0.1  # seconds


Source: TypeAlias = Path | BinaryIO


def read_clip(path: Source, seconds: float, sample_rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """The first ``seconds`` of a recording: channels averaged, resampled, zero-padded at the end.

    Returns:
        ``(round(seconds * sample_rate),)`` samples, full scale being 1.
    Raises:
        RecipeError: If the file is missing, empty, no audio, or holds a NaN or an infinity.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            look_ahead = 0.0 if rate == sample_rate else _LOOK_AHEAD
            wave = file.read(math.ceil((seconds + look_ahead) * rate), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
    if len(wave) == 0:
        raise _empty(path)
    if not np.isfinite(wave).all():
        raise RecipeError(f"the audio file {path} holds samples that are not finite")
    mono = resampled_mono(wave.T, rate, sample_rate)
    clip = np.zeros(round(seconds * sample_rate), dtype=np.float32)
    heard = mono[: len(clip)]
    clip[: len(heard)] = heard
    return clip


def resampled_mono(wave: npt.NDArray[np.float32], rate: int, sample_rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """A waveform ``(samples,)``, or ``(channels, samples)`` whose mean is taken, from one rate to the other."""
    mono: npt.NDArray[np.float32] = wave.mean(axis=0) if wave.ndim == 2 else wave
    return mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate)


def read_header(path: Path) -> tuple[int, int]:
    """How many samples a recording has in each channel, and how many a second.

    Raises:
        RecipeError: If the file is missing, empty or no audio.
    """
    try:
        with soundfile.SoundFile(path) as file:
            samples, rate = int(file.frames), int(file.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        raise _unreadable(path, error) from None
    if samples == 0:
        raise _empty(path)
    return samples, rate


def _empty(path: Source) -> RecipeError:
    return RecipeError(f"the audio file {path} is empty")


def _unreadable(path: Source, error: Exception) -> RecipeError:
    if isinstance(path, Path) and not path.exists():
        return RecipeError(f"there is no audio file {path}")
    reason = getattr(error, "error_string", str(error)).rstrip(".")
    return RecipeError(f"the audio file {path} cannot be read: {reason}")
