"""The feature cache: the frozen backbone hears each utterance once, training maps its frames from disk ever after."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from . import config
from .audio import read_clip
from .errors import RecipeError
from .files import atomic_write, file_sha256
from .manifest import Manifest, Utterance

if TYPE_CHECKING:
    from .backbones import Backbone

_FORMAT = 1  # of the files in a cache's folder; part of the key
_SHARD = 64  # utterances a file
_BATCH = 16  # utterances a forward pass; divides _SHARD, so that a shard's bytes depend on its own utterances only


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """The frames of a manifest's utterances, in its order, mapped from ``folder``.

    ``shape`` is ``(T, D)``: frames and channels of every utterance. ``key`` is the SHA-256 of all that decides them.
    """

    folder: Path
    key: str
    shape: tuple[int, int]
    _shards: tuple[npt.NDArray[np.floating], ...]

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        """The frames of one utterance, ``(T, D)``, as a copy."""
        if not 0 <= index < len(self):
            raise IndexError(f"the cache holds utterances 0 to {len(self) - 1}, not {index}")
        return np.array(self._shards[index // _SHARD][index % _SHARD], dtype=np.float32)

    def __reduce__(self) -> tuple[Any, ...]:  # another process maps the files again: pickled, they would be copied
        return _reopen, (self.folder, self.key, self.shape, len(self._shards))


def cached_features(
    manifest: Manifest,
    backbone: config.Backbone,
    features: config.Features,
    root: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> FeatureCache:
    """Open the cache of these features below ``root``, encoding the utterances that it lacks.

    The folder's name is made of all that decides the features, so different ones never meet, and a moved corpus,
    backbone or cache is recognised. It is safe to stop at any moment and to run twice at once: each file appears
    whole, and the next run encodes the missing ones.

    Args:
        on_progress: Where something is missing, called with the utterances done and all of them: at first, and after
            each forward pass.
    Raises:
        RecipeError: If the backbone or some audio cannot be read, or features are not finite.
    """
    from .backbones import backbone_identity, load_backbone  # transformers takes seconds to import

    inputs = {
        "format": _FORMAT,
        "backbone": backbone_identity(backbone),
        "features": features.model_dump(),
        # The contents, each time: 12 h of audio are hashed in seconds, and a date or a size can deceive.
        "utterances": [[utterance.id, _audio_sha256(utterance.path)] for utterance in manifest.utterances],
    }
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    folder = root / key[:16]
    shards = _shards(manifest, folder)
    shape = _common_shape(shards, features)
    if shape is None:
        with atomic_write(folder / "key.json") as file:
            file.write(json.dumps(inputs, indent=1).encode())
        encoder = load_backbone(backbone, features.clip_seconds)
        shape = (math.ceil(encoder.frames / features.average), encoder.hidden_size)
        missing = [shard for shard in shards if _shape(shard, features) != shape]
        _encode(encoder, features, missing, len(manifest.utterances), on_progress)
    return FeatureCache(folder, key, shape, tuple(_map(shard.path) for shard in shards))


def _reopen(folder: Path, key: str, shape: tuple[int, int], shards: int) -> FeatureCache:
    return FeatureCache(folder, key, shape, tuple(_map(_shard_path(folder, number)) for number in range(shards)))


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    utterances: tuple[Utterance, ...]


def _shards(manifest: Manifest, folder: Path) -> list[_Shard]:
    starts = range(0, len(manifest.utterances), _SHARD)
    return [
        _Shard(_shard_path(folder, number), manifest.utterances[start : start + _SHARD])
        for number, start in enumerate(starts)
    ]


def _shard_path(folder: Path, number: int) -> Path:
    return folder / f"frames-{number:05d}.npy"


def _map(path: Path) -> npt.NDArray[np.floating]:
    frames: npt.NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    return frames


def _shape(shard: _Shard, features: config.Features) -> tuple[int, int] | None:
    """Frames and channels of a shard on disk; none where it is missing, truncated or not of this cache."""
    try:
        frames = _map(shard.path)
    except (OSError, ValueError, EOFError):
        return None
    if frames.ndim != 3 or len(frames) != len(shard.utterances) or frames.dtype != features.dtype:
        return None
    return frames.shape[1], frames.shape[2]


def _common_shape(shards: Sequence[_Shard], features: config.Features) -> tuple[int, int] | None:
    shapes = {_shape(shard, features) for shard in shards}
    return shapes.pop() if len(shapes) == 1 else None


def _encode(
    encoder: Backbone,
    features: config.Features,
    missing: Sequence[_Shard],
    total: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    report = on_progress or (lambda done, total: None)
    done = total - sum(len(shard.utterances) for shard in missing)
    report(done, total)
    for shard in missing:
        batches = []
        for start in range(0, len(shard.utterances), _BATCH):
            batch = shard.utterances[start : start + _BATCH]
            batches.append(_encode_batch(encoder, features, batch))
            done += len(batch)
            report(done, total)
        with atomic_write(shard.path) as file:
            np.save(file, np.concatenate(batches), allow_pickle=False)


def _encode_batch(encoder: Backbone, features: config.Features, batch: Sequence[Utterance]) -> npt.NDArray[np.floating]:
    clips = np.stack([read_clip(utterance.path, features.clip_seconds) for utterance in batch])
    groups = torch.split(encoder(clips), features.average, dim=1)  # the last group may be shorter
    frames = torch.stack([group.mean(dim=1) for group in groups], dim=1)  # (B, T, D)
    frames = frames.to(getattr(torch, features.dtype))
    for utterance, finite in zip(batch, frames.isfinite().flatten(1).all(dim=1).tolist(), strict=True):
        if not finite:
            raise RecipeError(f"the features of {utterance.id} ({utterance.path}) are not finite in {features.dtype}")
    return frames.numpy()


def _audio_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise RecipeError(f"there is no audio file {path}") from None
    except OSError as error:
        raise RecipeError(f"the audio file {path} cannot be read: {error.strerror}") from None
