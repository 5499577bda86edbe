"""List, verify and delete the feature caches in a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..utils.errors import RecipeError
from ..utils.table import Table
from .feature_cache import key_of, shard_count, shard_path, verified_shape


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cache, as its ``key.json`` describes it."""

    folder: Path
    inputs: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def backbone(self) -> str:
        """The encoder's hub name and the start of its commit.

        For a local folder: its model type and the start of the SHA-256 of its first safetensors file.
        """
        identity = self.inputs["backbone"]
        if "name" in identity:
            return f"{identity['name']} @ {str(identity['revision'])[:12]}"
        weights = next((digest for name, digest in identity["files"].items() if name.endswith(".safetensors")), "")
        return f"{identity['model_type']} {weights[:12]}"

    @property
    def utterances(self) -> int:
        return len(self.inputs["utterances"])

    @property
    def files(self) -> list[Path]:
        """The paths of the frames files of the complete cache, whether they exist or not."""
        return [shard_path(self.folder, number) for number in range(shard_count(self.utterances))]

    @property
    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    def broken(self) -> list[Path]:
        """The frames files that are missing, truncated or do not match their checksums."""
        intact = [path for path in self.files if verified_shape(path) is not None]
        return [path for path in self.files if path not in intact]

    @property
    def present(self) -> int:
        return sum(path.is_file() for path in self.files)


def entries(root: Path) -> Iterator[CacheEntry]:
    """The caches in ``root``, sorted by name. Other folders are skipped."""
    for path in sorted(root.glob("*/key.json")):
        try:
            inputs = json.loads(path.read_text(encoding="utf-8"))
            entry = CacheEntry(path.parent, inputs)
            if key_of(inputs)[:16] == path.parent.name and entry.backbone:
                yield entry
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def find(root: Path, name: str) -> CacheEntry:
    """The cache with a name that starts with ``name``; raises :class:`RecipeError` unless there is exactly one."""
    found = [entry for entry in entries(root) if entry.name.startswith(name)]
    if len(found) != 1:
        known = ", ".join(entry.name for entry in found or entries(root)) or "none"
        raise RecipeError(f"the name must be the start of exactly one cache's name in {root} ({known}), got {name!r}")
    return found[0]


def caches_table(root: Path) -> Table:
    """A table of the caches in ``root``, with one row for each cache."""
    rows = []
    for entry in entries(root):
        features = entry.inputs["features"]
        rows.append(
            (
                entry.name,
                entry.backbone,
                str(entry.inputs["backbone"]["layer"]),
                f"{features['clip_seconds']:g} s {features['dtype']}",
                str(entry.utterances),
                f"{entry.present}/{len(entry.files)}",
                f"{entry.bytes / 1e6:.1f} MB",
            )
        )
    return Table(("Name", "backbone", "layer", "clip", "utterances", "files", "size"), rows)


def remove(entry: CacheEntry) -> None:
    """Delete a cache; ``key.json`` is deleted first, so that an interrupted deletion leaves no valid cache."""
    (entry.folder / "key.json").unlink()
    shutil.rmtree(entry.folder)
