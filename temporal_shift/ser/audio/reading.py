"""Read audio files as samples at one rate, with soundfile and soxr only: no ffmpeg, no torchcodec.

The end of the sound is found even if the header states no length. It is an error if the part that is read is cut off,
or if the header leaves the end of the sound ambiguous.
"""

from __future__ import annotations

import math
import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ..config import Channel
from ..utils.errors import RecipeError
from ..utils.wording import counted
from .channels import Downmix
from .containers import layout_of
from .flac import follows_flac
from .layout import Layout, LayoutError, Part, PartFile
from .pipes import spooled
from .resampling import SAMPLE_RATE, resampled
from .samples import MAX_CHANNELS, check_rate, check_scale

# The resampler looks ahead: with this much more audio, a clip equals the start of the whole resampled file.
_LOOK_AHEAD = 0.1  # seconds
_SLACK = 0.01  # seconds that the file may lack: some writers count the header as sound
_UNEXPLAINED = 0.1  # seconds of unknown bytes after the sound that are ignored: too short for speech
_NO_LENGTH = 0x7FFF0000  # samples; decoders report this length or more if they do not know it
_BLOCK = 1 << 18  # maximum samples that are decoded at once, over all channels

# extensions of formats that ffmpeg reads and libsndfile does not
_CONVERTIBLE = {".3gp", ".aac", ".amr", ".m4a", ".mov", ".mp4", ".webm", ".wma"}

Source: TypeAlias = Path | BinaryIO


@dataclass(frozen=True, slots=True)
class Measured:
    """Properties of a decoded recording.

    Attributes:
        samples: Number of samples per channel.
        sample_rate: Sample rate in Hz.
        channels: Number of channels.
        correlation: The lowest correlation of two channels with sound; ``None`` if fewer than two have sound.
        cancels: Whether the channels cancel each other in their mean.
    """

    samples: int
    sample_rate: int
    channels: int
    correlation: float | None
    cancels: bool


def read_clip(
    path: Source, seconds: float, sample_rate: int = SAMPLE_RATE, channel: Channel | Downmix = "mean"
) -> npt.NDArray[np.float32]:
    """Read the first ``seconds`` of a recording: one channel, resampled, zero-padded at the end if it is shorter.

    Args:
        path: The audio file or pipe as a ``Path``, or a seekable binary file object.
        seconds: Length of the clip in seconds.
        sample_rate: Sample rate of the clip in Hz. Default: 16000.
        channel: ``"mean"`` (default) averages the channels; a number selects one, counted from 0. A :class:`.Downmix`
            also measures their correlation.
    Returns:
        Samples, ``(round(seconds * sample_rate),)``, float32 with a full scale of 1.
    Raises:
        RecipeError: If the file is missing, unreadable, empty, not audio, cut off, damaged or ambiguous, if it has no
            such channel, more than 64 channels, several sound tracks, a rate outside [4000, 768000] Hz, or parts with
            different rates or channels, or if samples are not finite or not in [-32, 32]. Damage after the clip may
            remain undetected.
        ValueError: If ``channel`` is not valid.
    Example:
        >>> path = Path("examples/quickstart/corpus/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.ogg")
        >>> read_clip(path, seconds=2.0).shape
        (32000,)
    """
    with _opened(path, channel) as recording:
        look_ahead = 0.0 if recording.rate == sample_rate else _LOOK_AHEAD
        wave = recording.next(math.ceil((seconds + look_ahead) * recording.rate))
        mono = resampled(wave, recording.rate, sample_rate)
    clip = np.zeros(round(seconds * sample_rate), dtype=np.float32)
    clip[: len(mono)] = mono[: len(clip)]
    return clip


