"""The parts of an audio file that contain sound, found from its structure because headers are often wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

_HUGE = 1 << 40  # bytes, reported as the size of an MPEG part of unknown length, so that a decoder reads to the end
_TAG = 128  # bytes at the end of an MP3 in which decoders look for a tag


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes ``start:stop`` of a file, which libsndfile can open.

    Attributes:
        start: Position of the first byte in the file.
        stop: Position after the last byte.
        patches: Positions in the file and the bytes to read there instead, to change sizes that libsndfile would trust.
        unknown_length: Whether the length that libsndfile finds must be ignored, and the sound read to its end.
        samples: The number of samples in the header, if a patch hides it from libsndfile.
        before: Bytes that libsndfile reads before the part.
    """

    start: int
    stop: int
    patches: tuple[tuple[int, bytes], ...] = ()
    unknown_length: bool = False
    samples: int | None = None
    before: bytes = b""


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a recording, in order.

    Attributes:
        parts: The parts.
        stated: Bytes of sound according to the header; 0 if unknown.
        held: Bytes of sound in the file; 0 if unknown.
    """

    parts: tuple[Part, ...]
    stated: int = 0
    held: int = 0


class LayoutError(Exception):
    """The sound of a file cannot be used. The message continues a sentence after the file's name: "is cut off: ..."."""


class PartFile:
    """A part as a read-only file object for soundfile. ``error`` is the exception of a failed read, else ``None``."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file, self._part, self._position = file, part, 0
        self._size = len(part.before) + part.stop - part.start
        self._pretended = _HUGE if part.unknown_length and not part.patches else self._size
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._pretended}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        if self._position >= max(self._size, self._pretended - _TAG):  # the end, or where a decoder looks for a tag
            return bytes(max(0, min(count, self._pretended - self._position)))
        data = self._part.before[max(0, self._position) :][:count]
        start = self._part.start + self._position + len(data) - len(self._part.before)
        try:
            found = read_at(self._file, start, min(count - len(data), self._part.stop - start))
        except OSError as error:  # an exception in the callback would only be printed
            self.error = error
            return b""
        data += _patched(found, start, self._part.patches)
        self._position += len(data)
        return data


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    """Up to ``count`` bytes at a position in a file."""
    if count <= 0 or position < 0:  # a decoder seeks before the start of a damaged file
        return b""
    file.seek(position)
    return file.read(count)


def _patched(data: bytes, start: int, patches: Iterable[tuple[int, bytes]]) -> bytes:
    for place, content in patches:
        if start < place + len(content) and place < start + len(data):
            changed = bytearray(data)
            for position in range(max(place, start), min(place + len(content), start + len(data))):
                changed[position - start] = content[position - place]
            data = bytes(changed)
    return data
