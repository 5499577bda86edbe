"""The calibration of an experiment's models, from the logits of their validation and test parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..corpora.manifest import Manifest, read_manifest
from ..training.calibration import BINS, expected_calibration_error, log_loss, probabilities_of, temperature
from ..training.folds import Fold, make_folds
from ..training.run_record import VALIDATION_FILE, corpus_inputs, run_folder
from ..utils.errors import RecipeError
from ..utils.table import Table, percent
from .results import Results
from .run_files import FinishedRun, Plan, read_logits

TEXT = (
    "Temperature scaling (Guo et al., ICML 2017) divides the logits of a model by one number, the temperature. It is "
    "the number that minimises the log loss on utterances that the model was not trained on, and it changes no "
    "prediction. Here, each run has its own temperature: it is fitted on the run's validation part and applied to its "
    "test part. ECE, the expected calibration error, is the mean distance in points between the probability of a "
    f"prediction and the share of such predictions that are correct, in {BINS} bins of that probability. ECE and log "
    "loss are computed on the test parts of all runs together, before and after. The temperature in the table is "
    "fitted on the validation parts of all runs together. A packaged model is scaled only if scaling lowers the log "
    "loss on the test part of its run or, for a model trained on all speakers, in the table. The log loss can rise if "
    "validation parts are small: a part without a wrong prediction gives a temperature near 0."
)


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of test predictions without and with temperature scaling."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature fitted on validation parts, and what temperature scaling changes on test parts."""

    temperature: float
    predictions: int  # number of predictions of the test parts
    ece: Change
    log_loss: Change

    @property
    def applied_temperature(self) -> float:
        """The temperature of a packaged model: 1 (no scaling), unless scaling lowers the log loss."""
        return self.temperature if self.log_loss.after < self.log_loss.before else 1.0

    @classmethod
    def of(cls, runs: Sequence[tuple[Part, Part]]) -> Calibration:
        """The calibration from the validation part and the test part of each run."""
        before = Part.joined([test for _, test in runs])
        after = Part.joined([test.divided_by(validation.temperature) for validation, test in runs])
        return cls(
            Part.joined([validation for validation, _ in runs]).temperature,
            len(before.labels),
            Change(before.ece, after.ece),
            Change(before.log_loss, after.log_loss),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The logits ``(N, classes)`` and labels ``(N,)`` of a part of a fold, or of several."""

    logits: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.integer[Any]]

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        return cls(np.concatenate([part.logits for part in parts]), np.concatenate([part.labels for part in parts]))

    @property
    def temperature(self) -> float:
        return temperature(self.logits, self.labels)

    @property
    def ece(self) -> float:
        return expected_calibration_error(probabilities_of(self.logits), self.labels)

    @property
    def log_loss(self) -> float:
        return log_loss(self.logits, self.labels)

    def divided_by(self, number: float) -> Part:
        return Part(self.logits / number, self.labels)


class ValidationParts:
    """The validation parts of the runs in the results folder ``root``; ``plan`` is its ``experiment.json``."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan

    @cached_property
    def _manifest(self) -> Manifest:
        return read_manifest(self.root / "manifest.jsonl", self.plan.labels)

    @cached_property
    def _folds(self) -> dict[str, Fold]:
        return {fold.name: fold for fold in make_folds(self._manifest, self.plan.experiment.protocol.kind)}

    def fold_of(self, run: FinishedRun) -> Fold:
        """The fold of a run.

        Raises:
            RecipeError: If ``manifest.jsonl`` has changed since the training.
        """
        record = run.record
        fold = self._folds.get(record.fold)
        inputs = {} if fold is None else corpus_inputs(self._manifest, fold)
        if fold is None or any(record.inputs.get(key) != value for key, value in inputs.items()):
            raise RecipeError(
                f"{self.root / 'manifest.jsonl'} must contain the utterances that {record.model}, fold {record.fold}, "
                f"seed {record.seed} was trained with, but it changed: restore it, or repeat the "
                "command that trained this run"
            )
        return fold

    def of(self, run: FinishedRun) -> Part | None:
        """The validation part of a run; ``None`` if the run has no validation logits.

        Raises:
            RecipeError: If the logits are missing or invalid, or ``manifest.jsonl`` has changed since the training.
        """
        record = run.record
        if VALIDATION_FILE not in record.files:
            return None
        fold = self.fold_of(run)
        path = run_folder(self.root, record.model, record.seed, record.fold) / VALIDATION_FILE
        logits = read_logits(path, ("utterances", "classes"), (len(fold.validation), len(self.plan.labels)))
        labels = [self.plan.labels.index(self._manifest.utterances[index].label) for index in fold.validation]
        return Part(logits, np.array(labels))


def tested_part(run: FinishedRun) -> Part:
    """The test part of a run, at the epoch chosen for UA."""
    return Part(run.logits[run.record.chosen.ua - 1], run.labels)


def model_calibration(validation: ValidationParts, results: Results, model: str) -> Calibration | None:
    """The calibration of a model over all its runs; ``None`` if a run has no validation logits.

    Raises:
        RecipeError: As :meth:`ValidationParts.of`.
    """
    runs = [(validation.of(run), tested_part(run)) for of_seed in results.runs[model] for run in of_seed]
    found = [(part, test) for part, test in runs if part is not None]
    return Calibration.of(found) if len(found) == len(runs) else None


def run_calibration(validation: ValidationParts, run: FinishedRun) -> Calibration | None:
    """The calibration of one run; ``None`` if it has no validation logits.

    Raises:
        RecipeError: As :meth:`ValidationParts.of`.
    """
    part = validation.of(run)
    return None if part is None else Calibration.of([(part, tested_part(run))])


def add_calibration(metrics: dict[str, Any], root: Path, results: Results) -> None:
    """Add the ``calibration`` of each model, or None, to the content of ``metrics.json``."""
    validation = ValidationParts(root, results.plan)
    for model in metrics["models"]:
        found = model_calibration(validation, results, model["name"])
        model["calibration"] = None if found is None else asdict(found)


def table(metrics: Mapping[str, Any]) -> Table | None:
    """Temperature, ECE and log loss of each model that has a calibration; None if no model has one."""
    rows = [_row(model["name"], found) for model in metrics["models"] if (found := model.get("calibration"))]
    header = ("Model", "temperature", "ECE,\nbefore", "ECE,\nafter", "log loss,\nbefore", "log loss,\nafter")
    return Table(header, rows) if rows else None


def _row(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    ece, loss = found["ece"], found["log_loss"]
    return (
        name,
        f"{found['temperature']:.2f}",
        *(percent(ece[key]) for key in ("before", "after")),
        *(f"{loss[key]:.3f}" for key in ("before", "after")),
    )
