"""FLAC: the header states the number of samples, or 0 if a streaming writer did not know it."""

from __future__ import annotations

import re
from typing import BinaryIO

from .layout import Layout, Part, read_at

_BEGINS = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # then the block header: STREAMINFO, 34 bytes
_READ = 1 << 20  # bytes read at once


def flac_layout(start: int, stop: int, head: bytes) -> Layout:
    """The layout with the number of samples in the header set to 0, so that libsndfile reads to the end of the file."""
    samples = int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF
    blank = (start + 21, bytes([head[21] & 0xF0, 0, 0, 0, 0]))
    return Layout((Part(start, stop, (blank,), unknown_length=True, samples=samples or None),))


def follows_flac(file: BinaryIO) -> bool:
    """Whether a file contains the start of a second FLAC recording."""
    found, position = 0, 0
    while len(block := read_at(file, position, _READ)) >= 8:
        found += len(_BEGINS.findall(block))
        position += len(block) - 7  # the blocks overlap by 7 bytes, one less than a match
    return found > 1
