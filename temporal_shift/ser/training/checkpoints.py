"""Checkpoints of a run: what a stopped run continues from, with checksums, so that a damaged file is never used."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from ..utils.atomic_files import file_sha256, write_json
from .epoch_choice import Epoch

_SEAL = "epochs.json"  # in a checkpoint's folder, written last: a checkpoint without it is incomplete


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: the scores so far, and the SHA-256 of every file that the run continues with."""

    folder: Path
    epochs: list[Epoch]
    kept: str | None  # of the weights to keep; None if none are kept
    files: dict[str, str] = field(default_factory=dict)  # by path, relative to the folder

    def write(self) -> None:
        """Complete the checkpoint in the folder."""
        logits = (logits_path(self.folder.parent, epoch.epoch) for epoch in self.epochs)
        content = asdict(self)
        content["files"] = {
            os.path.relpath(path, self.folder): file_sha256(path)
            for path in [*sorted(self.folder.iterdir()), *logits]
            if path.name != _SEAL
        }
        del content["folder"]
        write_json(self.folder / _SEAL, content)

    @classmethod
    def read(cls, folder: Path) -> Checkpoint | None:
        """Read a checkpoint; None if it is incomplete or a file does not match its checksum."""
        try:
            found = TypeAdapter(_Seal).validate_json((folder / _SEAL).read_bytes())
            whole = all(file_sha256(folder / name) == digest for name, digest in found.files.items())
        except (OSError, ValueError):
            return None
        return cls(folder, found.epochs, found.kept, found.files) if whole else None


@dataclass(frozen=True, slots=True)
class _Seal:
    epochs: list[Epoch]
    kept: str | None
    files: dict[str, str]


def logits_path(unfinished: Path, epoch: int) -> Path:
    """The file of the test part's logits ``(N, classes)`` after an epoch, counted from 1."""
    return unfinished / "logits" / f"{epoch:05d}.npy"


def last_checkpoint(unfinished: Path) -> Checkpoint | None:
    """The checkpoint with the most steps among those that are whole; dates of files do not matter."""
    return next(filter(None, map(Checkpoint.read, reversed(_folders(unfinished)))), None)


def delete_checkpoints(unfinished: Path, *, but: Path | None) -> None:
    for folder in _folders(unfinished):
        if folder != but:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(unfinished: Path) -> Sequence[Path]:
    """The folders of checkpoints, by their number of steps."""
    numbers = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in unfinished.glob("checkpoint-*")}
    return sorted((path for path, number in numbers.items() if number), key=lambda path: int(path.name.split("-")[1]))
