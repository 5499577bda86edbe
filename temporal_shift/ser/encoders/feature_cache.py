"""The feature cache: the frozen encoder runs once per utterance, and training reads the frames from disk.

A cache is a folder. Its name is the first 16 hexadecimal digits of the SHA-256 of the :func:`feature_inputs`, and its
``key.json`` contains them. Each of the files ``frames-00000.npy``, ``frames-00001.npy``, ... contains the frames of 64
utterances; the last file can contain fewer. ``frames-00000.sha256`` and so on contain the checksums, in the format of
``sha256sum``. The utterances of a file that does not match its checksum are encoded again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from .. import config
from ..audio.reading import read_clip
from ..corpora.manifest import Manifest, Utterance
from ..corpora.unchanged_audio import audio_sha256
from ..utils.atomic_files import atomic_write, file_sha256, remove_leftovers, write_bytes, write_json
from ..utils.distributed import World
from ..utils.errors import RecipeError

if TYPE_CHECKING:
    from .pretrained import PretrainedEncoder

# Part of the key. Increase it if the features of equal inputs change.
_FORMAT = 3
_SHARD = 64  # utterances per file
_BATCH_SECONDS = 40  # maximum seconds of audio in a forward pass of several clips

Shape = tuple[int, ...]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """The frames of a manifest's utterances, in the order of the manifest.

    Each access opens and closes one file, because a large corpus can have more files than a process can keep open.
    Files are not memory-mapped: reading a truncated map would kill the process.

    Attributes:
        folder: The cache's folder.
        key: The :func:`key_of` the inputs of the features, a SHA-256.
        shape: Shape of one utterance's frames: ``(T, D)``, or ``(layers, T, D)`` if the layers are weighted.
    """

    folder: Path
    key: str
    shape: Shape
    _shards: tuple[_Header, ...]

    @classmethod
    def open(cls, folder: Path, key: str) -> FeatureCache:
        """Open a cache by reading the headers of its frames files. Checksums are not verified.

        Args:
            folder: The cache's folder.
            key: The attribute ``key``. It is not compared with the folder.
        Raises:
            ValueError: If a frames file is not in the cache's format.
            OSError: If a frames file cannot be read, or a file before the last is missing.
            IndexError: If there is no frames file.
        """
        count = len(list(folder.glob("frames-*.npy")))
        headers = tuple(_read_header(shard_path(folder, number)) for number in range(count))
        return cls(folder, key, headers[0].shape[1:], headers)

    def __len__(self) -> int:
        return sum(header.shape[0] for header in self._shards)

    def __getitem__(self, index: int) -> npt.NDArray[np.float32]:
        """The frames of one utterance, float32, with the shape ``shape``.

        Raises:
            IndexError: If ``index`` is not in ``[0, len(self) - 1]``.
            RecipeError: If the file cannot be read, or its size has changed since the cache was opened.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index must be in [0, {len(self) - 1}], got {index}")
        path, header = shard_path(self.folder, index // _SHARD), self._shards[index // _SHARD]
        count = math.prod(self.shape)
        try:
            with path.open("rb") as file:
                if (size := os.fstat(file.fileno()).st_size) != header.bytes:
                    raise RecipeError(
                        f"the cached features {path} have changed: the file must have {header.bytes} bytes, got "
                        f"{size}; run the same command again"
                    )
                file.seek(header.start + index % _SHARD * count * header.dtype.itemsize)
                frames = np.fromfile(file, dtype=header.dtype, count=count)
        except OSError as error:
            raise RecipeError(f"the cached features {path} cannot be read: {error.strerror}") from None
        return frames.reshape(self.shape).astype(np.float32, copy=False)


def cached_features(
    manifest: Manifest,
    backbone: config.Backbone,
    features: config.Features,
    root: Path,
    on_progress: OnProgress | None = None,
    world: World | None = None,
    *,
    identity: dict[str, object] | None = None,
    audio_is_verified: bool = False,
) -> FeatureCache:
    """Open the cache of these features below ``root``, and encode the utterances that it lacks.

    The folder's name is a hash of the :func:`feature_inputs`, so each set of features has its own folder, and a cache
    is found again after the corpus, the encoder or the cache has moved. The checksums of all files are verified.
    Encoding can be interrupted at any time, and two processes can run at once: files are written atomically, and the
    next run encodes the missing files. Memory holds the clips of one forward pass.

    Args:
        manifest: The utterances.
        backbone: The settings of the encoder.
        features: The settings of the frames.
        root: The folder of all caches.
        on_progress: Called at the start and after each forward pass, with the number of utterances that this process
            need not encode any more and the number of all utterances; not called if nothing is missing. Default:
            ``None``.
        world: The processes that share the work: rank r of n encodes every n-th missing file. Default: this process
            alone.
        identity, audio_is_verified: As for :func:`feature_inputs`.
    Raises:
        RecipeError: If the encoder or an audio file cannot be read, an audio file does not match the manifest, the
            encoder cannot encode such clips, or features are not finite.
        OSError: If a file of the cache cannot be written, or a request to the hub fails.
    """
    from .pretrained import backbone_identity, load_backbone  # transformers takes seconds to import

    world = world or World()
    identity = identity or backbone_identity(backbone)
    inputs = feature_inputs(manifest, backbone, features, identity=identity, audio_is_verified=audio_is_verified)
    key = key_of(inputs)
    folder = root / key[:16]
    shards = _shards(manifest, folder)
    shapes = [verified_shape(shard.path) for shard in shards]
    shape = None if shapes[0] is None else shapes[0][0][1:]
    if not all(shard.fits(found, shape, features) for shard, found in zip(shards, shapes, strict=True)):
        shape = None
    world.wait()  # so that all processes see the same missing files
    if world.is_first and _read_json(folder / "key.json") != inputs:
        write_json(folder / "key.json", inputs)
    if shape is None:
        remove_leftovers(folder)
        encoder = load_backbone(backbone, features.clip_seconds, features.average, identity)
        encoder.to("cuda" if torch.cuda.is_available() else "cpu")
        shape = encoder.shape
        missing = [shard for shard, found in zip(shards, shapes, strict=True) if not shard.fits(found, shape, features)]
        _encode(encoder, features, missing[world.rank :: world.size], manifest, on_progress)
        world.wait()
    return FeatureCache(folder, key, shape, tuple(_read_header(shard.path) for shard in shards))


def feature_inputs(
    manifest: Manifest,
    backbone: config.Backbone,
    features: config.Features,
    *,
    identity: dict[str, object] | None = None,
    audio_is_verified: bool = False,
) -> dict[str, Any]:
    """The inputs that determine the features, as JSON-serialisable data.

    Args:
        manifest: The utterances.
        backbone: The settings of the encoder.
        features: The settings of the frames.
        identity: The result of :func:`~temporal_shift.ser.encoders.pretrained.backbone_identity`. Default: computed.
        audio_is_verified: Whether the manifest's hashes were just computed from the audio files. By default the files
            are hashed and compared with the manifest.
    Raises:
        RecipeError: If the encoder or an audio file cannot be read, or an audio file does not match the manifest.
        OSError: If a request to the hub fails.
    """
    from .pretrained import backbone_identity

    return {
        # the mean has no key, so that caches of earlier versions stay valid
        **({} if manifest.channel == "mean" else {"channel": manifest.channel}),
        "format": _FORMAT,
        "backbone": identity or backbone_identity(backbone),
        "features": features.model_dump(),
        # hashes of the content, not dates or sizes; hashing 12 h of audio takes seconds
        "utterances": [
            [utterance.id, utterance.sha256 if audio_is_verified else audio_sha256(utterance)]
            for utterance in manifest.utterances
        ],
    }


def key_of(inputs: dict[str, Any]) -> str:
    """The SHA-256 of the result of :func:`feature_inputs`."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def missing_utterances(manifest: Manifest, folder: Path) -> int:
    """The number of utterances without a frames file in a cache's folder. Checksums are not verified."""
    return sum(len(shard.utterances) for shard in _shards(manifest, folder) if not shard.path.is_file())


def shard_count(utterances: int) -> int:
    """The number of frames files in a complete cache."""
    return -(-utterances // _SHARD)


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"frames-{number:05d}.npy"


def verified_shape(path: Path) -> tuple[Shape, str] | None:
    """Shape and dtype of a frames file; ``None`` if it or its checksum is missing, or if it is damaged."""
    try:
        digest, name = _sum_path(path).read_text(encoding="ascii").split()
        if name != path.name or digest != file_sha256(path):
            return None
        header = _read_header(path)
    except (OSError, ValueError):
        return None
    return header.shape, str(header.dtype)


@dataclass(frozen=True, slots=True)
class _Header:
    """The header of a frames file."""

    shape: Shape
    dtype: np.dtype[np.floating]
    start: int  # position of the first frame in the file, in bytes

    @property
    def bytes(self) -> int:
        """Size of the whole file."""
        return self.start + math.prod(self.shape) * self.dtype.itemsize


def _read_header(path: Path) -> _Header:
    """Read the header of a frames file; raises :class:`ValueError` if its format or its size is wrong."""
    with path.open("rb") as file:
        if (version := np.lib.format.read_magic(file)) != (1, 0):
            raise ValueError(f"the version of {path} must be (1, 0), got {version}")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        header = _Header(shape, dtype, file.tell())
        if fortran_order or dtype.kind != "f":
            order = "Fortran" if fortran_order else "C"
            raise ValueError(f"{path} must contain floating-point numbers in C order, got {dtype} in {order} order")
        if (size := os.fstat(file.fileno()).st_size) != header.bytes:
            raise ValueError(f"{path} must have {header.bytes} bytes, got {size}")
    return header


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    utterances: tuple[Utterance, ...]

    def fits(self, found: tuple[Shape, str] | None, shape: Shape | None, features: config.Features) -> bool:
        return shape is not None and found == ((len(self.utterances), *shape), features.dtype)


def _shards(manifest: Manifest, folder: Path) -> list[_Shard]:
    return [
        _Shard(shard_path(folder, number), manifest.utterances[number * _SHARD : (number + 1) * _SHARD])
        for number in range(shard_count(len(manifest.utterances)))
    ]


def _sum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _encode(
    encoder: PretrainedEncoder,
    features: config.Features,
    missing: Sequence[_Shard],
    manifest: Manifest,
    on_progress: OnProgress | None,
) -> None:
    report = on_progress or (lambda done, total: None)
    total = len(manifest.utterances)
    done = total - sum(len(shard.utterances) for shard in missing)
    report(done, total)
    size = batch_size(features.clip_seconds)
    for shard in missing:
        with atomic_write(shard.path) as file:
            descr = np.lib.format.dtype_to_descr(np.dtype(features.dtype))
            header = {"descr": descr, "fortran_order": False, "shape": (len(shard.utterances), *encoder.shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(shard.utterances), size):
                batch = shard.utterances[start : start + size]
                file.write(_encode_batch(encoder, features, batch, manifest.channel).tobytes())
                done += len(batch)
                report(done, total)
        write_bytes(_sum_path(shard.path), f"{file_sha256(shard.path)}  {shard.path.name}\n".encode())


def batch_size(clip_seconds: float) -> int:
    """The number of clips in a forward pass: the largest power of two up to 16 with at most 40 s of audio, or 1."""
    fitting = max(1, min(16, int(_BATCH_SECONDS / clip_seconds)))
    return 1 << (fitting.bit_length() - 1)


def _encode_batch(
    encoder: PretrainedEncoder, features: config.Features, batch: Sequence[Utterance], channel: config.Channel
) -> npt.NDArray[np.floating]:
    clips = np.stack([read_clip(utterance.path, features.clip_seconds, channel=channel) for utterance in batch])
    for utterance in batch:
        audio_sha256(utterance)  # the file may have changed since the key was computed
    frames = encoder.encode(clips).to(getattr(torch, features.dtype))
    if frames.shape != (len(batch), *encoder.shape):  # the header of the file states this shape
        raise RecipeError(
            f"the frames of {batch[0].id} must have the shape {encoder.shape}, got {tuple(frames.shape[1:])}"
        )
    for utterance, finite in zip(batch, frames.isfinite().flatten(1).all(dim=1).tolist(), strict=True):
        if not finite:
            raise RecipeError(
                f"the features of {utterance.id} ({utterance.path}) must be finite in {features.dtype}, got NaN or "
                "infinity"
            )
    return frames.numpy()
