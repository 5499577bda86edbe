"""Find the sound in WAV, RF64, W64, AIFF, 8SVX, CAF, AU and SPHERE files, and the size that their headers state."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal

from .layout import Layout, LayoutError, Part, read_at

_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # the end of most chunk names in a W64 file
# the minimum size that can mean "unknown", by the width of the size field in bytes; streaming writers leave 0xFFFFFFFF
# or about 0x7FFFFFFF in a field of four bytes
_UNKNOWN = {4: 0x7FFF0000, 8: 1 << 62}
_NAME = re.compile(rb"[ -~]{4}")  # the name of a chunk
# chunks without sound
_COMMENTS = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"JUNK", b"ANNO", b"COMT", b"APPL")
_AU, _NIST = (b".snd", b"dns."), b"NIST_1A\n"  # first bytes of AU and SPHERE files
_SPHERE = 1024  # bytes of a SPHERE file's header
_MPEG = (0x50, 0x55)  # a WAV's format codes for MPEG layers 1 and 2, and layer 3


@dataclass(frozen=True, slots=True)
class _Format:
    """How a format writes a chunk: a name, a size, and the content, padded to a multiple of ``align`` bytes."""

    first: int  # bytes before the first chunk
    name: int  # width of a name in bytes
    size: int  # width of a size field in bytes
    order: Literal["little", "big"]
    data: bytes  # name of the chunk of samples
    align: int = 1
    counts_itself: bool = False  # whether a size includes the bytes of the name and of the size

    @property
    def head(self) -> int:
        return self.name + self.size


_FORMATS = {  # by the first bytes of a file
    rb"RIFF....WAVE": _Format(12, 4, 4, "little", b"data", 2),
    rb"RIFX....WAVE": _Format(12, 4, 4, "big", b"data", 2),
    rb"(RF64|BW64)....WAVE": _Format(12, 4, 4, "little", b"data", 2),
    rb"FORM....AIF[FC]": _Format(12, 4, 4, "big", b"SSND", 2),
    rb"FORM....(8SVX|16SV)": _Format(12, 4, 4, "big", b"BODY", 2),
    rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb": _Format(40, 16, 8, "little", b"data" + _W64, 8, counts_itself=True),
    rb"caff\x00\x01": _Format(8, 4, 8, "big", b"data"),
}


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    start: int  # position of the content
    length: int  # bytes of the content, as stated
    size_at: int  # position of the size
    size_bytes: int  # bytes of the size


def is_chunks(head: bytes) -> bool:
    return head.startswith((*_AU, _NIST)) or _form(head) is not None


def chunks_layout(file: BinaryIO, start: int, head: bytes, stop: int) -> Layout | None:
    """The layout of a recording, the bytes ``start:stop``, which begin with ``head``.

    ``None`` for other formats, if there is no chunk of samples, and if the header of a SPHERE file lacks the number of
    samples, of channels or of bytes per sample.

    Raises:
        LayoutError: If there are several recordings.
    """
    if head.startswith(_AU):
        return _au_layout(start, head, stop)
    if head.startswith(_NIST):
        return _sphere_layout(read_at(file, start, _SPHERE), start, stop)
    form = _form(head)
    return None if form is None else _layout(file, form, start, stop)


def _form(head: bytes) -> _Format | None:
    return next((form for begins, form in _FORMATS.items() if re.match(begins, head, re.DOTALL)), None)


def mpeg_in_wav(file: BinaryIO, start: int, head: bytes, stop: int) -> tuple[int, int] | None:
    """Start and end of the MPEG frames in a RIFF WAV; ``None`` for other files."""
    if head[:4] != b"RIFF":
        return None
    chunks, _ = _walk(file, _FORMATS[rb"RIFF....WAVE"], start, stop)
    by_name = {chunk.name: chunk for chunk in chunks}
    if not {b"fmt ", b"data"} <= by_name.keys():
        return None
    if int.from_bytes(read_at(file, by_name[b"fmt "].start, 2), "little") not in _MPEG:
        return None
    data = by_name[b"data"]
    known = 0 < data.length <= stop - data.start
    return data.start, (data.start + data.length if known else stop)


def _layout(file: BinaryIO, form: _Format, start: int, stop: int) -> Layout | None:
    chunks, end = _walk(file, form, start, stop)
    found = [chunk for chunk in chunks if chunk.name == form.data]
    if len(found) > 1 or any(chunk.name in (b"RIFF", b"RIFX", b"FORM") for chunk in chunks):
        raise LayoutError("must contain one recording, got several recordings: save each as a file")
    if not found:
        return None
    data = found[0]
    held = stop - data.start
    if (data.length > held and data.length >= _UNKNOWN[data.size_bytes]) or (data.length == 0 and end < stop):
        size = min(held + (form.head if form.counts_itself else 0), (1 << 8 * data.size_bytes) - 1)
        patch = (data.size_at, size.to_bytes(data.size_bytes, form.order))
        return Layout((Part(start, stop, (patch,)),), size, held)
    if data.length <= held:
        held = data.length + stop - min(end, stop)  # bytes outside the chunks may be sound
        if form.order == "little":  # libsndfile would read a W64 to the end of the file
            stop = data.start + data.length
    return Layout((Part(start, stop),), data.length, held)


def _walk(file: BinaryIO, form: _Format, start: int, stop: int) -> tuple[list[_Chunk], int]:
    """The chunks of a recording, and the position after them, which is before ``stop`` if other bytes follow."""
    chunks: list[_Chunk] = []
    position, sizes = start + form.first, None
    while position + form.head <= stop:
        head = read_at(file, position, form.head)
        name, length = head[: form.name], int.from_bytes(head[form.name :], form.order)
        length -= form.head if form.counts_itself else 0
        chunk = _Chunk(name, position + form.head, length, position + form.name, form.size)
        if length < 0 or (form.name == 4 and not _NAME.match(name)):
            break
        if name == b"ds64":  # contains sizes of eight bytes, for large chunks
            sizes = chunk
        elif name == b"data" and sizes is not None and length == 0xFFFFFFFF:
            place = sizes.start + 8
            length = int.from_bytes(read_at(file, place, 8), "little")
            chunk = replace(chunk, length=length, size_at=place, size_bytes=8)
        after = chunk.start + length
        if after > stop and name != form.data:
            position = stop if name in _COMMENTS else position  # ignore a chunk without sound that is cut off
            break
        chunks.append(chunk)
        padding = -length % form.align
        omitted = padding == 1 and after < stop and _NAME.match(read_at(file, after, 4))
        position = after if omitted else after + padding  # some writers omit the padding
    return chunks, position


def _sphere_layout(head: bytes, start: int, stop: int) -> Layout | None:
    numbers = dict(re.findall(rb"^(\w+) -i (\d+)", head, re.MULTILINE))
    try:
        sizes = [int(numbers[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    except KeyError:
        return None
    return Layout((Part(start, stop),), math.prod(sizes), stop - start - _SPHERE)


def _au_layout(start: int, head: bytes, stop: int) -> Layout:
    order: Literal["little", "big"] = "big" if head[:4] == b".snd" else "little"
    skipped, length = (int.from_bytes(head[place : place + 4], order) for place in (4, 8))
    held = max(0, stop - start - skipped)
    if length == 0 or (length > held and length >= _UNKNOWN[4]):
        return Layout((Part(start, stop, ((start + 8, b"\xff\xff\xff\xff"),)),))
    return Layout((Part(start, stop),), length, held)
