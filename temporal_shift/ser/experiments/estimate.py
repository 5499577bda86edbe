"""Estimate the time of an experiment on this machine from counted FLOP and measured speeds. Writes nothing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .. import config
from ..audio.resampling import SAMPLE_RATE
from ..encoders.families import encoder_config
from ..encoders.feature_cache import batch_size
from ..encoders.model_files import ModelFiles
from ..training.run_record import Run
from ..utils.wording import counted, duration
from . import speed
from .flops import Cost, Shape, of_encoder, of_model

_MEASURING_SECONDS = 2.0  # approximate total of all measurements
_MAX_SECONDS = 0.3  # seconds of one measurement, after which no call starts

# fixed costs, measured on two cores of an AMD EPYC; they matter for small models
_START_SECONDS = 5.0  # imports of torch and transformers in a new process
_RUN_SECONDS = 0.4
_EPOCH_SECONDS = 0.015
_STEP_SECONDS = 0.001
_READ_SECONDS, _READ_BYTES = 1e-4, 1e9  # seconds per utterance to open its frames, bytes per second
_CLIP_SECONDS = 0.01  # seconds to read and prepare a clip


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated time and FLOP of encoding and training, and the measured speeds."""

    utterances: int  # number of utterances to encode for the cache
    encoding_seconds: float
    encoding_flop: int
    runs: int  # number of unfinished runs
    training_seconds: float
    training_flop: int
    parallel: int  # number of runs at a time
    speeds: dict[str, float]  # FLOP per second of each kind of model and, if it is measured, of the encoder

    @property
    def seconds(self) -> float:
        return self.encoding_seconds + self.training_seconds

    def lines(self) -> Iterator[str]:
        """The estimate, and how it was computed."""
        if not self.runs and not self.utterances:
            yield "nothing is left to encode or to train"
            return
        parts = [f"training {counted(self.runs, 'run')}, {self.parallel} at a time: {duration(self.training_seconds)}"]
        flop = [f"{_flop(self.training_flop)} of training and scoring"]
        if self.utterances:
            encoding = f"encoding {counted(self.utterances, 'utterance')}: {duration(self.encoding_seconds)}"
            parts.insert(0, encoding)
            flop.insert(0, f"{_flop(self.encoding_flop)} of encoding")
        yield f"estimated time on this machine: {duration(self.seconds)} ({'; '.join(parts)})"
        rates = ", ".join(f"{rate / 1e9:.3g} ({name})" for name, rate in self.speeds.items())
        yield (
            f"computed from {' and '.join(flop)}, and from GFLOP/s measured just now: {rates}; plus fixed "
            f"costs such as {_RUN_SECONDS:g} s per run and {1000 * _EPOCH_SECONDS:g} ms per epoch; without the report"
        )
        load, cores = _load(), os.cpu_count() or 1
        if load > cores / 2:
            yield f"other programs use this machine (load {load:.1f}, {counted(cores, 'core')}): the estimate is rough"


@dataclass(slots=True)
class _Kind:
    """Runs of models with the same blocks and the same placement of a shift, which count as equally expensive."""

    first: Run
    runs: int = 0
    epochs: int = 0
    steps: int = 0
    trained: int = 0  # number of utterances, over all epochs
    tested: int = 0  # number of utterances, over all epochs and including validation

    def add(self, run: Run) -> None:
        training, fold = run.experiment.training, run.fold
        epochs = training.epochs - run.epochs_in_checkpoint()
        self.runs += 1
        self.epochs += epochs
        self.steps += epochs * math.ceil(len(fold.train) / training.batch_size)
        self.trained += epochs * len(fold.train)
        self.tested += epochs * (len(fold.validation) + len(fold.test))

    def flop(self, encoder: Cost | None, shape: Shape) -> dict[str, int]:
        """FLOP of all runs, of the model and, in fine-tuning, of the encoder."""
        passes = {"trained": self.trained, "tested": self.tested}
        model = of_model(self.first.model, shape, self.first.manifest.labels).of(**passes)
        return {"model": model, "encoder": 0 if encoder is None else encoder.of(**passes)}


