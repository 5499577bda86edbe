"""MPEG audio, such as MP3: a sequence of frames between tags, without a length. Some files state a number of frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from .layout import Layout, LayoutError, Part, read_at

_RATES = (44100, 48000, 32000)  # Hz in MPEG 1; MPEG 2 has half of each, MPEG 2.5 a quarter
_KBPS = {  # bit rates by the index in a frame's header; keys: whether it is MPEG 1, layer
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_PADDING = 4096  # maximum other bytes after the last frame, unless the number of frames is as stated: a disk block
_SEARCHED = 1 << 20  # maximum other bytes after the last frame in any case; they are searched for more frames
# without an ID3 tag in front, libsndfile tries other formats first, for which it also opens files in the working folder
_TAG = b"ID3\x04" + bytes(5) + b"\x0a" + bytes(10)
_LYRICS = 1 << 20  # bytes in which the end of a lyrics tag is searched; a Lyrics3 tag has less than 1 MB
_LYRICS_END = re.compile(rb"LYRICS(200|END)")


@dataclass(frozen=True, slots=True)
class _Frame:
    kind: tuple[int, int, int, bool]  # version, layer, Hz, mono: the same in all frames of a recording
    length: int  # bytes


@lru_cache(maxsize=1024)  # a recording has few different headers
def _frame(head: bytes) -> _Frame | None:
    """The frame with a header of these four bytes; ``None`` if they are not a header, or state no bit rate."""
    word = int.from_bytes(head, "big")
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    kbps, rate, pad = word >> 12 & 15, word >> 10 & 3, word >> 9 & 1
    if len(head) < 4 or word >> 21 != 0x7FF or version == 1 or layer == 4 or kbps in (0, 15) or rate == 3:
        return None
    first = version == 3
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _KBPS[first, layer][kbps]
    if layer == 1:
        length = (12 * bits // hertz + pad) * 4
    else:
        length = (144 if first or layer == 2 else 72) * bits // hertz + pad
    return _Frame((version, layer, hertz, word >> 6 & 3 == 3), length)


@dataclass(slots=True)
class _Row:
    """Consecutive frames of one kind, the bytes ``start:stop`` of the file."""

    kind: tuple[int, int, int, bool]
    start: int
    stop: int = 0
    frames: int = 0  # frames with sound
    information: int = 0  # bytes of the information frame, which contains no sound
    stated: int | None = None  # number of frames according to the information frame

    @property
    def is_as_stated(self) -> bool:
        return self.stated in (self.frames, self.frames + 1)  # some encoders count the information frame

    def part(self) -> Part:
        if self.stated is not None and self.stated >= self.frames:  # lets the decoder report missing frames
            return Part(self.start, self.stop, before=_TAG)
        return Part(self.start + self.information, self.stop, unknown_length=True, before=_TAG)


def is_mpeg(head: bytes) -> bool:
    return _frame(head[:4]) is not None


def tag_length(file: BinaryIO, position: int) -> int:
    """Bytes of the tag (ID3, APE or Lyrics3) that begins at a position; 0 if none is recognised."""
    head = read_at(file, position, 32)
    if head[:3] == b"ID3" and len(head) >= 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x80 else 0)
    if head[:11] == b"LYRICSBEGIN":
        text = read_at(file, position, _LYRICS)
        return found.end() if (found := _LYRICS_END.search(text)) else 0
    if head[:4] == b"TAG+":
        return 227
    return 128 if head[:3] == b"TAG" else 0


def mpeg_layout(file: BinaryIO, start: int, stop: int) -> Layout:
    """The rows of frames with sound in ``start:stop``: several if recordings were concatenated.

    Raises:
        LayoutError: If a frame is incomplete, or if bytes that are neither frames nor tags are between the frames, or
            after them and too many to be padding.
    """
    rows: list[_Row] = []
    position = start
    while position < stop:
        if length := tag_length(file, position):
            position += length
        elif (row := _row(file, position, stop)).frames or row.information:
            rows.append(row)
            position = row.stop
        elif not rows:  # such as frames of a free bit rate in a WAV: libsndfile decides
            return Layout((Part(start, stop, unknown_length=True, before=_TAG),))
        else:
            _check_rest(file, position, stop, rows[-1])
            break
    return Layout(tuple(row.part() for row in rows if row.frames))


def _row(file: BinaryIO, start: int, stop: int) -> _Row:
    row = _Row((0, 0, 0, False), start, start)
    while row.stop < stop:
        head = read_at(file, row.stop, 64)
        frame = _frame(head[:4])
        if frame is None or (row.stop > start and frame.kind != row.kind):
            break
        information = _information(frame, head)
        if information is not None and row.stop > start:  # another recording begins
            break
        if row.stop + frame.length > stop:
            raise LayoutError("is cut off: it ends within a frame")
        row.kind = frame.kind
        if information is None:
            row.frames += 1
        else:
            row.information, row.stated = frame.length, information or None
        row.stop += frame.length
    return row


def _information(frame: _Frame, head: bytes) -> int | None:
    """The number of frames that a Xing or Info frame states; 0 if unknown; ``None`` if the frame contains sound."""
    version, layer, _, mono = frame.kind
    side = {True: {True: 17, False: 32}, False: {True: 9, False: 17}}[version == 3][mono]
    tag = head[4 + side :]
    if layer != 3 or any(head[4 : 4 + side]):  # an information frame has zeros there
        return None
    if tag[:4] in (b"Xing", b"Info"):
        return int.from_bytes(tag[8:12], "big") if tag[7] & 1 else 0
    return 0 if head[36:40] == b"VBRI" else None  # 0: the number in a VBRI frame is not used


def _check_rest(file: BinaryIO, position: int, stop: int, row: _Row) -> None:
    if stop - position > _SEARCHED:
        raise LayoutError(f"is damaged: its last {stop - position} bytes are not MPEG frames")
    rest = read_at(file, position, stop - position)
    for place in range(len(rest) - 4):
        if rest[place] == 0xFF and (frame := _frame(rest[place : place + 4])) and frame.kind == row.kind:
            following = _frame(rest[place + frame.length : place + frame.length + 4])
            if following is not None and following.kind == row.kind:
                raise LayoutError(f"is damaged: bytes {position} to {position + place - 1} are not MPEG frames")
    if len(rest) > _PADDING and not row.is_as_stated:
        raise LayoutError(f"is damaged: its last {len(rest)} bytes are not MPEG frames")
