"""Write files and folders atomically, and hash files."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy.typing as npt


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, for the block to write a file or a folder to.

    If the block succeeds, the temporary path is renamed to ``path``. A file can replace a file, and a folder can
    replace an empty folder (not on Windows). If the block fails, the temporary path is deleted. In both cases, other
    files with names that begin with the temporary name are deleted. The temporary name is unique: two processes can
    write the same file, and the last one to finish wins. Missing parent folders are created.

    Args:
        path: The file or folder to write.
    Raises:
        OSError: If writing or replacing fails. An error about the temporary path names ``path`` instead.
    """
    if not path.name:  # "." and "/" have no name
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    make_folder(path.parent)
    try:
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        if (code := _code_of(error, temporary)) is None:
            raise
        raise OSError(code, os.strerror(code), str(path)) from error
    finally:
        _delete(temporary)  # before the search, which needs a file descriptor
        with suppress(OSError):
            for left in path.parent.glob(f"{glob.escape(temporary.name)}*"):
                _delete(left)


def make_folder(path: Path) -> None:
    """Make a folder and its parents; raises :class:`NotADirectoryError` if a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None


def _code_of(error: Exception, temporary: Path) -> int | None:
    """The errno of an error that is about the temporary path or no path; ``None`` for other errors."""
    if isinstance(error, OSError):
        about = error.filename is None or str(error.filename).startswith(str(temporary))
        return error.errno if about else None
    in_rust = re.search(r"(?:\bos error |\bOs \{ code: )(\d+)", str(error))  # safetensors has it in its message
    return int(in_rust[1]) if in_rust else None


def _delete(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that replaces ``path`` if the block succeeds; see :func:`atomic_path`."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # otherwise a power cut could leave an empty file


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file; see :func:`atomic_path`."""
    with atomic_write(path) as file:
        file.write(content)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as a ``.npy`` file; see :func:`atomic_path`."""
    import numpy as np  # imported late, to keep the command line's start fast

    array = np.ascontiguousarray(array)
    with atomic_write(path) as file:  # np.save would hide the errno
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)


def write_json(path: Path, content: object) -> None:
    """Write an indented JSON file in UTF-8; see :func:`atomic_path`."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def remove_leftovers(folder: Path, *, older_than: float = 3600) -> None:
    """Delete the temporary files that killed processes left in a folder.

    Args:
        folder: The folder. Its files with names like ``.*.tmp`` are temporary.
        older_than: Minimum age in seconds. Default: 3600. Newer files may belong to a running process.
    """
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # its writer may rename or delete it first
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def file_sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's content, read in pieces.

    Raises:
        OSError: If the file cannot be read, or is a pipe or a character device, which may have no end.
    """
    digest = hashlib.sha256()
    if path.is_fifo() or path.is_char_device():
        raise OSError(errno.EINVAL, "it must be a regular file, got a pipe or a device", str(path))
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
