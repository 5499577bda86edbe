"""Files and folders that appear whole or not at all, and hashes of files."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, for the block to write a file or a folder to.

    It replaces ``path`` if the block succeeds, and is deleted if not, with everything that begins with its name. The
    name is new each time, so that two processes can write the same path: the last one to finish wins.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        for left in path.parent.glob(f"{glob.escape(temporary.name)}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces ``path`` if the block succeeds; see :func:`atomic_path`."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # a power cut could leave the new name on empty blocks


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file; see :func:`atomic_path`."""
    with atomic_write(path) as file:
        file.write(content)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file; see :func:`atomic_path`."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def remove_leftovers(folder: Path, *, older_than: float = 3600) -> None:
    """Delete the temporary files that killed processes left in a folder; newer ones may belong to a running process."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # its writer renamed or deleted it first
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def file_sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
