"""The files of an experiment's runs, read back and summarised: the content of ``metrics.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from .. import config
from ..training import metrics
from ..training.epoch_choice import Chosen, best_test_epochs
from ..training.run_record import Prediction, RunRecord, run_folder
from ..utils.atomic_files import write_json
from ..utils.errors import RecipeError, raise_problems, sentences_of
from ..utils.text_files import json_lines, read_text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """``experiment.json``: the experiment, with the classes and folds of its corpus."""

    experiment: config.Experiment
    labels: tuple[str, ...]
    folds: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        first = self.experiment.training.seed
        return tuple(range(first, first + self.experiment.seeds))

    def write(self, root: Path) -> None:
        content = {"experiment": self.experiment.model_dump(mode="json"), "labels": self.labels, "folds": self.folds}
        write_json(root / "experiment.json", content)

    @classmethod
    def read(cls, root: Path) -> Plan:
        path = root / "experiment.json"
        if not path.is_file():
            raise RecipeError(f"{root} must be the results folder of an experiment, but {path} does not exist")
        return _read_json(path, cls)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A run as read from its files; the utterances are sorted by id."""

    record: RunRecord
    utterances: tuple[str, ...]
    speakers: npt.NDArray[np.str_]
    labels: npt.NDArray[np.intp]
    logits: npt.NDArray[np.float32]  # (epochs, utterances, classes)

    def predictions(self, epoch: int) -> metrics.FoldPredictions:
        """The predictions after an epoch, counted from 1."""
        return metrics.FoldPredictions(self.speakers, self.labels, self.logits[epoch - 1].argmax(axis=1))

    def has_test_part_of(self, other: FinishedRun) -> bool:
        """Whether both runs test the same utterances, with the same speakers and labels."""
        return self.utterances == other.utterances and self.predictions(1).same_utterances(other.predictions(1))


@dataclass(frozen=True, slots=True)
class Results:
    """Every run of a plan: by model, seed and fold, in the plan's order."""

    plan: Plan
    runs: dict[str, tuple[tuple[FinishedRun, ...], ...]]

    @property
    def experiment(self) -> config.Experiment:
        return self.plan.experiment

    def predictions(
        self, model: str, epoch: Callable[[RunRecord], int] = lambda record: record.chosen.ua
    ) -> list[list[metrics.FoldPredictions]]:
        """A model's predictions by seed and fold, after an epoch of each run; by default, the epoch chosen for UA."""
        return [[run.predictions(epoch(run.record)) for run in folds] for folds in self.runs[model]]

    def by_seed_and_fold(self, model: str, value: Callable[[RunRecord], T]) -> dict[str, dict[str, T]]:
        """A value of each run of a model."""
        return {
            str(seed): {fold: value(run.record) for fold, run in zip(self.plan.folds, runs, strict=True)}
            for seed, runs in zip(self.plan.seeds, self.runs[model], strict=True)
        }


def read_results(root: Path) -> Results:
    """Read ``experiment.json`` and its runs.

    Raises:
        RecipeError: If a file is missing or invalid, or two models are tested on different utterances.
    """
    plan = Plan.read(root)
    runs: dict[str, tuple[tuple[FinishedRun, ...], ...]] = {}
    reference: dict[str, FinishedRun] = {}  # by fold: the first model's first run
    for model in plan.experiment.models:
        runs[model.name] = tuple(
            tuple(read_run(run_folder(root, model.name, seed, fold), plan) for fold in plan.folds)
            for seed in plan.seeds
        )
        for seed, of_seed in zip(plan.seeds, runs[model.name], strict=True):
            for fold, run in zip(plan.folds, of_seed, strict=True):
                if not run.has_test_part_of(reference.setdefault(fold, run)):
                    raise RecipeError(
                        f"{run_folder(root, model.name, seed, fold) / 'predictions.jsonl'} must contain the test "
                        f"utterances of {plan.experiment.models[0].name}: delete the run and train it again"
                    )
    return Results(plan, runs)


def summarize(results: Results) -> dict[str, Any]:
    """The content of ``metrics.json``: fractions, not percent. It does not depend on the clock or the machine."""
    experiment, plan = results.experiment, results.plan
    first = results.predictions(experiment.models[0].name)[0]
    return {
        "experiment": experiment.name,
        "setting": experiment.setting,
        "protocol": experiment.protocol.kind,
        "labels": list(plan.labels),
        "folds": list(plan.folds),
        "seeds": list(plan.seeds),
        "utterances": sum(len(fold.labels) for fold in first),
        "speakers": len({str(speaker) for fold in first for speaker in fold.speakers}),
        "chance": 1 / len(plan.labels),
        "bootstrap": {
            "resamples": metrics.RESAMPLES,
            "confidence": metrics.CONFIDENCE,
            "seed": experiment.training.seed,
        },
        "models": [_model_summary(results, model.name) for model in experiment.models],
        "pairs": [
            pair_summary(results, model.name, results, model.baseline) for model in experiment.models if model.baseline
        ],
    }


def pair_summary(ours: Results, name: str, theirs: Results, baseline: str) -> dict[str, Any]:
    """A paired comparison of a model with a baseline, which may be of other results."""
    predictions = ours.predictions(name), theirs.predictions(baseline)
    difference = metrics.paired_difference(*predictions, len(ours.plan.labels), ours.experiment.training.seed)
    return {
        "model": name,
        "baseline": baseline,
        "ua_difference": difference.ua,
        "interval": [*difference.interval],
        "only_model_right": difference.only_first_right,
        "only_baseline_right": difference.only_second_right,
        "mcnemar_p": difference.mcnemar_p,
    }


