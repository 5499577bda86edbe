"""The data of a run (cached frames, or clips for fine-tuning), and its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..audio.reading import read_clip
from ..corpora.unchanged_audio import UnchangedAudio
from ..encoders.feature_cache import FeatureCache
from .run_record import Run

IGNORED_LABEL = -100  # label of an utterance that fills an empty share of a step (see Batches); the loss ignores it


class Part(Dataset[dict[str, Any]]):
    """The utterances ``indices`` of a run's manifest, as inputs of its model.

    Row ``~k`` is row ``k`` with the label ``IGNORED_LABEL``.
    """

    def __init__(self, run: Run, indices: tuple[int, ...], read: Callable[[int], dict[str, Tensor]]) -> None:
        self.indices = indices
        self.read = read
        self.labels = [run.manifest.labels.index(run.manifest.utterances[index].label) for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> dict[str, Any]:
        label = self.labels[row] if row >= 0 else IGNORED_LABEL
        return {**self.read(self.indices[row if row >= 0 else ~row]), "labels": label}


class Frames:
    """Reads an utterance's frames from the cache."""

    def __init__(self, cache: FeatureCache) -> None:
        self.cache = cache

    def __call__(self, index: int) -> dict[str, Tensor]:
        return {"frames": torch.from_numpy(self.cache[index])}


class Clips:
    """Reads an utterance's clip from its audio file."""

    def __init__(self, run: Run) -> None:
        self.utterances = run.manifest.utterances
        self.audio = UnchangedAudio()
        self.seconds = run.experiment.features.clip_seconds
        self.channel = run.manifest.channel

    def __call__(self, index: int) -> dict[str, Tensor]:
        utterance = self.utterances[index]
        clip = read_clip(utterance.path, self.seconds, channel=self.channel)
        self.audio.check(utterance)
        return {"input_values": torch.from_numpy(clip)}


@dataclass(eq=False)
class Batches(Sampler[list[int]]):
    """The batches of an epoch in one process. Each step is divided into one share per process and pass.

    The last step can have fewer utterances than shares. An empty share gets one utterance with the label
    ``IGNORED_LABEL``, because all processes must take part in all passes.

    Args:
        rows: Number of utterances.
        batch_size: Utterances per step, over all processes.
        passes: Passes per step in each process (gradient accumulation). Default: 1.
        rank: The rank of this process. Default: 0.
        processes: Number of processes. Default: 1.
        epoch: Returns the epoch, counted from 0, when an iteration starts. Default: always 0.
        shuffle: Whether to shuffle; otherwise the order is the dataset's. Default: ``False``.
        seed: Determines the shuffled order, together with the epoch. Default: 0.
    """

    rows: int
    batch_size: int
    _: KW_ONLY
    passes: int = 1
    rank: int = 0
    processes: int = 1
    epoch: Callable[[], int] = lambda: 0
    shuffle: bool = False
    seed: int = 0

    @property
    def steps(self) -> int:
        return -(-self.rows // self.batch_size)

    def __len__(self) -> int:
        return self.steps * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.rows))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
            order = torch.randperm(self.rows, generator=generator, device="cpu").tolist()
        shares = self.passes * self.processes
        for start in range(0, self.rows, self.batch_size):
            step = order[start : start + self.batch_size]
            for number in range(self.passes):
                yield step[number * self.processes + self.rank :: shares] or [~step[0]]
