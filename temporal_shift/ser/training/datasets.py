"""A part of a fold as the models take it: cached frames, or clips read from the audio files for fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ..audio.reading import read_clip
from ..encoders.feature_cache import FeatureCache
from .run_record import Run

NOBODY = -100  # the label of an utterance that fills up a batch, and counts for nothing


class Part(Dataset[dict[str, Any]]):
    """The utterances ``indices`` of a run's manifest, as arguments of its model.

    Row ``~k`` is row ``k`` with nobody's label.
    """

    def __init__(self, run: Run, indices: tuple[int, ...], read: Callable[[int], dict[str, Tensor]]) -> None:
        self.indices = indices
        self.read = read
        self.labels = [run.manifest.labels.index(run.manifest.utterances[index].label) for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> dict[str, Any]:
        label = self.labels[row] if row >= 0 else NOBODY
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
        self.paths = [utterance.path for utterance in run.manifest.utterances]
        self.seconds = run.experiment.features.clip_seconds

    def __call__(self, index: int) -> dict[str, Tensor]:
        return {"input_values": torch.from_numpy(read_clip(self.paths[index], self.seconds))}


class Batches(Sampler[list[int]]):
    """The steps of an epoch, each divided alike among the processes, and by each of them into its passes.

    The last step of an epoch can be smaller, and even leave a share empty: that share is one utterance of nobody's
    label, since every process has to take part in every pass.

    Args:
        rows: In all.
        batch_size: Of a step, over all processes.
        passes: That a process divides its share into.
        epoch: Tells the epoch, counted from 0, when an iteration starts; the order is drawn from it and the seed.
        shuffle: File order, where not.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        *,
        passes: int = 1,
        rank: int = 0,
        processes: int = 1,
        epoch: Callable[[], int] = lambda: 0,
        shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        self.rows, self.batch_size = rows, batch_size
        self.passes, self.rank, self.processes = passes, rank, processes
        self.epoch, self.shuffle, self.seed = epoch, shuffle, seed

    @property
    def steps(self) -> int:
        return -(-self.rows // self.batch_size)

    def __len__(self) -> int:
        return self.steps * self.passes

    def __iter__(self) -> Iterator[list[int]]:
        order = list(range(self.rows))
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
            order = torch.randperm(self.rows, generator=generator).tolist()
        shares = self.passes * self.processes
        for start in range(0, self.rows, self.batch_size):
            step = order[start : start + self.batch_size]
            for number in range(self.passes):
                yield step[number * self.processes + self.rank :: shares] or [~step[0]]
