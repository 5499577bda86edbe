"""Detect the format of a recording by the first bytes of its file, not by its name."""

from __future__ import annotations

import os
from typing import BinaryIO

from .chunks import chunks_layout, is_chunks, mpeg_in_wav
from .flac import flac_layout
from .layout import Layout, LayoutError, Part
from .mpeg import is_mpeg, mpeg_layout, tag_length
from .ogg import ogg_layout


def layout_of(file: BinaryIO) -> Layout:
    """The layout of a recording in a supported format: WAV, AIFF, CAF, AU, SPHERE, FLAC, Ogg, MPEG and variants.

    libsndfile can read more formats, such as VOC and MAT5. They are not supported, because libsndfile does not check
    their length and mistakes other files for them.

    Raises:
        ValueError: If the file has 0 bytes or another format.
        LayoutError: If the layout has no part, or the structure of the file is cut off or damaged; if a format of
            chunks, such as WAV, contains several recordings; or if Ogg contains several sound tracks in parallel.
    """
    layout = _layout(file)
    if not layout.parts:
        raise LayoutError("is empty")
    return layout


def _layout(file: BinaryIO) -> Layout:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise ValueError("it has 0 bytes")
    start = 0
    while start < size and (length := tag_length(file, start)):
        start += length
    file.seek(start)
    head = file.read(64)
    if frames := mpeg_in_wav(file, start, head, size):
        return mpeg_layout(file, *frames)
    if is_mpeg(head):
        return mpeg_layout(file, start, size)
    if head[:4] == b"OggS":
        return ogg_layout(file, start, size)
    if head[:4] == b"fLaC" and len(head) > 26:
        return flac_layout(start, size, head)
    if head[:4] == b"fLaC" or is_chunks(head):
        return chunks_layout(file, start, head, size) or Layout((Part(start, size),))
    raise ValueError("Format not recognised")
