"""Train one run (one model, one fold, one seed), and write its predictions."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor, nn
from transformers import set_seed

from ..encoders.pretrained import load_backbone
from ..models.frame_classifier import frame_classifier
from ..models.speech_classifier import SpeechClassifier
from ..utils.atomic_files import atomic_write, file_sha256, write_array, write_json
from ..utils.distributed import World
from ..utils.errors import RecipeError
from ..utils.labels import most_likely
from .checkpoints import delete_checkpoints, last_checkpoint, logits_path
from .datasets import Clips, Frames, Part
from .epoch_choice import Epoch, choose
from .run_record import MODEL_FILE, OUTCOME_FILES, VALIDATION_FILE, Prediction, Run, RunRecord
from .trainer import RecipeTrainer


def train(run: Run, on_epoch: Callable[[], None] = lambda: None, world: World | None = None) -> None:
    """Train a run, predict its test utterances after each epoch, and write the predictions of the chosen epoch.

    A stopped run continues from its last checkpoint. The protocol chooses the epoch; with ``paper``, it is the epoch
    with the best test UA.

    Args:
        run: The run. Its folder gets ``test_logits.npy`` ``(epochs, N, classes)``, ``predictions.jsonl``,
            ``validation_logits.npy`` ``(M, classes)`` of the chosen epoch if there is a validation part,
            ``model.safetensors`` if ``training.keep_models`` is true, the folder ``tensorboard`` if
            ``training.tensorboard`` is true, and, last, ``run.json``.
        on_epoch: Called after each epoch. Default: does nothing.
        world: The processes that train the run together. Default: this process alone.
    Raises:
        RecipeError: If the model does not fit the encoder, a loss or output is not finite, a file cannot be read or is
            damaged, a checkpoint cannot be written, ``batch_size`` cannot be divided between the processes, tensorboard
            is required but not installed, or this machine does not support ``precision``.
        OSError: If another file cannot be written, or a request to the hub fails.
    """
    world = world or World()
    started = time.perf_counter()
    trainer = fit(run, on_epoch, world)
    if world.is_first:
        unfinished = unfinished_folder(run)
        if run.experiment.training.keep_models:
            _copy_model(run, unfinished, trainer.kept)
        _write(run, unfinished, trainer.epochs, learned_parameters(trainer), time.perf_counter() - started)
        shutil.rmtree(unfinished)
    world.wait()


def fit(run: Run, on_epoch: Callable[[], None], world: World, stop_after: int | None = None) -> RecipeTrainer:
    """Train a run, from its last checkpoint if it was stopped; return its trainer.

    ``run.json`` is deleted. Checkpoints, logits and kept weights are written to :func:`unfinished_folder`.

    Args:
        run: The run.
        on_epoch: Called after each epoch.
        world: The processes that train the run together.
        stop_after: The epoch after which the training ends, counted from 1. Default: the last epoch of the schedule.
    Raises:
        RecipeError: As :func:`train`.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()  # the caller shows one bar for all runs
    unfinished = unfinished_folder(run)
    if world.is_first:
        _clear(run, unfinished)
    model, parts = _model_and_parts(run)
    if run.experiment.training.tensorboard:
        _log_to_tensorboard(run.folder / "tensorboard")
    trainer = RecipeTrainer(run, model, parts, unfinished, world, on_epoch, stop_after)
    checkpoint = world.from_first(last_checkpoint(unfinished) if world.is_first else None)
    if world.is_first:
        delete_checkpoints(unfinished, but=None if checkpoint is None else checkpoint.folder)
    trainer.resume(checkpoint)
    return trainer


def unfinished_folder(run: Run) -> Path:
    """The folder of a run's checkpoints, logits and kept weights until the run is done."""
    return run.folder / "unfinished"


def learned_parameters(trainer: RecipeTrainer) -> int:
    """The number of trainable parameters of a trainer's model."""
    return sum(parameter.numel() for parameter in trainer.learned.parameters() if parameter.requires_grad)


