"""Lengths that an audio file's header states: missing, wrong, or never filled in."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

import soundfile

# Writers that cannot come back to the header leave 0xFFFFFFFF there, or something near 0x7FFFFFFF: no length at all.
NO_LENGTH = 0x7FFF0000


def promised_samples(file: soundfile.SoundFile) -> int:
    """The samples that the header tells of, where libsndfile's log says that they are too many; else 0."""
    sizes = r"^ *(?:data|Data Size|SSND|Riff size|riff) *: (\d+) \(should be (\d+)\)"  # WAV, AU, AIFF, RF64, W64
    found = re.search(sizes, file.extra_info, flags=re.MULTILINE)
    if found is None or int(found[1]) >= NO_LENGTH:
        return 0
    return int(file.frames) * int(found[1]) // max(1, int(found[2]))


def blank_size_position(file: BinaryIO, length: int) -> int | None:
    """Where a WAV says that its sound has 0 bytes, if it has some: the writer was a stream, or was killed."""
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
    ends_well = head == b"" and file.tell() <= length + 1  # chunks up to the very end: none of them is sound
    return None if ends_well else place


class SizeFilledIn:
    """A file in which the four bytes at ``place`` say that no size is known, as other streams say it."""

    def __init__(self, file: BinaryIO, place: int) -> None:
        self._file, self._place = file, place
        self.seek, self.tell = file.seek, file.tell

    def read(self, count: int) -> bytes:
        start = self._file.tell()
        data = bytearray(self._file.read(count))
        for position in range(max(self._place - start, 0), min(self._place + 4 - start, len(data))):
            data[position] = 0xFF
        return bytes(data)
