"""Files that are whole or not there, and what is in them."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FOLDER_NAME = r"^[^/\\.][^/\\]*$"  # what can name a folder below another, and is not hidden


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends well, and vanishes when it does not.

    The temporary name is new each time, so processes that write the same path do not meet; the last one stays.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the new name on old, empty blocks
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *, older_than: float = 3600) -> None:
    """Delete the temporary files that killed processes left in a folder; one written to of late may be another's."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # its writer was there first
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def file_sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's contents, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
