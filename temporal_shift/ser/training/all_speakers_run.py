"""Training on all utterances, for a fixed number of epochs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..corpora.manifest import Manifest
from ..utils.atomic_files import file_sha256, write_json
from ..utils.distributed import World
from .checkpoints import last_checkpoint
from .folds import Fold
from .run_record import MODEL_FILE, Run
from .train_run import fit, learned_parameters, unfinished_folder


@dataclass(frozen=True)
class AllSpeakersRun(Run):
    """A run without validation and test parts. It stops after ``epochs`` epochs, possibly before its schedule ends."""

    epochs: int = field(kw_only=True)

    @property
    def name(self) -> str:
        return f"{self.model.name}, all speakers, seed {self.seed}"

    @property
    def inputs(self) -> dict[str, Any]:
        return {**super().inputs, "epochs": self.epochs}

    def is_done(self) -> bool:
        record, path = self._record(), self.folder / MODEL_FILE
        if record.get("inputs") != self.inputs or not path.is_file():
            return False
        return bool(record.get("files") == {MODEL_FILE: file_sha256(path)})

    def epochs_in_checkpoint(self) -> int:
        checkpoint = last_checkpoint(unfinished_folder(self))
        steps_of_epoch = -(-len(self.fold.train) // self.experiment.training.batch_size)
        steps = 0 if checkpoint is None else int(checkpoint.folder.name.removeprefix("checkpoint-"))
        return steps // steps_of_epoch


@dataclass(frozen=True, slots=True)
class AllSpeakersRecord:
    """``run.json`` of an :class:`AllSpeakersRun`, written last."""

    model: str
    seed: int
    parameters: int  # number of trainable parameters
    seconds: float  # since the run started or was last continued
    train_losses: list[float]  # by epoch
    inputs: dict[str, Any]
    files: dict[str, str]  # SHA-256 by name


def all_utterances(manifest: Manifest) -> Fold:
    """A fold named ``all speakers``, with all utterances in the training part."""
    return Fold("all speakers", tuple(range(len(manifest.utterances))), (), ())


def all_speakers_folder(root: Path, model: str) -> Path:
    """The folder of the run in the results folder ``root``."""
    return root / "all-speakers" / model


def train_on_all_speakers(
    run: AllSpeakersRun, on_epoch: Callable[[], None] = lambda: None, world: World | None = None
) -> None:
    """Train the run; its folder gets ``model.safetensors`` and ``run.json``.

    A stopped run continues from its last checkpoint.

    Args:
        run: The run.
        on_epoch: Called after each epoch. Default: does nothing.
        world: The processes that train the run together. Default: this process alone.
    Raises:
        RecipeError: As :func:`.train_run.train`.
    """
    world = world or World()
    started = time.perf_counter()
    trainer = fit(run, on_epoch, world, run.epochs)
    if world.is_first:
        digest = trainer.write_weights(run.folder / MODEL_FILE)
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        seconds = time.perf_counter() - started
        record = AllSpeakersRecord(
            *(run.model.name, run.seed, learned_parameters(trainer), seconds, losses, run.inputs),
            files={MODEL_FILE: digest},
        )
        write_json(run.folder / "run.json", asdict(record))
        shutil.rmtree(unfinished_folder(run))
    world.wait()
