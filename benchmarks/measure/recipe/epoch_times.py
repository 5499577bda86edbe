"""Time epochs of the recipe's trainer on cached features and with the encoder in the loop, in turns."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerCallback

from temporal_shift.ser import config
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.corpora.manifest import Manifest
from temporal_shift.ser.encoders import feature_cache
from temporal_shift.ser.encoders.feature_cache import FeatureCache, cached_features
from temporal_shift.ser.encoders.pretrained import PretrainedEncoder, load_backbone
from temporal_shift.ser.experiments.flops import Shape
from temporal_shift.ser.models.frame_classifier import frame_classifier
from temporal_shift.ser.training.datasets import Frames, Part
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.trainer import RecipeTrainer
from temporal_shift.ser.utils.distributed import World

from ..measurements import OURS, Goal, Measurement
from .rows import CACHED, ENCODING, EPOCH

CACHED_A_ROUND = 2  # cached epochs per encoding epoch
MIN_RATIO = 10


@dataclass(frozen=True)
class RecipeCase:
    """A corpus, an encoder, and the models to train on its frames."""

    name: str
    experiment: config.Experiment
    manifest: Manifest


@dataclass(frozen=True)
class Epochs:
    """Seconds of each timed epoch of one model and encoder, cached and encoding."""

    encoder: str
    model: config.Model
    frames: Shape
    trained: int  # utterances
    tested: int  # including validation
    seconds: dict[str, list[float]]  # by CACHED and ENCODING

    def median(self, way: str) -> float:
        return statistics.median(self.seconds[way])

    @property
    def ratio(self) -> float:
        return self.median(ENCODING) / self.median(CACHED)

    @property
    def goal(self) -> Goal:
        what = f"an epoch that encodes / one on cached features, {self.encoder}, {self.model.name}"
        return Goal(what, self.ratio, MIN_RATIO, least=True)

    def measurement(self, by_flop: float | None) -> Measurement:
        """Return the row of the record. Each sample of ``OURS`` is the median of the cached epochs of a round.

        ``by_flop`` is FLOP of an encoding epoch / FLOP of a cached epoch; with ``None``, the row does not contain it.
        """
        cached = self.seconds[CACHED]
        rounds = [cached[start : start + CACHED_A_ROUND] for start in range(0, len(cached), CACHED_A_ROUND)]
        samples = {OURS: [statistics.median(of_round) for of_round in rounds], ENCODING: self.seconds[ENCODING]}
        figures = {"trained": self.trained, "tested": self.tested, "ratio": self.ratio}
        figures |= {} if by_flop is None else {"ratio_by_flop": by_flop}
        setting = f"{self.encoder}, {self.model.name}"
        return Measurement(EPOCH, samples, setting, self.frames, figures=figures, goals=[self.goal])


Encode = Callable[[Sequence[int]], Tensor]


def epochs_of(case: RecipeCase, folder: Path, rounds: int) -> Iterator[Epochs]:
    """Time the epochs of each model. Cached and encoding epochs take turns in random order.

    Raises:
        AssertionError: If the encoded frames differ from the cached ones, beyond a tolerance on a GPU.
    """
    experiment = case.experiment
    settings = experiment.features
    cache = cached_features(case.manifest, experiment.backbone, settings, folder / "cache")
    backbone = load_backbone(experiment.backbone, settings.clip_seconds, settings.average)
    backbone.to("cuda" if torch.cuda.is_available() else "cpu")
    encode = _encode_with(backbone, case.manifest, settings.clip_seconds)
    check_cache(cache, encode, getattr(torch, settings.dtype))
    a_round = [ENCODING, *[CACHED] * CACHED_A_ROUND]
    turns = [CACHED, *(turn for _ in range(rounds) for turn in random.sample(a_round, len(a_round)))]  # one warm-up
    # a checkpoint would add to the time of an epoch
    training = experiment.training.model_copy(update={"epochs": len(turns), "checkpoint_seconds": float("inf")})
    experiment = experiment.model_copy(update={"training": training})
    fold = make_folds(case.manifest, "heldout")[0]
    for model in experiment.models:
        run = Run(
            experiment,
            model,
            fold,
            seed=0,
            manifest=case.manifest,
            key=cache.key,
            cache=cache,
            folder=folder / case.name / model.name,
        )
        seconds = _timed(run, turns, encode)
        yield Epochs(case.name, model, cache.shape, len(fold.train), len(fold.validation + fold.test), seconds)


def _encode_with(backbone: PretrainedEncoder, manifest: Manifest, clip_seconds: float) -> Encode:
    """A function that encodes utterances as the recipe does for the cache, in batches of the same size."""
    size = feature_cache.batch_size(clip_seconds)

    def encode(indices: Sequence[int]) -> Tensor:
        batches = [indices[start : start + size] for start in range(0, len(indices), size)]
        paths = [[manifest.utterances[index].path for index in batch] for batch in batches]
        clips = (np.stack([read_clip(path, clip_seconds) for path in batch]) for batch in paths)
        return torch.cat([backbone.encode(batch) for batch in clips])

    return encode


def check_cache(cache: FeatureCache, encode: Encode, dtype: torch.dtype) -> None:
    """Raise an AssertionError if frames that are encoded in the order of the manifest differ from the cache.

    Without a GPU, they must be equal. On a GPU, ``rtol`` and ``atol`` are 2e-3, because it may choose another algorithm
    for the same convolution.
    """
    tolerance = 2e-3 if torch.cuda.is_available() else 0.0
    found = encode(range(len(cache))).to(dtype).float()
    for index, frames in enumerate(found):
        cached = torch.from_numpy(cache[index])
        if not torch.allclose(frames, cached, rtol=tolerance, atol=tolerance):
            difference = (frames.cpu() - cached).abs().max().item()
            raise AssertionError(
                f"the frames of utterance {index} and the cached ones must not differ (rtol and atol {tolerance:g}), "
                f"got a difference of up to {difference:.2g}"
            )


def _timed(run: Run, turns: Sequence[str], encode: Encode) -> dict[str, list[float]]:
    """Seconds of the epochs of the recipe's trainer, from the first batch to the last score."""
    torch.manual_seed(run.seed)
    model = frame_classifier(run.model, run.cache.shape, run.manifest.labels, run.experiment.spec_augment)
    stopwatch = _Stopwatch(turns)
    indices = {"train": run.fold.train, "validation": run.fold.validation, "test": run.fold.test}
    parts = {name: _Part(run, rows, encode, stopwatch) for name, rows in indices.items()}
    trainer = RecipeTrainer(run, model, parts, run.folder, World(), lambda: None)
    trainer.add_callback(stopwatch)
    trainer.train()
    return {way: stopwatch.seconds(way) for way in (CACHED, ENCODING)}


