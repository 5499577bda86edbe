"""Ogg: pages of one or several streams. A chained file contains several recordings in sequence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from .layout import Layout, LayoutError, Part, read_at

_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ", b"PCM     ")  # first bytes of a stream of sound
_PADDING = 4096  # maximum bytes after the last page, which are ignored: a disk block


@dataclass(frozen=True, slots=True)
class _Page:
    start: int
    length: int
    begins: bool  # whether a stream begins with it
    serial: int  # number of the stream
    number: int  # number of the page in the stream
    time: int  # samples of the stream until the end of the page; -1 if no packet ends in it
    content: bytes  # its first 8 bytes


def ogg_layout(file: BinaryIO, start: int, stop: int) -> Layout:
    """The links of a chained file, each a recording; another file has one link.

    Raises:
        LayoutError: If a page is incomplete, pages are missing or in a wrong order, a page states an earlier time than
            a previous one, other bytes are between pages, more than 4096 bytes follow the last page, or several streams
            of sound run in parallel.
    """
    links: list[int] = []  # positions of their first pages
    heads = True  # whether the previous page begins a stream
    expected: dict[int, int] = {}  # number of the next page, by stream
    times: dict[int, int] = {}  # latest time, by stream
    sounds = 0
    end = start
    for page in _pages(file, start, stop):
        if page.begins:
            if not heads or not links:
                links.append(page.start)
                expected, times, sounds = {}, {}, 0
            sounds += page.content.startswith(_SOUND)
            if sounds > 1:
                raise LayoutError("must contain one sound track, got several: extract one")
        elif expected.get(page.serial, page.number) != page.number:
            raise LayoutError(f"is damaged: pages are missing before byte {page.start}")
        if page.time != -1 and page.time < times.setdefault(page.serial, page.time):
            raise LayoutError(
                f"is damaged: the page at byte {page.start} states an earlier time than the previous ones"
            )
        heads = page.begins
        expected[page.serial] = page.number + 1
        times[page.serial] = max(page.time, times.get(page.serial, page.time))
        end = page.start + page.length
    bounds = [*links, end]
    return Layout(tuple(Part(*pair) for pair in pairwise(bounds)))


def _pages(file: BinaryIO, start: int, stop: int) -> Iterator[_Page]:
    position = start
    while position < stop:
        head = read_at(file, position, 27 + 255)
        if head[:4] != b"OggS":
            if stop - position > _PADDING or b"OggS" in read_at(file, position, _PADDING):
                raise LayoutError(f"is damaged: a page must begin at byte {position}")
            return
        segments = head[26] if len(head) > 26 else 0
        length = 27 + segments + sum(head[27 : 27 + segments])
        if len(head) < 27 + segments or position + length > stop:
            raise LayoutError("is cut off: it ends within a page")
        content = read_at(file, position + 27 + segments, 8)
        serial, number = (int.from_bytes(head[place : place + 4], "little") for place in (14, 18))
        time = int.from_bytes(head[6:14], "little", signed=True)
        yield _Page(position, length, bool(head[5] & 2), serial, number, time, content)
        position += length
