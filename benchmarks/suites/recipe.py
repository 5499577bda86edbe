"""What the feature cache saves, what filling it takes, what the experiment costs.

- *Epochs*: an epoch on cached features against one that encodes each utterance again, as the published code does. Both
  are the recipe's own, by its trainer: of five sessions three are trained on, one validates and one is tested. They
  take turns, and nothing is timed before the features were compared. "By FLOP" is the same ratio in floating-point
  operations: what it would be if each of them took the same time.
- *Peak memory*: of a new process that fills the cache, with all that it imports and the encoder's weights, for one
  corpus and for one four times as long.
- *The paper's experiment*: its FLOP, and the hours that they take at this machine's rates, those of the epochs above,
  and at an assumed rate of a GPU.

The encoders are the quickstart's, on its corpus, and wav2vec 2.0 base with random weights, on noise: neither time nor
memory depends on what the weights are.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers
from torch import Tensor
from transformers import TrainerCallback, Wav2Vec2Config, Wav2Vec2Model

from temporal_shift.ser import config
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.audio.resampling import SAMPLE_RATE
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.encoders import feature_cache
from temporal_shift.ser.encoders.feature_cache import FeatureCache, cached_features
from temporal_shift.ser.encoders.pretrained import Backbone, load_backbone
from temporal_shift.ser.experiments.reproduce import MODELS, SETTINGS, published_experiment
from temporal_shift.ser.models.frame_classifier import frame_classifier
from temporal_shift.ser.training.datasets import Frames, Part
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.trainer import RecipeTrainer
from temporal_shift.ser.utils.atomic_files import file_sha256
from temporal_shift.ser.utils.distributed import World

from ..measure.encoding import measurements_of, peaks_of
from ..measure.flops import Counts, Rates, Shape, expense
from ..measure.goals import Goal
from ..measure.measurements import OURS, Count, Measurement
from ..report.recipe_tables import CACHED, ENCODING, EPOCH, EXPERIMENT

QUICKSTART = Path("examples/quickstart/experiment.yaml")
SHIFTED = ["ShiftCNN", "ShiftLSTM", "Shiftformer"]
LABELS = ("hap", "ang", "sad", "neu")
SESSIONS = 5
CACHED_A_ROUND = 2  # epochs, for one that encodes
LEAST_RATIO = 10


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    clip_seconds: float = 7.5
    utterances: int = 10  # of noise
    rounds: int = 2
    quickstart: int = 200  # utterances of its corpus, of 400
    encoder: dict[str, Any] = field(default_factory=dict)  # where its configuration is not that of a base encoder


QUICK = Scale(
    clip_seconds=0.5,
    utterances=20,
    rounds=1,
    quickstart=20,
    encoder={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "conv_dim": (8, 8),
        "conv_kernel": (10, 64),
        "conv_stride": (5, 64),
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
    },
)


@dataclass(frozen=True)
class Case:
    """A corpus, an encoder, and the models that learn from its frames."""

    name: str
    experiment: config.Experiment
    manifest: Manifest


@dataclass(frozen=True)
class Epochs:
    """One model on one encoder: seconds of each epoch that was timed, by where its features came from."""

    encoder: str
    model: config.Model
    frames: Shape
    trained: int  # utterances
    tested: int  # with those that validate
    seconds: dict[str, list[float]]

    def median(self, way: str) -> float:
        return statistics.median(self.seconds[way])

    @property
    def ratio(self) -> float:
        return self.median(ENCODING) / self.median(CACHED)

    @property
    def goal(self) -> Goal:
        what = f"an epoch that encodes / one on cached features, {self.encoder}, {self.model.name}"
        return Goal(what, self.ratio, LEAST_RATIO, least=True)

    def measurement(self, by_flop: float | None) -> Measurement:
        """As a line of the record: ours is a cached epoch, the median of those of a round."""
        cached = self.seconds[CACHED]
        rounds = [cached[start : start + CACHED_A_ROUND] for start in range(0, len(cached), CACHED_A_ROUND)]
        samples = {OURS: [statistics.median(of_round) for of_round in rounds], ENCODING: self.seconds[ENCODING]}
        figures = {"trained": self.trained, "tested": self.tested, "ratio": self.ratio}
        figures |= {} if by_flop is None else {"ratio_by_flop": by_flop}
        setting = f"{self.encoder}, {self.model.name}"
        return Measurement(EPOCH, samples, setting, self.frames, figures=figures, goals=[self.goal])


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--utterances", type=int, default=Scale.utterances, help="of noise (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=Scale.rounds, help="of epochs (default: %(default)s)")
    parser.add_argument(
        "--gpu-tflops",
        type=float,
        default=20.0,
        help="assumed of a GPU (default: %(default)s; the data sheet of an A100 has 19.5 in float32, 156 in TF32)",
    )
    parser.add_argument("--quick", action="store_true", help="all of it in the small: its figures mean nothing")


def measure(options: argparse.Namespace) -> Iterator[Measurement | Count]:
    """The epochs and the memory of each corpus, then what the paper's experiment costs."""
    if (options.device == "cuda") != torch.cuda.is_available():
        raise SystemExit(
            "the recipe takes the GPU where there is one: --device cuda, or hide it with CUDA_VISIBLE_DEVICES="
        )
    if options.utterances < SESSIONS:
        raise SystemExit(f"--utterances {options.utterances} leaves a session empty: it must be at least {SESSIONS}")
    scale = QUICK if options.quick else Scale(utterances=options.utterances, rounds=options.rounds)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows: list[Epochs] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in (quickstart(scale), noise(scale, folder)):
            yield from measurements_of(list(peaks_of(case.name, case.experiment, case.manifest, folder)))
            rows += epochs_of(case, folder, scale.rounds)  # on the cache that was just filled
    yield from costs(rows, scale, options.gpu_tflops * 1e12)


