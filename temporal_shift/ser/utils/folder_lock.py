"""A lock that lets one command at a time write to a folder."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .atomic_files import make_folder
from .errors import RecipeError

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two commands in one folder are not detected
    fcntl = None  # type: ignore[assignment]


@contextmanager
def only_command_in(folder: Path, hint: str = "choose another --out") -> Iterator[None]:
    """Hold the lock of a folder. The system releases it when the process ends, even if the process is killed.

    Without ``flock`` (Windows, some network file systems), the folder is created, but not locked.

    Args:
        folder: The folder. It is created if it does not exist.
        hint: A remedy, for the message. Default: ``"choose another --out"``.
    Raises:
        RecipeError: If another process holds the lock.
        OSError: If the folder or the lock file cannot be created, or locking fails for another reason.
    """
    make_folder(folder)
    path = folder / ".lock"
    descriptor = _lock(path, hint)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # before the lock is released, so that the next command creates a new file
            os.close(descriptor)


def _lock(path: Path, hint: str) -> int | None:
    while fcntl is not None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(path, descriptor):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                return descriptor
            os.close(descriptor)  # the previous owner has just deleted the file: lock the new one
        except OSError as error:
            owner = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                    return None
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise RecipeError(
                f"{path.parent} is in use by {owner or 'another process'}: wait until it ends, or {hint}"
            ) from None
    return None


def _is_file(path: Path, descriptor: int) -> bool:
    """Whether the path is still the open file."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
