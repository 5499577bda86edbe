"""Time epochs of the recipe's trainer, epochs of a bare PyTorch loop, and a matrix product, in turns.

The bare loop trains the same model with the same batches, SpecAugment, optimizer and clipping, and predicts the same
utterances. Its frames are tensors in memory; the recipe reads frames from the feature cache.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.encoders.feature_cache import FeatureCache, shard_path
from temporal_shift.ser.experiments import speed
from temporal_shift.ser.experiments.flops import Shape, of_model
from temporal_shift.ser.models.frame_classifier import FrameClassifier, frame_classifier
from temporal_shift.ser.training.datasets import Batches, Frames, Part
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.trainer import RecipeTrainer
from temporal_shift.ser.utils.distributed import World

from ..measurements import OURS, Goal, Measurement
from .rows import BARE, LOOP

LABELS = ("hap", "ang", "sad", "neu")
SESSIONS = 5  # three for training, one for validation, one for test
MAX_RATIO = 1.05
EVALUATED_AT_ONCE = 128  # as in the recipe
GEMM_SECONDS = 0.2  # per round


@dataclass(frozen=True)
class LoopCase:
    """A size of the comparison."""

    name: str
    utterances: int
    frames: Shape  # of one utterance, (L, D)
    batch: int  # utterances per training step
    rounds: int  # after the warm-up


def measurement_of(case: LoopCase, model: config.Model, folder: Path) -> Measurement:
    """The epochs of both loops, with their ratio, and the recipe's FLOP/s divided by the FLOP/s of a matrix product."""
    run = _run(case, model, folder)
    torch.manual_seed(0)
    classifier = frame_classifier(model, case.frames, LABELS, run.experiment.spec_augment)
    bare = BareLoop(copy.deepcopy(classifier), run)
    turns = _Turns(bare, case)
    indices = {"train": run.fold.train, "validation": run.fold.validation, "test": run.fold.test}
    parts = {name: Part(run, rows, Frames(run.cache)) for name, rows in indices.items()}
    trainer = RecipeTrainer(run, classifier, parts, run.folder, World(), lambda: None)
    trainer.add_callback(turns)
    trainer.train()

    trained, tested = len(run.fold.train), len(run.fold.validation + run.fold.test)
    flop = of_model(model, case.frames, LABELS)
    samples = {OURS: turns.recipe[1:], BARE: turns.bare[1:]}
    ratio = statistics.median(samples[OURS]) / statistics.median(samples[BARE])
    rate = flop.of(trained=trained, tested=tested) / statistics.median(samples[OURS])
    gemm = statistics.median(turns.gemm[1:])
    figures = {"trained": trained, "tested": tested, "ratio": ratio, "gemm": gemm, "share_of_gemm": rate / gemm}
    goal = Goal(f"the recipe's epoch / a bare loop's, {case.name}, {model.name}", ratio, MAX_RATIO)
    return Measurement(LOOP, samples, f"{case.name}, {model.name}", case.frames, figures=figures, goals=[goal])


class BareLoop:
    """A plain PyTorch loop over tensors in memory."""

    def __init__(self, model: FrameClassifier, run: Run) -> None:
        self.model, self.run = model.to(speed.device()), run
        self.training = run.experiment.training
        decayed = [each for each in model.parameters() if each.dim() > 1]
        others = [each for each in model.parameters() if each.dim() <= 1]
        groups = [{"params": decayed, "weight_decay": self.training.weight_decay}, {"params": others}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.training.learning_rate, weight_decay=0.0, fused=True)
        self.frames = {name: self._stacked(getattr(run.fold, name)) for name in ("train", "validation", "test")}
        labels = [run.manifest.labels.index(run.manifest.utterances[index].label) for index in run.fold.train]
        self.labels = torch.tensor(labels, device=speed.device())
        self.epochs = 0

    def _stacked(self, indices: tuple[int, ...]) -> Tensor:
        return torch.stack([torch.from_numpy(self.run.cache[index]) for index in indices]).to(speed.device())

    def epoch(self, *, seeded: bool = False) -> None:
        """Train on every batch, then predict the validation and test utterances.

        Args:
            seeded: Whether to seed each step with its number, to get the masks of the recipe's first epoch.
        """
        settings, number = self.training, self.epochs
        batches = Batches(
            *(len(self.labels), settings.batch_size),
            epoch=lambda: number,
            shuffle=settings.shuffle,
            seed=self.run.seed,
        )
        self.model.train()
        for step, rows in enumerate(batches):
            if seeded:
                torch.manual_seed(step)
            self.optimizer.zero_grad()
            self.model(self.frames["train"][rows], self.labels[rows]).loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
            self.optimizer.step()
        self.model.eval()
        with torch.no_grad():
            for name in ("validation", "test"):
                for frames in self.frames[name].split(EVALUATED_AT_ONCE):
                    self.model(frames).logits.argmax(dim=1).tolist()
        self.epochs += 1


