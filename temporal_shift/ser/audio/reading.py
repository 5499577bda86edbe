"""Read audio files as samples at one rate, with soundfile and soxr only: no ffmpeg, no torchcodec.

A truncated recording is an error; libsndfile itself returns what is left of it without a warning.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ..utils.errors import RecipeError
from .headers import NO_LENGTH, SizeFilledIn, blank_size_position, stated_samples
from .resampling import SAMPLE_RATE, resampled_mono

# The resampler looks ahead. With this much more than the clip, its last samples equal those of the whole file.
_LOOK_AHEAD = 0.1  # seconds
_SLACK = 0.01  # seconds that the header may state and the file lack: some writers count the header itself as sound

Source: TypeAlias = Path | BinaryIO


def read_clip(path: Source, seconds: float, sample_rate: int = SAMPLE_RATE) -> npt.NDArray[np.float32]:
    """The first ``seconds`` of a recording: channels averaged, resampled, zero-padded at the end.

    Returns:
        ``(round(seconds * sample_rate),)`` samples, full scale being 1.
    Raises:
        RecipeError: If the file is missing, empty, not audio or cut off, or if it contains a NaN or an infinity.
    """
    with _opened(path) as file:
        look_ahead = 0.0 if file.samplerate == sample_rate else _LOOK_AHEAD
        wave = file.next(math.ceil((seconds + look_ahead) * file.samplerate))
        mono = resampled_mono(wave, file.samplerate, sample_rate)
    clip = np.zeros(round(seconds * sample_rate), dtype=np.float32)
    clip[: len(mono)] = mono[: len(clip)]
    return clip


def read_blocks(
    path: Source, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a whole recording in blocks of about ``seconds``, with one block in memory at a time.

    The blocks together are the recording with its channels averaged, resampled; :func:`read_clip` returns its start.

    Raises:
        RecipeError: As :func:`read_clip`, possibly after some blocks.
    """
    with _opened(path) as file:
        size = max(1, round(seconds * file.samplerate))
        stream = None
        if file.samplerate != sample_rate:
            stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32")
        last = False
        while not last:
            wave = file.next(size)
            last = len(wave) < size
            block = wave if stream is None else stream.resample_chunk(wave, last=last)
            if len(block):
                yield block


def read_header(path: Source) -> tuple[int, int]:
    """The number of samples in each channel of a recording, and its sample rate in Hz.

    Raises:
        RecipeError: If the file is missing, empty, not audio, or cut off according to its header.
    """
    with _opened(path) as file:
        if file.frames >= NO_LENGTH:  # a streamed FLAC or Ogg: only decoding gives the length
            while len(file.next(file.samplerate)):
                pass
            return file.samples_read, int(file.samplerate)
        return int(file.frames), int(file.samplerate)


class _Recording(soundfile.SoundFile):  # type: ignore[misc]
    """An open file, read once from start to end."""

    path: Source
    samples_read = 0

    def seekable(self) -> bool:
        """False: soundfile would seek after each read, which is slow and loses the samples before a FLAC's cut."""
        return False

    def next(self, samples: int) -> npt.NDArray[np.float32]:
        """The next ``samples`` samples, or fewer at the end, with the channels averaged."""
        asked = min(samples, self.frames - self.samples_read)
        try:
            wave: npt.NDArray[np.float32] = self.read(asked, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise self.cut_off(f" or damaged: {_reason(error)}") from None
        self.samples_read += len(wave)
        if len(wave) < asked and self.frames < NO_LENGTH:
            self.check_length(self.frames, self.samples_read)
        if not np.isfinite(wave).all():
            raise RecipeError(f"the audio file {_name(self.path)} contains samples that are not finite")
        with np.errstate(over="ignore"):  # callers check the result if they need finite samples
            mean: npt.NDArray[np.float32] = wave.T.mean(axis=0)
        return mean

    def check_length(self, stated: int, held: int) -> None:
        """Raise if the header states more samples than the file has."""
        if stated > held + _SLACK * self.samplerate:
            raise self.cut_off(
                f": its header states {stated / self.samplerate:.2f} s, it has {held / self.samplerate:.2f} s"
            )

    def cut_off(self, how: str) -> RecipeError:
        return RecipeError(f"the audio file {_name(self.path)} is cut off{how}")


@contextmanager
def _opened(path: Source) -> Iterator[_Recording]:
    """Open a recording; raise if it has no sample or is cut off according to its header."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_recording(path, stack))
        except (soundfile.SoundFileError, OSError, ValueError) as error:  # a name with a null byte is a ValueError
            raise _unreadable(path, error) from None
        file.path = path
        if all(sign in file.extra_info for sign in ("lacks an end-of-stream bit", "Junk after the last page")):
            raise file.cut_off(": it ends within a page")  # Ogg: its header has no length
        if file.frames == 0:
            raise RecipeError(f"the audio file {_name(path)} is empty")
        file.check_length(stated_samples(file), file.frames)
        yield file


def _recording(path: Source, stack: ExitStack) -> _Recording:
    if not isinstance(path, Path):
        return _Recording(path)
    raw = stack.enter_context(path.open("rb", buffering=0))
    status = os.fstat(raw.fileno())
    if stat.S_ISREG(status.st_mode):
        if status.st_size == 0:
            raise ValueError("it has 0 bytes")
        place = blank_size_position(raw, status.st_size)
        raw.seek(0)
        if place is not None:
            return _Recording(SizeFilledIn(raw, place))
    return _Recording(raw.fileno(), closefd=False)  # not by name: soundfile guesses the format from its extension


def _unreadable(path: Source, error: Exception) -> RecipeError:
    if isinstance(error, FileNotFoundError):
        return RecipeError(f"there is no audio file {_name(path)}")
    return RecipeError(f"the audio file {_name(path)} cannot be read: {_reason(error)}")


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).removeprefix("Error : ").rstrip(".")


def _name(path: Source) -> str:
    return str(path) if isinstance(path, Path) else "in memory"