def training_seconds(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """The training time of each run, by model, seed and fold."""
    return {name: results.by_seed_and_fold(name, lambda record: record.seconds) for name in results.runs}


def _model_summary(results: Results, name: str) -> dict[str, Any]:
    plan, classes = results.plan, len(results.plan.labels)
    wa = _figure(results, name, metrics.weighted_accuracy, lambda record: record.chosen.wa)
    ua = _figure(results, name, metrics.unweighted_accuracy, lambda record: record.chosen.ua)
    confusion = np.sum([metrics.fold_confusion(folds, classes) for folds in results.predictions(name)], axis=(0, 1))
    best = _scores(results, name, lambda record: best_test_epochs(record.epochs))
    last = _scores(results, name, lambda record: Chosen(len(record.epochs), len(record.epochs)))
    honest = last if results.experiment.protocol.kind == "paper" else {"wa": wa["mean"], "ua": ua["mean"]}
    return {
        "name": name,
        "parameters": results.runs[name][0][0].record.parameters,
        "wa": wa,
        "ua": ua,
        "constant_runs": sum(map(_is_constant, (fold for folds in results.predictions(name) for fold in folds))),
        "wa_binomial_se": metrics.binomial_standard_error(wa["mean"], int(confusion.sum()) // len(plan.seeds)),
        "confusion": confusion.tolist(),
        "epochs": results.by_seed_and_fold(name, lambda record: asdict(record.chosen)),
        "best_test_epoch": best,  # what the published protocol would have reported
        "last_epoch": last,
        "selection_bias": {key: best[key] - honest[key] for key in ("wa", "ua")},
    }


def _is_constant(fold: metrics.FoldPredictions) -> bool:
    """Whether all predictions are one class, and the labels are not."""
    return len(set(fold.predictions.tolist())) == 1 < len(set(fold.labels.tolist()))


def _figure(results: Results, name: str, measure: metrics.Measure, epoch: Callable[[RunRecord], int]) -> dict[str, Any]:
    plan, classes = results.plan, len(results.plan.labels)
    predictions = results.predictions(name, epoch)
    scores = np.array([measure(metrics.fold_confusion(folds, classes)) for folds in predictions])  # (seeds, folds)
    by_fold, by_seed = scores.mean(0), scores.mean(1)
    return {
        "mean": float(scores.mean()),
        "fold_sd": float(by_fold.std(ddof=1)),
        "seed_sd": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        "interval": [*metrics.speaker_bootstrap(measure, predictions, classes, plan.experiment.training.seed)],
        "by_fold": dict(zip(plan.folds, by_fold.tolist(), strict=True)),
        "by_seed": dict(zip(map(str, plan.seeds), by_seed.tolist(), strict=True)),
    }


def _scores(results: Results, name: str, choice: Callable[[RunRecord], Chosen]) -> dict[str, float]:
    """Means over seeds and folds of the recorded test scores, at the chosen epochs."""
    chosen = [(run.record.epochs, choice(run.record)) for folds in results.runs[name] for run in folds]
    return {
        "wa": float(np.mean([epochs[epoch.wa - 1].test.wa for epochs, epoch in chosen])),
        "ua": float(np.mean([epochs[epoch.ua - 1].test.ua for epochs, epoch in chosen])),
    }


def read_run(folder: Path, plan: Plan) -> FinishedRun:
    """Read the files of one run; raises :class:`RecipeError` if one is missing or invalid."""
    for name in ("run.json", "predictions.jsonl", "test_logits.npy"):
        if not (folder / name).is_file():
            raise RecipeError(f"{folder / name} does not exist: train this model on this fold first")
    record = _read_record(folder / "run.json", plan.experiment.training.epochs)
    lines = _read_predictions(folder / "predictions.jsonl", plan.labels)
    logits = _read_logits(folder / "test_logits.npy", (len(record.epochs), len(lines), len(plan.labels)))
    order = sorted(range(len(lines)), key=lambda number: lines[number].id)
    return FinishedRun(
        record,
        tuple(lines[number].id for number in order),
        np.array([lines[number].speaker for number in order]),
        np.array([plan.labels.index(lines[number].label) for number in order]),
        logits[:, order],
    )


def _read_record(path: Path, epochs: int) -> RunRecord:
    record = _read_json(path, RunRecord)
    if [epoch.epoch for epoch in record.epochs] != list(range(1, epochs + 1)):
        raise RecipeError(f"{path} must contain the epochs 1 to {epochs}: delete the run and train it again")
    for name, epoch in asdict(record.chosen).items():
        if not 1 <= epoch <= epochs:
            raise RecipeError(f"{path}: chosen.{name} must be in [1, {epochs}], got {epoch}")
    return record


def _read_logits(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    try:
        logits: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    if logits.shape != shape:
        raise RecipeError(f"{path} must have the shape (epochs, utterances, classes) = {shape}, got {logits.shape}")
    return logits


def _read_predictions(path: Path, labels: Sequence[str]) -> list[Prediction]:
    problems: list[str] = []
    found: dict[str, Prediction] = {}
    for where, prediction in json_lines(read_text(path), path, Prediction, problems):
        for label in (prediction.label, prediction.prediction):
            if label not in labels:
                problems.append(f"{where}: label must be one of {', '.join(labels)}, got {label!r}")
        if prediction.id in found:
            problems.append(f"{where}: duplicate utterance {prediction.id!r}")
        found[prediction.id] = prediction
    raise_problems(problems)
    return list(found.values())


def _read_json(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(read_text(path))
    except ValidationError as error:
        raise RecipeError(f"{path}: {sentences_of(error)[0]}") from None
