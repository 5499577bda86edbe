"""Recordings that another process writes, as ``predict <(command)`` gives them."""

from __future__ import annotations

import os
import select
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_NO_WRITER = 0.5  # seconds to wait for a process that opens the other end
_NO_DATA = 60.0  # seconds to wait for data from a process that has
_MAX_BYTES = 1 << 32  # what a WAV can have
_READ = 1 << 20  # bytes


@contextmanager
def spooled(pipe: BinaryIO) -> Iterator[BinaryIO]:
    """The content of a pipe as a temporary file: the size of a recording must be known.

    Raises:
        ValueError: If nothing comes for a minute, no process writes, or it writes more than 4 GiB.
    """
    with tempfile.TemporaryFile() as file:
        while data := _read(pipe.fileno(), file.tell() == 0):
            file.write(data)
            if file.tell() > _MAX_BYTES:
                raise ValueError("it is a pipe with more than 4 GiB")
        yield file


def _read(pipe: int, first: bool) -> bytes:
    """The next bytes, none at the end. The pipe does not block."""
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
    raise ValueError("it is a pipe that nothing is written to")
