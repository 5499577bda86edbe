"""Read, write and delete the checkpoints of a run. Their checksums detect damaged files."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from ..utils.atomic_files import file_sha256, write_json
from .epoch_choice import Epoch

_SEAL = "epochs.json"  # in a checkpoint's folder, written last: a checkpoint without it is incomplete


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its folder, the scores of the epochs so far, and the SHA-256 of kept weights, if any."""

    folder: Path
    epochs: list[Epoch]
    kept: str | None

    def write(self) -> None:
        """Complete the checkpoint: write the scores and the checksums to the folder."""
        files = [path for path in sorted(self.folder.iterdir()) if path.name != _SEAL]
        files += [path for epoch in self.epochs for path in _logits_of(self.folder.parent, epoch)]
        sums = {os.path.relpath(path, self.folder): file_sha256(path) for path in files}
        seal = _Seal(self.epochs, self.kept, sums)
        write_json(self.folder / _SEAL, {**asdict(seal), "sha256": seal.sha256})

    @classmethod
    def read(cls, folder: Path) -> Checkpoint | None:
        """Read a checkpoint; ``None`` if it is incomplete or does not match its checksums."""
        try:
            content = json.loads((folder / _SEAL).read_bytes())
            expected = content.pop("sha256")
            seal = TypeAdapter(_Seal).validate_python(content)
            whole = seal.sha256 == expected
            whole = whole and all(file_sha256(folder / name) == digest for name, digest in seal.files.items())
            needed = (path for epoch in seal.epochs for path in _logits_of(folder.parent, epoch))
            whole = whole and all(os.path.relpath(path, folder) in seal.files for path in needed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return cls(folder, seal.epochs, seal.kept) if whole else None


@dataclass(frozen=True, slots=True)
class _Seal:
    """The content of ``epochs.json``."""

    epochs: list[Epoch]
    kept: str | None  # SHA-256 of the kept weights
    files: dict[str, str]  # SHA-256 of the files that the run continues with, by path relative to the checkpoint

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def logits_path(unfinished: Path, part: str, epoch: int) -> Path:
    """The file of a part's logits ``(N, classes)`` after an epoch, counted from 1; ``part`` is test or validation."""
    return unfinished / f"{part}_logits" / f"{epoch:05d}.npy"


def _logits_of(unfinished: Path, epoch: Epoch) -> Sequence[Path]:
    """The files of logits that an epoch wrote."""
    parts = ("test",) if epoch.validation is None else ("test", "validation")
    return [logits_path(unfinished, part, epoch.epoch) for part in parts]


def last_checkpoint(unfinished: Path) -> Checkpoint | None:
    """The checkpoint with the most steps that is complete and undamaged; ``None`` if there is none."""
    return next(filter(None, map(Checkpoint.read, reversed(_folders(unfinished)))), None)


def delete_checkpoints(unfinished: Path, *, but: Path | None) -> None:
    for folder in _folders(unfinished):
        if folder != but:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(unfinished: Path) -> Sequence[Path]:
    """The folders of checkpoints, sorted by number of steps."""
    numbers = {path: re.fullmatch(r"checkpoint-(\d+)", path.name) for path in unfinished.glob("checkpoint-*")}
    return sorted((path for path, number in numbers.items() if number), key=lambda path: int(path.name.split("-")[1]))
