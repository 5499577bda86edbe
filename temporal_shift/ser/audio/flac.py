"""FLAC: its header states the number of samples, 0 if a streaming writer did not know it."""

from __future__ import annotations

import re
from typing import BinaryIO

from .layout import Layout, Part, read_at

_BEGINS = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # with the block of 34 bytes that comes first
_READ = 1 << 20  # bytes


def flac_layout(start: int, stop: int, head: bytes) -> Layout:
    """The recording with its number of samples blanked out, so that libsndfile reads what follows it too."""
    samples = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
    blank = (start + 21, bytes([head[21] & 0xF0, 0, 0, 0, 0]))
    return Layout((Part(start, stop, (blank,), unknown_length=True, samples=samples or None),))


def follows_flac(file: BinaryIO) -> bool:
    """Whether a second recording begins in a file."""
    found, position = 0, 0
    while len(block := read_at(file, position, _READ)) >= 8:
        found += len(_BEGINS.findall(block))
        position += len(block) - 7  # the next block overlaps, by less than what is looked for
    return found > 1