def _clear(run: Run, unfinished: Path) -> None:
    """Delete ``run.json``, delete unfinished files that this run cannot continue, and record its inputs."""
    (run.folder / "run.json").unlink(missing_ok=True)
    keeps = run.experiment.training.keep_models
    try:
        before = json.loads((unfinished / "inputs.json").read_text(encoding="utf-8"))
        # the epoch of the kept weights can precede the checkpoint, so weights must be kept from the first epoch on
        same = before["inputs"] == run.inputs and (before["keeps_models"] or not keeps)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        shutil.rmtree(unfinished, ignore_errors=True)
    write_json(unfinished / "inputs.json", {"inputs": run.inputs, "keeps_models": keeps})


def _model_and_parts(run: Run) -> tuple[nn.Module, dict[str, Part]]:
    read: Callable[[int], dict[str, Tensor]]
    backbone, settings = None, run.experiment.features
    if run.cache is None:
        backbone = load_backbone(run.experiment.backbone, settings.clip_seconds, settings.average, run.identity)
        backbone.learn()
        shape, read = backbone.shape, Clips(run)
    else:
        shape, read = run.cache.shape, Frames(run.cache)
    set_seed(run.seed)
    classifier = frame_classifier(run.model, shape, run.manifest.labels, run.experiment.spec_augment)
    model: nn.Module = classifier
    if backbone is not None:
        model = SpeechClassifier.of(backbone, classifier, run.experiment.backbone, settings.clip_seconds)
    indices = {"train": run.fold.train, "validation": run.fold.validation, "test": run.fold.test}
    return model, {part: Part(run, rows, read) for part, rows in indices.items() if rows}


def _log_to_tensorboard(folder: Path) -> None:
    try:
        import tensorboard  # noqa: F401
    except ModuleNotFoundError:
        raise RecipeError(
            "training.tensorboard requires the package tensorboard, which is not installed: pip install tensorboard"
        ) from None
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder)  # the Trainer's callback reads it


def _copy_model(run: Run, unfinished: Path, expected: str | None) -> None:
    # a copy: a run that is killed before it writes run.json continues with the original
    with (unfinished / MODEL_FILE).open("rb") as kept, atomic_write(run.folder / MODEL_FILE) as file:
        shutil.copyfileobj(kept, file)
    if file_sha256(run.folder / MODEL_FILE) != expected:
        shutil.rmtree(unfinished)
        raise RecipeError(
            f"{unfinished / MODEL_FILE} was changed or damaged after it was written: run the command again, "
            f"which trains {run.name} from the start"
        )


def _write(run: Run, unfinished: Path, epochs: list[Epoch], parameters: int, seconds: float) -> None:
    logits = np.stack([_logits(unfinished, "test", epoch.epoch) for epoch in epochs])
    write_array(run.folder / "test_logits.npy", logits)
    chosen = choose(run.experiment.protocol.kind, epochs)
    if run.fold.validation:
        write_array(run.folder / VALIDATION_FILE, _logits(unfinished, "validation", chosen.ua))
    else:
        (run.folder / VALIDATION_FILE).unlink(missing_ok=True)  # a run with another protocol may have written it
    labels = run.manifest.labels
    probabilities = torch.from_numpy(logits[chosen.ua - 1]).softmax(dim=1).tolist()
    with atomic_write(run.folder / "predictions.jsonl") as file:
        for index, row in zip(run.fold.test, probabilities, strict=True):
            utterance = run.manifest.utterances[index]
            by_label = dict(zip(labels, row, strict=True))
            line = Prediction(utterance.id, utterance.speaker, utterance.label, most_likely(labels, row), by_label)
            file.write(json.dumps(asdict(line)).encode() + b"\n")
    names = [
        *OUTCOME_FILES,
        *[VALIDATION_FILE] * bool(run.fold.validation),
        *[MODEL_FILE] * run.experiment.training.keep_models,
    ]
    files = {name: file_sha256(run.folder / name) for name in names}
    record = RunRecord(run.model.name, run.fold.name, run.seed, parameters, chosen, seconds, epochs, run.inputs, files)
    write_json(run.folder / "run.json", asdict(record))


def _logits(unfinished: Path, part: str, epoch: int) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.load(logits_path(unfinished, part, epoch), allow_pickle=False)
    return found
