"""The length in an audio file's header: detect one that is wrong, and replace one that was never filled in."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

import soundfile

# Streaming writers leave 0xFFFFFFFF or a number near 0x7FFFFFFF in the header: the length is unknown.
NO_LENGTH = 0x7FFF0000


def stated_samples(file: soundfile.SoundFile) -> int:
    """The number of samples in the header, if libsndfile's log says that it is too large; else 0."""
    sizes = r"^ *(?:data|Data Size|SSND|Riff size|riff) *: (\d+) \(should be (\d+)\)"  # WAV, AU, AIFF, RF64, W64
    found = re.search(sizes, file.extra_info, flags=re.MULTILINE)
    if found is None or int(found[1]) >= NO_LENGTH:
        return 0
    return int(file.frames) * int(found[1]) // max(1, int(found[2]))


def blank_size_position(file: BinaryIO, length: int) -> int | None:
    """Position of the size of a WAV's data chunk, if it is 0 although data follows; else ``None``.

    A streaming writer, or one that was killed, leaves such a header.
    """
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    place = None
    while len(head := file.read(8)) == 8 and re.fullmatch(rb"[ -~]{4}", head[:4]):
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"data" and size > 0:
            return None
        if head[:4] == b"data":
            place = file.tell() - 4
        file.seek(size + size % 2, os.SEEK_CUR)
    ends_well = head == b"" and file.tell() <= length + 1  # valid chunks up to the end: the data chunk is really empty
    return None if ends_well else place


class SizeFilledIn:
    """A file whose four bytes at ``place`` read as 0xFFFFFFFF, which libsndfile takes for an unknown size."""

    def __init__(self, file: BinaryIO, place: int) -> None:
        self._file, self._place = file, place
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        start = self._file.tell()
        data = bytearray(self._file.read(count))
        for position in range(max(self._place - start, 0), min(self._place + 4 - start, len(data))):
            data[position] = 0xFF
        return bytes(data)
