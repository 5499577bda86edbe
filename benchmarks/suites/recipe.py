"""``python -m benchmarks recipe``: time and memory of the feature cache and trainer, FLOP of the paper's experiment.

- *Epochs*: an epoch on cached features compared with one that encodes each utterance again, as the published code does.
  Both kinds use the recipe's trainer: three of five sessions train, one validates and one is tested. The two kinds take
  turns in random order. Features are compared before timing. "By FLOP" is the ratio of the floating-point operations of
  the two kinds, for wav2vec 2.0.
- *Bare loop*: an epoch of the recipe's trainer compared with a plain PyTorch loop over tensors in memory, and the
  FLOP/s of the recipe divided by the FLOP/s of a matrix product. Weights are compared after a warm-up epoch.
- *Peak memory*: the peak of a new process that fills the cache, including imports and the encoder's weights, for a
  corpus and for one four times as long. Linux only.
- *The paper's experiment*: its FLOP, and the hours at the rates measured in the epochs above and at an assumed rate of
  a GPU.

The encoders are the quickstart's, on a part of its corpus, and wav2vec 2.0 base with random weights, on noise: time and
memory do not depend on the weights.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers
from transformers import Wav2Vec2Config, Wav2Vec2Model

from temporal_shift.ser import config
from temporal_shift.ser.audio.resampling import SAMPLE_RATE
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.experiments.reproduce import PAPER_MODELS, SETTINGS, published_experiment
from temporal_shift.ser.utils.atomic_files import file_sha256

from ..measure.measurements import Count, Measurement
from ..measure.recipe.bare_loop import LoopCase, measurement_of
from ..measure.recipe.cache_memory import measurements_of, peaks_of
from ..measure.recipe.epoch_times import Epochs, RecipeCase, epochs_of
from ..measure.recipe.flops import FlopCounts, Rates, expense
from ..measure.recipe.rows import CACHED, ENCODING, EXPERIMENT, RATES

QUICKSTART = Path("examples/quickstart/experiment.yaml")
SHIFTED = ["ShiftCNN", "ShiftLSTM", "Shiftformer"]
LABELS = ("hap", "ang", "sad", "neu")
SESSIONS = 5


@dataclass(frozen=True)
class Scale:
    """Sizes of the measurements."""

    clip_seconds: float = 7.5
    utterances: int = 10  # of noise
    rounds: int = 2
    quickstart: int = 200  # utterances, of the 400 with the labels of its experiment
    encoder: dict[str, Any] = field(default_factory=dict)  # changes to the configuration of a base encoder
    loops: tuple[LoopCase, ...] = (  # three fifths of the utterances train
        LoopCase("small", utterances=400, frames=(16, 384), batch=16, rounds=9),
        LoopCase("full size", utterances=10, frames=(374, 768), batch=3, rounds=5),
    )


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
    loops=(LoopCase("small", 20, (8, 32), 4, 2), LoopCase("full size", 10, (16, 64), 3, 2)),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="device to measure (default: %(default)s)"
    )
    parser.add_argument(
        "--utterances", type=int, default=Scale.utterances, help="number of utterances of noise (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=Scale.rounds, help="number of rounds of epochs (default: %(default)s)"
    )
    parser.add_argument(
        "--gpu-tflops",
        type=float,
        default=20.0,
        help="assumed TFLOP/s of a GPU (default: %(default)s; data sheet of an A100: 19.5 in float32, 156 in TF32)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds, for a test: the figures mean nothing"
    )


def measure(options: argparse.Namespace) -> Iterator[Measurement | Count]:
    """Yield the peak memory of encoding, the epochs of bare loops, the epochs of each corpus, and the costs."""
    if (options.device == "cuda") != torch.cuda.is_available():
        hint = "; set CUDA_VISIBLE_DEVICES= to hide the GPU" if torch.cuda.is_available() else ""
        raise SystemExit(
            f"--device must be {'cuda' if torch.cuda.is_available() else 'cpu'}, got {options.device}: "
            f"the recipe uses a GPU if one is available{hint}"
        )
    if options.utterances < SESSIONS:
        raise SystemExit(f"--utterances must be at least {SESSIONS}, the number of sessions, got {options.utterances}")
    scale = QUICK if options.quick else Scale(utterances=options.utterances, rounds=options.rounds)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows: list[Epochs] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in (quickstart(scale), noise(scale, folder)):
            yield from measurements_of(list(peaks_of(case.name, case.experiment, case.manifest, folder)))
            rows += epochs_of(case, folder, scale.rounds)  # on the cache that was just filled
        (shiftformer,) = published_experiment("features", ["Shiftformer"], {}).models
        for loop in scale.loops:
            yield measurement_of(loop, shiftformer, folder)
    yield from costs(rows, scale, options.gpu_tflops * 1e12)


def quickstart(scale: Scale) -> RecipeCase:
    """A part of the quickstart's corpus, its encoder and settings, and only its Shiftformer."""
    experiment = config.read_experiment(QUICKSTART)
    models = [model.model_copy(update={"baseline": ()}) for model in experiment.models if model.name == "Shiftformer"]
    manifest = read_corpus(experiment.corpus)
    step = len(manifest.utterances) // scale.quickstart
    manifest = replace(manifest, utterances=manifest.utterances[::step])
    return RecipeCase("quickstart", experiment.model_copy(update={"models": models}), manifest)


def noise(scale: Scale, folder: Path) -> RecipeCase:
    """wav2vec 2.0 with random weights, a corpus of noise, and the paper's models with a shift."""
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
    return RecipeCase(name, experiment, _write_noise(folder / "noise", scale))


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


def costs(rows: Sequence[Epochs], scale: Scale, gpu: float) -> Iterator[Measurement | Count]:
    """Yield the epochs with their FLOP, the rates that they reach, and the paper's experiment at these rates."""
    counts = FlopCounts(scale.clip_seconds, scale.encoder)
    on_noise = [row for row in rows if row.encoder != "quickstart"]  # FLOP are counted only for the paper's encoder
    for row in rows:
        yield row.measurement(1 + _encoding(row, counts) / _training(row, counts) if row in on_noise else None)
    rates = rates_of(on_noise, counts)
    yield Count(RATES, {**asdict(rates), "gpu": gpu})
    for setting in SETTINGS:
        for model in PAPER_MODELS:
            of_model = expense(published_experiment(setting, [model], {}), counts, rates, gpu)
            yield Count(EXPERIMENT, of_model, f"{setting}, {model}")


def rates_of(rows: Sequence[Epochs], counts: FlopCounts) -> Rates:
    """FLOP/s of training, by kind of blocks, and the median FLOP/s of encoding."""
    encoding = [_encoding(row, counts) / (row.median(ENCODING) - row.median(CACHED)) for row in rows]
    training = {row.model.blocks: _training(row, counts) / row.median(CACHED) for row in rows}
    return Rates(statistics.median(encoding), training)


def _encoding(row: Epochs, counts: FlopCounts) -> int:
    """FLOP that encoding adds to an epoch."""
    cost, _ = counts.encoders["facebook/wav2vec2-base"]
    return cost.of(trained=0, tested=row.trained + row.tested)


def _training(row: Epochs, counts: FlopCounts) -> int:
    """FLOP of a cached epoch."""
    return counts.model(row.model, row.frames).of(trained=row.trained, tested=row.tested)
