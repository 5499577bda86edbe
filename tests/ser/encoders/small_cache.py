"""A corpus of 150 short recordings: its cache has two full shards and one of 22 utterances."""

from __future__ import annotations

import hashlib
from pathlib import Path

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest, Utterance

COUNT = 150  # two whole shards of 64 and one of 22
LABELS = ("sad", "happy")
FEATURES = config.Features(clip_seconds=0.25)


def manifest_in(folder: Path) -> Manifest:
    return Manifest(tuple(utterance(f"u{k}", folder / f"{k}.wav") for k in range(COUNT)), LABELS)


def utterance(id: str, path: Path) -> Utterance:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return Utterance(id, path, "sad", "1F", "Session1", 0.0, 0.2, 3200, 16000, sha256, "")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def sum_of(path: Path) -> Path:
    return path.with_suffix(".sha256")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