class _Part(Part):
    """Cached frames or, in an encoding epoch, frames that are encoded for each batch."""

    def __init__(self, run: Run, indices: tuple[int, ...], encode: Encode, stopwatch: _Stopwatch) -> None:
        super().__init__(run, indices, Frames(run.cache))
        self.encode, self.stopwatch = encode, stopwatch

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        """Called by torch's loader; allows encoding a whole batch at once."""
        if self.stopwatch.turn == CACHED:
            return [self[row] for row in rows]
        frames = self.encode([self.indices[row] for row in rows])
        return [{"frames": of_one, "labels": self.labels[row]} for of_one, row in zip(frames, rows, strict=True)]


class _Stopwatch(TrainerCallback):
    """Decides whether an epoch is cached or encoding, and times it."""

    def __init__(self, turns: Sequence[str]) -> None:
        self.turns = turns
        self.times: list[float] = []
        self.started = 0.0

    @property
    def turn(self) -> str:
        return self.turns[len(self.times)]

    def seconds(self, way: str) -> list[float]:
        """Seconds of the epochs after the warm-up."""
        return [time for time, turn in zip(self.times[1:], self.turns[1:], strict=True) if turn == way]

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "test_loss" in logs:  # the last log of an epoch
            self.times.append(time.perf_counter() - self.started)
