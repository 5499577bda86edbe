"""Hugging Face's Trainer with the recipe's batches, learning rates, evaluation and checkpoints."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from ..utils.atomic_files import write_array, write_bytes
from ..utils.distributed import World, is_lost_connection
from ..utils.errors import RecipeError, reason_of
from . import metrics
from .checkpoints import Checkpoint, delete_checkpoints, logits_path
from .datasets import Batches, Part
from .epoch_choice import Epoch, Scores, choose
from .run_record import MODEL_FILE, Run
from .schedules import published_factor

LOGGED_AS = {"validation": "eval", "test": "test"}  # scored parts, and the prefixes that TensorBoard groups them by
_REMEDY = "try a lower training.learning_rate or precision: float32"
_HUGGING_FACE_SCHEDULES = {
    "cosine": "cosine",
    "linear": "linear",
    "constant": "constant_with_warmup",
    "paper": "constant",  # create_scheduler replaces it
}


class RecipeTrainer(Trainer):
    """Trains one run. After each epoch it scores the validation and test parts, if any, and writes their logits.

    Args:
        run: The run.
        model: The model to train.
        parts: ``train``; ``test``, unless nothing is scored; and, if the protocol has one, ``validation``.
        folder: The folder of checkpoints and logits until the run is done.
        world: The processes that train the run together.
        on_epoch: Called after each epoch, before it is scored.
        stop_after: The epoch after which the training ends, counted from 1. Default: the last epoch of the schedule.
    Raises:
        RecipeError: If ``batch_size`` cannot be split between the processes and passes, or ``precision`` is float16
            on a machine without GPUs.
    """

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        parts: dict[str, Part],
        folder: Path,
        world: World,
        on_epoch: Callable[[], None],
        stop_after: int | None = None,
    ) -> None:
        self.run, self.parts, self.folder, self.world = run, parts, folder, world
        self.stop_after = stop_after or run.experiment.training.epochs
        self.epochs: list[Epoch] = []  # the scores so far, including epochs before a resumed checkpoint
        self.kept: str | None = None  # SHA-256 of the weights that were kept last
        self.learned = model  # without the wrapper of distributed training
        self.losses = _Losses(run)
        settings = run.experiment.training
        self.batches = Batches(
            len(parts["train"]),
            settings.batch_size,
            passes=settings.gradient_accumulation,
            rank=world.rank,
            processes=world.size,
            epoch=lambda: self.state.global_step // self.batches.steps,
            shuffle=settings.shuffle,
            seed=run.seed,
        )
        super().__init__(
            model=model,
            args=_arguments(run, self.batches, folder, world, scored="test" in parts),
            train_dataset=parts["train"],
            eval_dataset=parts.get("test"),
            callbacks=[
                self.losses,
                _Checkpoints(self, settings.checkpoint_seconds, on_epoch),
            ],
        )
        self.remove_callback(PrinterCallback)
        if world.size > 1:
            torch.manual_seed(run.seed + world.rank * 1_000_003)  # each process draws its own masks and dropout

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Train from a checkpoint; ``None``: from the start."""
        if checkpoint is not None:
            self.epochs += checkpoint.epochs
            self.kept = checkpoint.kept
        self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint.folder))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return a loader that accelerate does not prepare, because ``Batches`` splits the steps between processes."""
        return DataLoader(
            self.parts["train"],
            batch_sampler=self.batches,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
        )

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        settings = self.run.experiment.training
        if settings.schedule != "paper":
            return super().create_scheduler(num_training_steps, optimizer)
        setting, steps = self.run.experiment.setting, self.batches.steps
        factor = published_factor(setting, settings.epochs, steps, self.args.learning_rate)
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """The names of parameters with weight decay: not biases, norms and other 1-D parameters."""
        return [name for name, parameter in model.named_parameters() if parameter.dim() > 1]

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        scores = {name: self._score(name) for name in LOGGED_AS if name in self.parts}
        self.epochs.append(Epoch(len(self.epochs) + 1, self.losses.last, scores.get("validation"), scores["test"]))
        logged = {
            f"{LOGGED_AS[name]}_{key}": value for name, found in scores.items() for key, value in asdict(found).items()
        }
        self.log(logged)
        if self.run.experiment.training.keep_models and self.world.is_first:
            self._keep()
        return logged

    def _score(self, name: str) -> Scores:
        logits = np.asarray(self.predict(self.parts[name]).predictions, dtype=np.float32)
        if not np.isfinite(logits).all():
            raise RecipeError(
                f"the model's outputs must be finite, got NaN or infinity for the {name} part in epoch "
                f"{len(self.epochs) + 1} ({self.run.name}); {_REMEDY}"
            )
        if self.world.is_first:
            write_array(logits_path(self.folder, name, len(self.epochs) + 1), logits)
        return score(logits, self.parts[name].labels)

    def _keep(self) -> None:
        """Write the weights if the protocol chooses this epoch among the epochs so far.

        A killed run repeats this for the epochs since its last checkpoint.
        """
        if choose(self.run.experiment.protocol.kind, self.epochs).ua == len(self.epochs):
            self.kept = self.write_weights(self.folder / MODEL_FILE)

    def write_weights(self, path: Path) -> str:
        """Write the model's current weights to ``path``; return the file's SHA-256."""
        weights = {key: value.detach().cpu().contiguous() for key, value in self.learned.state_dict().items()}
        content = save(weights, {"format": "pt"})
        write_bytes(path, content)
        return hashlib.sha256(content).hexdigest()

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint. If it cannot be written, delete its folder and raise a :class:`RecipeError`.

        The error of a lost connection to another process is raised unchanged.
        """
        folder = self.folder / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError, SafetensorError) as error:
            if is_lost_connection(error):
                raise
            shutil.rmtree(folder, ignore_errors=True)
            # torch's message for a full disk does not say that the disk is full
            raise RecipeError(
                f"the checkpoint {folder} cannot be written (is the disk full?): {reason_of(error)}"
            ) from None


