"""Read a recording from a pipe, such as ``temporal-shift ser predict --model MODEL <(command)``."""

from __future__ import annotations

import os
import select
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_NO_WRITER = 0.5  # seconds to wait for the first data if the pipe has no writer
_NO_DATA = 60.0  # seconds to wait for data from a writer
_MAX_BYTES = 1 << 32  # maximum size of the data: a RIFF WAV file is smaller
_READ = 1 << 20  # maximum bytes read at once


@contextmanager
def spooled(pipe: BinaryIO) -> Iterator[BinaryIO]:
    """The content of a pipe as a temporary file, because decoding needs the size.

    Raises:
        ValueError: If no data arrives for 60 s, if no first data arrives for 0.5 s from a pipe without a writer, or if
            there are more than 4 GiB.
        OSError: If the pipe cannot be read or the temporary file cannot be written.
    """
    with tempfile.TemporaryFile() as file:
        while data := _read(pipe.fileno(), file.tell() == 0):
            file.write(data)
            if file.tell() > _MAX_BYTES:
                raise ValueError("a pipe must have at most 4 GiB of data, got more")
        yield file


def _read(pipe: int, first: bool) -> bytes:
    """The next bytes of a non-blocking pipe; empty at its end. ``first``: whether no bytes were read before."""
    for wait in (_NO_WRITER, _NO_DATA):
        try:
            if (data := os.read(pipe, _READ)) or not first:
                return data
        except BlockingIOError:
            wait = _NO_DATA
        if not select.select([pipe], [], [], wait)[0]:
            break
    else:
        return os.read(pipe, _READ)
    raise ValueError(f"it is a pipe, and no data arrived for {wait:g} s")