def quickstart(scale: Scale) -> Case:
    """The quickstart's corpus, encoder and settings, with its Shiftformer."""
    experiment = config.read_experiment(QUICKSTART)
    models = [model.model_copy(update={"twin": None}) for model in experiment.models if model.name == "Shiftformer"]
    manifest = read_corpus(experiment.corpus)
    step = len(manifest.utterances) // scale.quickstart
    manifest = replace(manifest, utterances=manifest.utterances[::step])
    return Case("quickstart", experiment.model_copy(update={"models": models}), manifest)


def noise(scale: Scale, folder: Path) -> Case:
    """A wav2vec 2.0 with random weights, a corpus of noise, and the paper's models with a shift."""
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**scale.encoder)).save_pretrained(folder / "wav2vec2")
    published = published_experiment("features", SHIFTED, {})
    experiment = config.Experiment(
        name="noise",
        corpus=config.Corpus(reader="manifest", path=folder / "noise"),
        backbone=config.Backbone(name=str(folder / "wav2vec2")),
        features=config.Features(clip_seconds=scale.clip_seconds),
        models=published.models,
    )
    name = "small wav2vec 2.0" if scale.encoder else "wav2vec 2.0 base"
    return Case(name, experiment, _write_noise(folder / "noise", scale))


def _write_noise(folder: Path, scale: Scale) -> Manifest:
    folder.mkdir()
    generator = np.random.default_rng(0)
    utterances = []
    for number in range(scale.utterances):
        session, samples = number % SESSIONS + 1, round(scale.clip_seconds * SAMPLE_RATE)
        path = folder / f"{number:04}.wav"
        soundfile.write(path, 0.1 * generator.standard_normal(samples), SAMPLE_RATE)
        where = {"speaker": f"{session}F", "session": f"Session{session}", "start": 0.0, "end": scale.clip_seconds}
        what = {"samples": samples, "sample_rate": SAMPLE_RATE, "sha256": file_sha256(path), "style": ""}
        utterances.append(Utterance(path.stem, path, LABELS[number // SESSIONS % len(LABELS)], **where, **what))
    return Manifest(tuple(utterances), LABELS)


Encode = Callable[[Sequence[int]], Tensor]


def epochs_of(case: Case, folder: Path, rounds: int) -> Iterator[Epochs]:
    """Time the epochs of each model, in turns, the features from the cache or encoded anew."""
    experiment = case.experiment
    settings = experiment.features
    cache = cached_features(case.manifest, experiment.backbone, settings, folder / "cache")
    backbone = load_backbone(experiment.backbone, settings.clip_seconds, settings.average)
    backbone.to("cuda" if torch.cuda.is_available() else "cpu")
    encode = _encode_with(backbone, case.manifest, settings.clip_seconds)
    compare(cache, encode, getattr(torch, settings.dtype))
    a_round = [ENCODING, *[CACHED] * CACHED_A_ROUND]
    turns = [CACHED, *(turn for _ in range(rounds) for turn in random.sample(a_round, len(a_round)))]  # one to warm up
    # No epoch of these is kept, so none may be interrupted by a checkpoint.
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


def _encode_with(backbone: Backbone, manifest: Manifest, clip_seconds: float) -> Encode:
    """What the recipe does for the cache, in batches of the same size; to be done in every epoch."""
    size = feature_cache.batch_size(clip_seconds)

    def encode(indices: Sequence[int]) -> Tensor:
        batches = [indices[start : start + size] for start in range(0, len(indices), size)]
        paths = [[manifest.utterances[index].path for index in batch] for batch in batches]
        clips = (np.stack([read_clip(path, clip_seconds) for path in batch]) for batch in paths)
        return torch.cat([backbone.encode(batch) for batch in clips])

    return encode


def compare(cache: FeatureCache, encode: Encode, dtype: torch.dtype) -> None:
    """Raise an AssertionError where encoding in file order does not give what the cache holds.

    On a CPU bit by bit; a GPU may choose another algorithm for the same convolution.
    """
    tolerance = 2e-3 if torch.cuda.is_available() else 0.0
    found = encode(range(len(cache))).to(dtype).float()
    for index, frames in enumerate(found):
        if not torch.allclose(frames, torch.from_numpy(cache[index]), rtol=tolerance, atol=tolerance):
            raise AssertionError(f"utterance {index} is not encoded to what the cache holds: nothing is timed")


def _timed(run: Run, turns: Sequence[str], encode: Encode) -> dict[str, list[float]]:
    """Seconds of the epochs that the recipe's trainer makes, from the first batch until the last score."""
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
    """Cached frames, or, where it is their turn, frames that are encoded for each batch anew."""

    def __init__(self, run: Run, indices: tuple[int, ...], encode: Encode, stopwatch: _Stopwatch) -> None:
        super().__init__(run, indices, Frames(run.cache))
        self.encode, self.stopwatch = encode, stopwatch

    def __getitems__(self, rows: list[int]) -> list[dict[str, Any]]:
        """What torch's loader asks for, so that a batch can be encoded as one."""
        if self.stopwatch.turn == CACHED:
            return [self[row] for row in rows]
        frames = self.encode([self.indices[row] for row in rows])
        return [{"frames": of_one, "labels": self.labels[row]} for of_one, row in zip(frames, rows, strict=True)]


class _Stopwatch(TrainerCallback):
    """Says where the features of an epoch come from, and takes its time."""

    def __init__(self, turns: Sequence[str]) -> None:
        self.turns = turns
        self.times: list[float] = []
        self.started = 0.0

    @property
    def turn(self) -> str:
        return self.turns[len(self.times)]

    def seconds(self, way: str) -> list[float]:
        """Of the epochs after the first."""
        return [time for time, turn in zip(self.times[1:], self.turns[1:], strict=True) if turn == way]

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.started = time.perf_counter()

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        if "test_loss" in logs:  # the last thing of an epoch
            self.times.append(time.perf_counter() - self.started)


def costs(rows: Sequence[Epochs], scale: Scale, gpu: float) -> Iterator[Measurement | Count]:
    """The epochs beside their FLOP, the rates that they had, and the paper's experiment at these rates."""
    counts = Counts(scale.clip_seconds, scale.encoder)
    on_noise = [row for row in rows if row.encoder != "quickstart"]  # the paper's encoder, which alone is counted
    for row in rows:
        yield row.measurement(1 + _encoding(row, counts) / _training(row, counts) if row in on_noise else None)
    rates = rates_of(on_noise, counts)
    yield Count("FLOP a second", {**asdict(rates), "gpu": gpu})
    for setting in SETTINGS:
        for model in MODELS:
            of_model = expense(published_experiment(setting, [model], {}), counts, rates, gpu)
            yield Count(EXPERIMENT, of_model, f"{setting}, {model}")


def rates_of(rows: Sequence[Epochs], counts: Counts) -> Rates:
    """What the epochs of each kind of blocks had of FLOP a second, and of encoding their median."""
    encoding = [_encoding(row, counts) / (row.median(ENCODING) - row.median(CACHED)) for row in rows]
    training = {row.model.blocks: _training(row, counts) / row.median(CACHED) for row in rows}
    return Rates(statistics.median(encoding), training)


def _encoding(row: Epochs, counts: Counts) -> int:
    """FLOP of an epoch that encodes, beyond those of a cached one."""
    cost, _ = counts.encoders["facebook/wav2vec2-base"]
    return cost.of(trained=0, tested=row.trained + row.tested)


def _training(row: Epochs, counts: Counts) -> int:
    """FLOP of a cached epoch."""
    return counts.model(row.model, row.frames).of(trained=row.trained, tested=row.tested)