class _Turns(TrainerCallback):
    """Times the recipe's epochs, and before each of them an epoch of the bare loop and matrix products.

    The first round is a warm-up. If the weights of the two models differ after it, an error stops the measurement.
    """

    def __init__(self, bare: BareLoop, case: LoopCase) -> None:
        self.loop, self.case = bare, case
        self.recipe: list[float] = []
        self.bare: list[float] = []
        self.gemm: list[float] = []  # FLOP per second
        self.started = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self.gemm.append(gemm_rate(self.case))
        started = time.perf_counter()
        self.loop.epoch(seeded=not self.bare)
        self.bare.append(time.perf_counter() - started)
        self.started = time.perf_counter()

    def on_step_begin(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        if not self.recipe:
            torch.manual_seed(state.global_step)

    def on_log(self, *_: Any, logs: dict[str, float], model: nn.Module, **__: Any) -> None:
        if "test_loss" not in logs:
            return  # only the last log of an epoch has it
        self.recipe.append(time.perf_counter() - self.started)
        if len(self.recipe) == 1:
            check_weights(model, self.loop.model)


def check_weights(recipe: nn.Module, bare: nn.Module) -> None:
    """Raise an AssertionError if the two loops trained different weights, beyond a tolerance."""
    for (name, ours), theirs in zip(recipe.named_parameters(), bare.parameters(), strict=True):
        if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-5):
            difference = (ours - theirs).abs().max().item()
            raise AssertionError(
                f"{name} must be equal in the recipe and the bare loop (rtol 0.001, atol 1e-05), "
                f"got a difference of up to {difference:.2g}; the measurement stops"
            )


def gemm_rate(case: LoopCase) -> float:
    """FLOP per second of the matrix product of the first MLP layer, in float32."""
    rows, channels = case.batch * case.frames[0], case.frames[1]
    x = torch.randn(rows, channels, device=speed.device())
    weight = torch.randn(4 * channels, channels, device=speed.device())
    product = torch.empty(rows, 4 * channels, device=speed.device())
    torch.mm(x, weight.T, out=product)
    calls, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < GEMM_SECONDS:
        torch.mm(x, weight.T, out=product)
        calls += 1
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return calls * 2 * rows * channels * 4 * channels / seconds


def _run(case: LoopCase, model: config.Model, folder: Path) -> Run:
    manifest = Manifest(tuple(_utterances(case.utterances)), LABELS)
    training = config.Training(
        epochs=1 + case.rounds,
        batch_size=case.batch,
        schedule="constant",
        warmup_epochs=0,
        checkpoint_seconds=1e9,  # no checkpoints
    )
    experiment = config.Experiment(
        name="loop",
        corpus=config.Corpus(path=folder),
        spec_augment=config.SpecAugment(time_length=max(1, case.frames[0] // 25), feature_length=case.frames[1] // 12),
        training=training,
        models=[model],
    )
    fold = make_folds(manifest, "heldout")[0]
    cache = _cache(case, folder / f"cache-{case.name}")
    return Run(experiment, model, fold, 0, manifest, cache.key, cache, folder / f"run-{case.name}")


def _utterances(number: int) -> Iterator[Utterance]:
    for index in range(number):
        session = index % SESSIONS + 1
        place = {"speaker": f"{session}F", "session": f"Session{session}", "start": 0.0, "end": 1.0}
        file = {"samples": 16_000, "sample_rate": 16_000, "sha256": "0" * 64, "style": ""}
        yield Utterance(f"{index:04}", Path(f"{index:04}.wav"), LABELS[index // SESSIONS % 4], **place, **file)


def _cache(case: LoopCase, folder: Path) -> FeatureCache:
    """Write random frames as a feature cache."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, start in enumerate(range(0, case.utterances, 64)):
        shape = (min(64, case.utterances - start), *case.frames)
        np.save(shard_path(folder, number), generator.standard_normal(shape, dtype=np.float32))
    return FeatureCache.open(folder, "0" * 64)