def read_blocks(
    path: Source, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE, channel: Channel | Downmix = "mean"
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield a whole recording in blocks of about ``seconds``, with one block in memory at a time.

    The concatenated blocks are one channel of the recording, resampled.

    Args:
        path: As for :func:`read_clip`.
        seconds: Approximate length of a block. Default: 1.
        sample_rate: Sample rate of the blocks in Hz. Default: 16000.
        channel: As for :func:`read_clip`.
    Yields:
        Samples, ``(n,)``, float32 with a full scale of 1.
    Raises:
        RecipeError, ValueError: As :func:`read_clip`, possibly after some blocks.
    Example:
        >>> path = Path("examples/quickstart/corpus/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.ogg")
        >>> sum(len(block) for block in read_blocks(path)) / 16000  # seconds
        1.5695
    """
    with _opened(path, channel) as recording:
        size = max(1, round(seconds * recording.rate))
        stream = None
        if recording.rate != sample_rate:
            stream = soxr.ResampleStream(recording.rate, sample_rate, 1, dtype="float32")
        last = False
        while not last:
            wave = recording.next(size)
            last = len(wave) < size
            block = wave if stream is None else stream.resample_chunk(wave, last=last)
            if len(block):
                yield block


def measure(path: Source, channel: Channel = "mean") -> Measured:
    """Decode a recording to its end, count its samples, and compare its channels.

    Args:
        path: As for :func:`read_clip`.
        channel: A channel that the recording must have. Default: ``"mean"``, no requirement.
    Raises:
        RecipeError, ValueError: As :func:`read_clip`.
    """
    mix = Downmix(channel)
    with _opened(path, mix) as recording:
        while len(recording.next(recording.rate)):
            pass
        return Measured(recording.samples_read, recording.rate, mix.channels, mix.correlation, mix.cancels)


class _Decoder(soundfile.SoundFile):
    """One part of a file, read once from start to end."""

    def seekable(self) -> bool:
        """False, because soundfile would seek after each read: slow, and the end of a cut-off FLAC would be lost."""
        return False


class _Recording:
    """An open file, read once from start to end."""

    def __init__(self, source: Source, file: BinaryIO, layout: Layout, mix: Downmix) -> None:
        self._source, self._file, self._layout, self._mix = source, file, layout, mix
        self._parts = iter(layout.parts)
        self.samples_read = 0
        self.rate = self._channels = 0
        self._open(next(self._parts))

    def next(self, samples: int) -> npt.NDArray[np.float32]:
        """The next ``samples`` samples, or fewer at the end, as one channel."""
        blocks: list[npt.NDArray[np.float32]] = []
        left = samples
        while left > 0:
            wave = self._decoded(min(left, max(1, _BLOCK // self._channels)))
            if len(wave):
                blocks.append(self._mixed(wave))
                left -= len(wave)
            elif (part := next(self._parts, None)) is not None:
                self._open(part)
            elif self.samples_read == 0:
                raise self._error("is empty")
            else:
                break
        return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)

    def close(self) -> None:
        self._decoder.close()

    def _open(self, part: Part) -> None:
        self._bytes, self._part_read = PartFile(self._file, part), 0
        try:
            self._decoder = _Decoder(self._bytes)
        except soundfile.SoundFileError as error:
            raise self._error(f"cannot be read: {_reason(error)}") from None
        self._stated: int | None = part.samples
        if part.samples is None and not part.unknown_length and self._decoder.frames < _NO_LENGTH:
            self._stated = int(self._decoder.frames)
        kind = (int(self._decoder.samplerate), int(self._decoder.channels))
        if self._channels and kind != (self.rate, self._channels):
            raise self._error(
                f"changes from {self.rate} Hz and {counted(self._channels, 'channel')} to {kind[0]} Hz and "
                f"{counted(kind[1], 'channel')}"
            )
        self.rate, self._channels = kind
        try:
            check_rate(self.rate, "its rate")
        except ValueError as error:
            raise self._error(f"cannot be read: {error}") from None
        if self._channels > MAX_CHANNELS:
            raise self._error(f"cannot be read: it must have at most {MAX_CHANNELS} channels, got {self._channels}")
        self._check_sizes()

    def _decoded(self, samples: int) -> npt.NDArray[np.float32]:
        """Up to ``samples`` samples of the current part, ``(samples, channels)``; 0 at its end."""
        stated, done = self._stated, self._part_read
        if stated is not None and done < stated:
            samples = min(samples, stated - done)
        try:
            wave: npt.NDArray[np.float32] = self._decoder.read(samples, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            if done == stated and not follows_flac(self._file):  # all samples are read, but other bytes follow
                return np.zeros((0, self._channels), dtype=np.float32)
            raise self._error(f"is cut off or damaged: {_reason(error)}") from None
        if self._bytes.error is not None:
            raise self._error(f"cannot be read: {_reason(self._bytes.error)}")
        self._part_read += len(wave)
        self.samples_read += len(wave)
        if len(wave) == 0 and stated is not None:
            self._check_length(stated, self._part_read)
        return wave

    def _mixed(self, wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            check_scale(wave, f"the audio file {_name(self._source)}")
        except ValueError as error:
            raise RecipeError(str(error)) from None
        try:
            return self._mix(wave)
        except ValueError as error:
            raise self._error(f"cannot be used: {error}") from None

    def _check_sizes(self) -> None:
        """Raise if the size of the sound in the header differs too much from its size in the file."""
        layout = self._layout
        if self._stated and min(layout.stated, layout.held) > 0:
            samples = self._stated / min(layout.stated, layout.held)
            self._check_length(layout.stated * samples, layout.held * samples)
            more = layout.held - layout.stated
            if more * samples > _UNEXPLAINED * self.rate:
                raise self._error(
                    f"is ambiguous: its header states {layout.stated} bytes of sound, but {more} more follow; correct "
                    "the header"
                )

    def _check_length(self, stated: float, held: float) -> None:
        if stated > held + _SLACK * self.rate:
            raise self._error(
                f"is cut off: its header states {stated / self.rate:.2f} s, but it contains {held / self.rate:.2f} s"
            )

    def _error(self, what: str) -> RecipeError:
        return RecipeError(f"the audio file {_name(self._source)} {what}")


@contextmanager
def _opened(source: Source, channel: Channel | Downmix) -> Iterator[_Recording]:
    """Open a recording; raises :class:`RecipeError` if the file cannot be read or its structure is damaged."""
    mix = channel if isinstance(channel, Downmix) else Downmix(channel)
    with ExitStack() as stack:
        try:
            file = _file(source, stack)
            recording = _Recording(source, file, layout_of(file), mix)
        except LayoutError as error:
            raise RecipeError(f"the audio file {_name(source)} {error}") from None
        except RecipeError:
            raise
        except (OSError, ValueError) as error:  # ValueError: for example another format
            raise _unreadable(source, error) from None
        stack.callback(recording.close)
        yield recording


def _file(source: Source, stack: ExitStack) -> BinaryIO:
    if not isinstance(source, Path):
        return source
    file = stack.enter_context(open(source, "rb", opener=_open_at_once))  # noqa: SIM115 - the stack closes it
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISFIFO(mode):
        return stack.enter_context(spooled(file))
    if not stat.S_ISREG(mode):
        raise ValueError("it must be a regular file or a pipe, got a device")
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # do not wait for the writer of a named pipe


def _unreadable(source: Source, error: Exception) -> RecipeError:
    if isinstance(error, FileNotFoundError):
        return RecipeError(f"there is no audio file {_name(source)}")
    return RecipeError(f"the audio file {_name(source)} cannot be read: {_reason(error)}{_conversion(source, error)}")


def _conversion(source: Source, error: Exception) -> str:
    """A hint for a file with an extension of a format that libsndfile cannot read, else empty."""
    if not isinstance(source, Path) or isinstance(error, OSError) or source.suffix.lower() not in _CONVERTIBLE:
        return ""
    names = (str(source), str(source.with_suffix(".wav")))
    before, after = (shlex.quote(f"./{name}" if name.startswith("-") else name) for name in names)
    return f"; convert it first, for example with ffmpeg -i {before} {after}"


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return str(text).removeprefix("Error : ").rstrip(".")


def _name(source: Source) -> str:
    return str(source) if isinstance(source, Path) else "in memory"
