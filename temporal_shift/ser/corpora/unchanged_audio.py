"""Detect audio files that changed after the manifest was made, even during a run."""

from __future__ import annotations

import os
from pathlib import Path

from ..utils.atomic_files import file_sha256
from ..utils.errors import RecipeError
from .manifest import Utterance


def audio_sha256(utterance: Utterance) -> str:
    """The SHA-256 of an utterance's file.

    Raises:
        RecipeError: If the file is missing, cannot be read or does not match the manifest.
    """
    try:
        found = file_sha256(utterance.path)
    except FileNotFoundError:
        raise RecipeError(f"there is no audio file {utterance.path}") from None
    except OSError as error:
        raise RecipeError(f"the audio file {utterance.path} cannot be read: {error.strerror}") from None
    if found != utterance.sha256:
        raise RecipeError(
            f"the audio file {utterance.path} does not match the manifest: its SHA-256 begins with "
            f"{found[:12]}, not {utterance.sha256[:12]}"
        )
    return found


class UnchangedAudio:
    """Compares files with the manifest by SHA-256: the first time, and when the size, a date or the inode changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, ...]] = {}

    def check(self, utterance: Utterance) -> None:
        """Raise as :func:`audio_sha256` if the file changed. Call this after reading the file."""
        stamp = _stamp(utterance.path)
        if stamp is None or self._known.get(utterance.path) != stamp:
            audio_sha256(utterance)
            if stamp is not None:
                self._known[utterance.path] = stamp


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Size, dates and inode of a file; ``None`` if they cannot be read."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