def estimate(experiment: config.Experiment, runs: Sequence[Run], missing: int, world_size: int = 1) -> Estimate:
    """Estimate the time of runs. The measurements take about two seconds.

    Args:
        experiment: The experiment.
        runs: The unfinished runs. They need no feature cache.
        missing: Number of utterances that the feature cache lacks.
        world_size: Number of processes that train each run together. Default: 1.
    Raises:
        RecipeError: If the encoder's configuration is not on this machine, the encoder lacks the layer or cannot encode
            the clips, or a model does not fit the encoder.
    """
    backbone, features = experiment.backbone, experiment.features
    files = ModelFiles(backbone.name, backbone.revision, allow_download=False)
    settings = encoder_config(files.json("config.json") or {}, f"the backbone {backbone.name}")
    cost, shape = of_encoder(settings, _samples(experiment), backbone.layer, features.average)
    kinds: dict[str, _Kind] = {}
    for run in runs:
        kinds.setdefault(_name(run.model), _Kind(run)).add(run)
    in_processes = experiment.processes > 1 and world_size == 1
    parallel = max(1, min(experiment.processes, len(runs), os.cpu_count() or 1)) if in_processes else 1
    others = min(parallel * world_size, os.cpu_count() or 1) - 1
    with speed.threads(1 if in_processes else torch.get_num_threads()), speed.busy(others):
        speeds = _speeds(experiment, kinds, settings, shape)
    if missing:
        cores = torch.get_num_threads()
        with speed.threads(1), speed.busy(cores - 1):  # large products scale with the number of threads
            clips = batch_size(features.clip_seconds)
            found = speed.encoder_speed(settings, _samples(experiment), clips, _MAX_SECONDS)
        speeds["encoder"] = speed.Speed(found.flop_per_second * (1 if torch.cuda.is_available() else cores))

    total, flop = 0.0, 0
    for name, kind in kinds.items():
        flops = kind.flop(cost if experiment.setting == "finetune" else None, shape)
        flop += sum(flops.values())
        total += flops["model"] / speeds[name].flop_per_second + _overhead(kind, speeds[name], shape)
        total += flops["encoder"] / speeds["encoder"].flop_per_second if flops["encoder"] else 0
    if runs and not torch.cuda.is_available():  # on a GPU, runs in parallel share it
        total *= math.ceil(len(runs) / parallel) / len(runs)
    encoding = cost.of(trained=0, tested=missing)
    return Estimate(
        missing,
        (missing * _CLIP_SECONDS + encoding / speeds["encoder"].flop_per_second) / world_size if missing else 0.0,
        encoding,
        len(runs),
        total / world_size + (_START_SECONDS if in_processes and runs else 0.0),
        flop,
        parallel,
        {name: each.flop_per_second for name, each in speeds.items()},
    )


def _load() -> float:
    """Average number of running processes in the last minute; 0 if the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _samples(experiment: config.Experiment) -> int:
    return round(experiment.features.clip_seconds * SAMPLE_RATE)


def _name(model: config.Model) -> str:
    return model.blocks if model.shift is None else f"{model.blocks}, {model.shift.placement}"


def _speeds(
    experiment: config.Experiment, kinds: Mapping[str, _Kind], settings: Any, shape: Shape
) -> dict[str, speed.Speed]:
    """The speed of each kind of model and, in fine-tuning, of the encoder."""
    training = experiment.training
    seconds = min(_MAX_SECONDS, _MEASURING_SECONDS / (len(kinds) + 1))
    found = {
        name: speed.training_speed(experiment, kind.first.model, shape, kind.first.manifest.labels, seconds)
        for name, kind in kinds.items()
    }
    if experiment.setting == "finetune":
        clips = training.batch_size // training.gradient_accumulation
        found["encoder"] = speed.encoder_speed(settings, _samples(experiment), clips, seconds)
    return found


def _overhead(kind: _Kind, measured: speed.Speed, shape: Shape) -> float:
    """Seconds of all runs, without their forward and backward passes."""
    learns = kind.first.experiment.setting == "finetune"
    read = _CLIP_SECONDS if learns else _READ_SECONDS + 4 * math.prod(shape) / _READ_BYTES
    return (
        kind.runs * _RUN_SECONDS
        + kind.epochs * _EPOCH_SECONDS
        + kind.steps * (measured.optimizer + _STEP_SECONDS)
        + (kind.trained + kind.tested) * read
    )


def _flop(number: float) -> str:
    scale, unit = next(
        each for each in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP")) if number >= each[0] or each[0] == 1e9
    )
    return f"{number / scale:.3g} {unit}"