def score(logits: npt.NDArray[np.floating], labels: list[int]) -> Scores:
    """Mean cross entropy, WA and UA of logits ``(N, classes)`` for ``N`` labels, indices of classes."""
    counts = metrics.confusion(np.array(labels), logits.argmax(axis=1), logits.shape[1])
    loss = nn.functional.cross_entropy(torch.from_numpy(logits), torch.tensor(labels))
    return Scores(loss.item(), float(metrics.weighted_accuracy(counts)), float(metrics.unweighted_accuracy(counts)))


def _arguments(run: Run, batches: Batches, folder: Path, world: World, *, scored: bool) -> TrainingArguments:
    settings = run.experiment.training
    shares = settings.gradient_accumulation * world.size
    if settings.batch_size % shares:
        raise RecipeError(
            f"training.batch_size must be divisible by {shares} ({world.size} processes * gradient_accumulation="
            f"{settings.gradient_accumulation}), got {settings.batch_size}"
        )
    if settings.precision == "float16" and not torch.cuda.is_available():
        raise RecipeError("training.precision must be float32 or bfloat16 on a machine without GPUs, got float16")
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size // shares,
        per_device_eval_batch_size=128 if run.cache is not None else settings.batch_size // shares,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=run.model.learning_rate or settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        lr_scheduler_type=_HUGGING_FACE_SCHEDULES[settings.schedule],
        warmup_steps=settings.warmup_epochs * batches.steps,
        bf16=settings.precision == "bfloat16",
        fp16=settings.precision == "float16",
        # without a GPU, bfloat16 and several processes require use_cpu
        use_cpu=not torch.cuda.is_available() and (settings.precision == "bfloat16" or world.size > 1),
        seed=run.seed,
        eval_strategy="epoch" if scored else "no",
        logging_strategy="epoch",
        logging_nan_inf_filter=False,  # the filter replaces a loss that is not finite
        save_strategy="no",  # _Checkpoints requests checkpoints
        report_to=["tensorboard"] if settings.tensorboard else "none",
        disable_tqdm=True,
        dataloader_num_workers=settings.workers,
        dataloader_pin_memory=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # with several GPUs, a process would split each batch between them
    return arguments


class _Losses(TrainerCallback):
    """Keeps the training loss of the last epoch; raises if it is not finite."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.last = math.nan

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if "loss" not in kwargs["logs"]:
            return  # the Trainer also logs scores and times
        self.last = kwargs["logs"]["loss"]
        if not math.isfinite(self.last):
            raise RecipeError(
                f"the training loss must be finite, got {self.last} in epoch {state.epoch:.0f} ({self.run.name}); "
                f"{_REMEDY}"
            )


class _Checkpoints(TrainerCallback):
    """Calls ``on_epoch`` after each epoch, requests checkpoints, and ends the training after ``trainer.stop_after``.

    A checkpoint is requested after each earlier epoch if at least ``seconds`` have passed since the last checkpoint or
    the creation of this callback. A new checkpoint replaces the last one.
    """

    def __init__(self, trainer: RecipeTrainer, seconds: float, on_epoch: Callable[[], None]) -> None:
        self.trainer, self.seconds, self.on_epoch = trainer, seconds, on_epoch
        self.saved_at = time.monotonic()

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        ends = state.global_step >= self.trainer.stop_after * self.trainer.batches.steps
        due = time.monotonic() - self.saved_at >= self.seconds and not ends
        control.should_training_stop = control.should_training_stop or ends
        control.should_save = self.trainer.world.from_first(due)  # all processes save, because each has a random state
        self.on_epoch()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        trainer = self.trainer
        trainer.world.wait()
        if trainer.world.is_first:
            folder = trainer.folder / f"checkpoint-{state.global_step}"
            Checkpoint(folder, trainer.epochs, trainer.kept).write()
            delete_checkpoints(trainer.folder, but=folder)
        self.saved_at = time.monotonic()
