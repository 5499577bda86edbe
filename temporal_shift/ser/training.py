"""One run: one model trained for one fold with the Hugging Face Trainer, its predictions written to disk."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from . import metrics
from .files import atomic_write
from .modeling import FrameClassifier, FrameClassifierConfig
from .runs import Epoch, Prediction, Run, RunRecord


def train(run: Run, on_epoch: Callable[[], None]) -> None:
    """Train, choose the epoch of the best validation UA (the first of equals), predict the test utterances.

    Args:
        run: What to train. Its folder gets ``predictions.jsonl`` and, last, ``run.json``.
        on_epoch: Called after each epoch.
    """
    started = time.perf_counter()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()  # of the checkpoints: the caller shows one bar for all runs
    (run.folder / "run.json").unlink(missing_ok=True)
    checkpoints = run.folder / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)  # of a run that was stopped: this one starts anew
    set_seed(run.experiment.training.seed)
    model = _model(run)
    trainer = _Trainer(
        model=model,
        args=_arguments(run, checkpoints),
        train_dataset=_Frames(run, run.fold.train),
        eval_dataset=_Frames(run, run.fold.validation),
        compute_metrics=_validation_metrics,
        callbacks=[_EpochCallback(on_epoch)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    probabilities = torch.from_numpy(trainer.predict(_Frames(run, run.fold.test)).predictions).softmax(dim=1)
    shutil.rmtree(checkpoints)
    _write_predictions(run, probabilities)
    state = trainer.state
    record = RunRecord(
        model=run.model.name,
        fold=run.fold.name,
        parameters=model.num_parameters(),
        best_epoch=(state.best_global_step or 0) * run.experiment.training.epochs // state.max_steps,
        seconds=time.perf_counter() - started,
        epochs=_epochs(state.log_history),
        inputs=run.inputs,
    )
    with atomic_write(run.folder / "run.json") as file:
        file.write(json.dumps(asdict(record), indent=1).encode())


def _model(run: Run) -> FrameClassifier:
    frames, channels = run.cache.shape
    labels = run.manifest.labels
    return FrameClassifier(
        FrameClassifierConfig(
            blocks=run.model.blocks,
            shift=None if run.model.shift is None else run.model.shift.model_dump(),
            hidden_size=channels,
            num_frames=frames,
            spec_augment=run.experiment.spec_augment.model_dump(),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
        )
    )


def _arguments(run: Run, checkpoints: Path) -> TrainingArguments:
    settings = run.experiment.training
    steps_per_epoch = -(-len(run.fold.train) // settings.batch_size)
    return TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=128,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_epochs * steps_per_epoch,
        train_sampling_strategy="random" if settings.shuffle else "sequential",
        seed=settings.seed,
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="best",
        save_only_model=True,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="ua",
        greater_is_better=True,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


class _Frames(Dataset[dict[str, Any]]):
    """Some utterances of the cache, as the model's arguments."""

    def __init__(self, run: Run, indices: tuple[int, ...]) -> None:
        self.cache = run.cache
        self.indices = indices
        self.labels = [run.manifest.labels.index(run.manifest.utterances[index].label) for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"frames": torch.from_numpy(self.cache[self.indices[row]]), "labels": self.labels[row]}


class _Trainer(Trainer):
    """The Trainer, with the paper's weight decay: none on biases, norms and the learned mask."""

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        return [name for name, parameter in model.named_parameters() if parameter.dim() > 1]


class _EpochCallback(TrainerCallback):
    def __init__(self, on_epoch: Callable[[], None]) -> None:
        self.on_epoch = on_epoch

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.on_epoch()


def _validation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    counts = confusion_matrix(labels, logits.argmax(axis=1), labels=range(logits.shape[1]))
    return {"wa": float(metrics.weighted_accuracy(counts)), "ua": float(metrics.unweighted_accuracy(counts))}


def _epochs(log: list[dict[str, float]]) -> list[Epoch]:
    """The Trainer's log, which has the training loss and the validation of an epoch in separate entries."""
    losses = [entry["loss"] for entry in log if "loss" in entry]
    validations = [entry for entry in log if "eval_loss" in entry]
    return [
        Epoch(epoch, loss, validation["eval_loss"], validation["eval_wa"], validation["eval_ua"])
        for epoch, (loss, validation) in enumerate(zip(losses, validations, strict=True), start=1)
    ]


def _write_predictions(run: Run, probabilities: Tensor) -> None:
    labels = run.manifest.labels
    with atomic_write(run.folder / "predictions.jsonl") as file:
        for index, row in zip(run.fold.test, probabilities.tolist(), strict=True):
            utterance = run.manifest.utterances[index]
            guess = labels[row.index(max(row))]
            by_label = dict(zip(labels, row, strict=True))
            line = Prediction(utterance.id, utterance.speaker, utterance.label, guess, by_label)
            file.write(json.dumps(asdict(line)).encode() + b"\n")
