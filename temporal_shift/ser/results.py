"""What training left on disk, read back and summed up: the runs of an experiment -> ``metrics.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from . import config, metrics
from .errors import RecipeError
from .runs import Prediction, RunRecord


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run as it was read back."""

    record: RunRecord
    utterances: tuple[str, ...]  # ids, sorted; the predictions are in their order
    predictions: metrics.FoldPredictions


@dataclass(frozen=True, slots=True)
class Results:
    """Every run of the experiment; each model's runs are in the order of ``folds``."""

    experiment: config.Experiment
    labels: tuple[str, ...]
    folds: tuple[str, ...]
    runs: dict[str, tuple[FinishedRun, ...]]  # by model, in the experiment's order

    def predictions(self, model: str) -> list[metrics.FoldPredictions]:
        return [run.predictions for run in self.runs[model]]


def read_results(root: Path, experiment: config.Experiment, labels: Sequence[str], folds: Sequence[str]) -> Results:
    """Read ``root/runs/<model>/<fold>/``; raises :class:`RecipeError` naming the file that is missing or broken."""
    names = [model.name for model in experiment.models]
    runs = {name: tuple(_read_run(root / "runs" / name / fold, experiment, labels) for fold in folds) for name in names}
    for name in names:
        for fold, run, reference in zip(folds, runs[name], runs[names[0]], strict=True):
            if run.utterances != reference.utterances or not run.predictions.same_utterances(reference.predictions):
                raise RecipeError(
                    f"{root / 'runs' / name / fold / 'predictions.jsonl'} tests other utterances than {names[0]} does: "
                    "delete the run and train it again"
                )
    return Results(experiment, tuple(labels), tuple(folds), runs)


def summarize(results: Results) -> dict[str, Any]:
    """The content of ``metrics.json``: fractions, not percent, and nothing that depends on the clock or the machine."""
    first = results.predictions(results.experiment.models[0].name)
    return {
        "experiment": results.experiment.name,
        "labels": list(results.labels),
        "folds": list(results.folds),
        "utterances": sum(len(fold.labels) for fold in first),
        "speakers": len({str(speaker) for fold in first for speaker in fold.speakers}),
        "chance": 1 / len(results.labels),
        "bootstrap": {
            "resamples": metrics.RESAMPLES,
            "confidence": metrics.CONFIDENCE,
            "seed": results.experiment.training.seed,
        },
        "models": [_model_summary(results, model.name) for model in results.experiment.models],
        "pairs": [
            _pair_summary(results, model.name, model.twin)
            for model in results.experiment.models
            if model.twin is not None
        ],
    }


def training_seconds(results: Results) -> dict[str, dict[str, float]]:
    """How long each run took, by model and fold."""
    return {
        name: {fold: run.record.seconds for fold, run in zip(results.folds, runs, strict=True)}
        for name, runs in results.runs.items()
    }


def _model_summary(results: Results, name: str) -> dict[str, Any]:
    classes = len(results.labels)
    runs = results.runs[name]
    predictions = results.predictions(name)
    by_fold = metrics.fold_confusion(predictions, classes)
    bootstrap = metrics.speaker_bootstrap(predictions, classes, results.experiment.training.seed)
    wa, ua = metrics.weighted_accuracy(by_fold), metrics.unweighted_accuracy(by_fold)
    return {
        "name": name,
        "parameters": runs[0].record.parameters,
        "wa": _figure(wa, bootstrap.wa, results.folds),
        "ua": _figure(ua, bootstrap.ua, results.folds),
        "wa_binomial_se": metrics.binomial_standard_error(float(wa.mean()), int(by_fold.sum())),
        "confusion": by_fold.sum(0).tolist(),
        "best_epochs": {fold: run.record.best_epoch for fold, run in zip(results.folds, runs, strict=True)},
    }


def _figure(by_fold: metrics.Floats, interval: metrics.Interval, folds: Sequence[str]) -> dict[str, Any]:
    return {
        "mean": float(by_fold.mean()),
        "fold_sd": float(by_fold.std(ddof=1)),
        "interval": [interval.low, interval.high],
        "by_fold": dict(zip(folds, by_fold.tolist(), strict=True)),
    }


def _pair_summary(results: Results, name: str, twin: str) -> dict[str, Any]:
    difference = metrics.paired_difference(
        results.predictions(name),
        results.predictions(twin),
        len(results.labels),
        results.experiment.training.seed,
    )
    return {
        "model": name,
        "twin": twin,
        "ua_difference": difference.ua,
        "interval": [difference.interval.low, difference.interval.high],
        "only_model_right": difference.only_first_right,
        "only_twin_right": difference.only_second_right,
        "mcnemar_p": difference.mcnemar_p,
    }


def _read_run(folder: Path, experiment: config.Experiment, labels: Sequence[str]) -> FinishedRun:
    record = _read_record(folder / "run.json", experiment.training.epochs)
    lines = _read_predictions(folder / "predictions.jsonl", labels)
    index = {label: number for number, label in enumerate(labels)}
    return FinishedRun(
        record,
        tuple(line.id for line in lines),
        metrics.FoldPredictions(
            np.array([line.speaker for line in lines]),
            np.array([index[line.label] for line in lines]),
            np.array([index[line.prediction] for line in lines]),
        ),
    )


def _read_record(path: Path, epochs: int) -> RunRecord:
    record: RunRecord = _parsed(TypeAdapter(RunRecord), _read(path), str(path))
    if [epoch.epoch for epoch in record.epochs] != list(range(1, epochs + 1)):
        raise RecipeError(f"{path} does not hold the experiment's epochs 1 to {epochs}: delete the run, train it again")
    if not 1 <= record.best_epoch <= epochs:
        raise RecipeError(f"{path}: best_epoch is {record.best_epoch}, it must be between 1 and {epochs}")
    return record


def _read_predictions(path: Path, labels: Sequence[str]) -> list[Prediction]:
    adapter = TypeAdapter(Prediction)
    lines: dict[str, Prediction] = {}
    for number, text in enumerate(_read(path).rstrip("\n").split("\n"), start=1):
        where = f"{path}, line {number}"
        line = _parsed(adapter, text, where)
        for label in (line.label, line.prediction):
            if label not in labels:
                raise RecipeError(f"{where}: {label!r} is none of the labels {', '.join(labels)}")
        if line.id in lines:
            raise RecipeError(f"{where}: the utterance {line.id!r} stands there twice")
        lines[line.id] = line
    return [lines[name] for name in sorted(lines)]


def _parsed(adapter: TypeAdapter[Any], text: str, where: str) -> Any:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise RecipeError(f"{where}: {key + ': ' if key else ''}{first['msg']}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"there is no {path}: train this model for this fold, then report") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
