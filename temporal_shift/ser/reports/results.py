"""What training left on disk, read back and summed up: the runs of an experiment -> ``metrics.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from .. import config
from ..training import metrics
from ..training.epoch_choice import Chosen, best_test_epochs
from ..training.run_record import Prediction, RunRecord, run_folder
from ..utils.atomic_files import atomic_write
from ..utils.errors import RecipeError, raise_problems, sentences_of
from ..utils.text_files import json_lines


@dataclass(frozen=True, slots=True)
class Plan:
    """``experiment.json``: what was to be run, with the classes and the folds that its corpus gave."""

    experiment: config.Experiment
    labels: tuple[str, ...]
    folds: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        first = self.experiment.training.seed
        return tuple(range(first, first + self.experiment.seeds))

    def write(self, root: Path) -> None:
        content = {"experiment": self.experiment.model_dump(mode="json"), "labels": self.labels, "folds": self.folds}
        with atomic_write(root / "experiment.json") as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=False).encode())

    @classmethod
    def read(cls, root: Path) -> Plan:
        path = root / "experiment.json"
        if not path.is_file():
            raise RecipeError(f"there is no {path}: is {root} the folder of an experiment's results?")
        plan: Plan = _parsed(TypeAdapter(Plan), _read(path), str(path))
        return plan


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A run as it was read back; the utterances are in the order of their ids."""

    record: RunRecord
    utterances: tuple[str, ...]
    speakers: npt.NDArray[np.str_]
    labels: npt.NDArray[np.intp]
    logits: npt.NDArray[np.float32]  # (epochs, utterances, classes)

    def predictions(self, epoch: int) -> metrics.FoldPredictions:
        """What the model of an epoch, counted from 1, said."""
        return metrics.FoldPredictions(self.speakers, self.labels, self.logits[epoch - 1].argmax(axis=1))


@dataclass(frozen=True, slots=True)
class Results:
    """Every run of a plan: of each model, by seed and then by fold, in the plan's order."""

    plan: Plan
    runs: dict[str, tuple[tuple[FinishedRun, ...], ...]]

    @property
    def experiment(self) -> config.Experiment:
        return self.plan.experiment

    def predictions(
        self, model: str, epoch: Callable[[RunRecord], int] = lambda record: record.chosen.ua
    ) -> list[list[metrics.FoldPredictions]]:
        """A model's predictions by seed and fold, at an epoch of each run; by default, the one its UA is read off."""
        return [[run.predictions(epoch(run.record)) for run in folds] for folds in self.runs[model]]


def read_results(root: Path) -> Results:
    """Read ``experiment.json`` and its runs; raises :class:`RecipeError` naming what is missing or broken."""
    plan = Plan.read(root)
    names = [model.name for model in plan.experiment.models]
    runs = {
        name: tuple(
            tuple(read_run(run_folder(root, name, seed, fold), plan) for fold in plan.folds) for seed in plan.seeds
        )
        for name in names
    }
    for name in names:
        for seed, of_seed in zip(plan.seeds, runs[name], strict=True):
            for fold, run, reference in zip(plan.folds, of_seed, runs[names[0]][0], strict=True):
                if run.utterances != reference.utterances or not run.predictions(1).same_utterances(
                    reference.predictions(1)
                ):
                    raise RecipeError(
                        f"{run_folder(root, name, seed, fold) / 'predictions.jsonl'} tests other utterances than "
                        f"{names[0]} does: delete the run and train it again"
                    )
    return Results(plan, runs)


def summarize(results: Results) -> dict[str, Any]:
    """The content of ``metrics.json``: fractions, not percent, and nothing that depends on the clock or the machine."""
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
            pair_summary(results, model.name, results, model.baseline)
            for model in experiment.models
            if model.baseline is not None
        ],
    }


def pair_summary(ours: Results, name: str, theirs: Results, baseline: str) -> dict[str, Any]:
    """A model against another, which may be of other results, utterance by utterance."""
    difference = metrics.paired_difference(
        ours.predictions(name),
        theirs.predictions(baseline),
        len(ours.plan.labels),
        ours.experiment.training.seed,
    )
    return {
        "model": name,
        "baseline": baseline,
        "ua_difference": difference.ua,
        "interval": [difference.interval.low, difference.interval.high],
        "only_model_right": difference.only_first_right,
        "only_baseline_right": difference.only_second_right,
        "mcnemar_p": difference.mcnemar_p,
    }


def training_seconds(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """How long each run took, by model, seed and fold."""
    return {
        name: {
            str(seed): {fold: run.record.seconds for fold, run in zip(results.plan.folds, runs, strict=True)}
            for seed, runs in zip(results.plan.seeds, by_seed, strict=True)
        }
        for name, by_seed in results.runs.items()
    }


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
        "wa_binomial_se": metrics.binomial_standard_error(wa["mean"], int(confusion.sum()) // len(plan.seeds)),
        "confusion": confusion.tolist(),
        "epochs": {
            str(seed): {
                fold: {"wa": run.record.chosen.wa, "ua": run.record.chosen.ua}
                for fold, run in zip(plan.folds, runs, strict=True)
            }
            for seed, runs in zip(plan.seeds, results.runs[name], strict=True)
        },
        "best_test_epoch": best,  # what the published protocol would have claimed of these very runs
        "last_epoch": last,
        "selection_bias": {key: best[key] - honest[key] for key in ("wa", "ua")},
    }


def _figure(results: Results, name: str, measure: metrics.Measure, epoch: Callable[[RunRecord], int]) -> dict[str, Any]:
    plan, classes = results.plan, len(results.plan.labels)
    predictions = results.predictions(name, epoch)
    scores = np.array([measure(metrics.fold_confusion(folds, classes)) for folds in predictions])  # (seeds, folds)
    by_fold, by_seed = scores.mean(0), scores.mean(1)
    interval = metrics.speaker_bootstrap(measure, predictions, classes, plan.experiment.training.seed)
    return {
        "mean": float(scores.mean()),
        "fold_sd": float(by_fold.std(ddof=1)),
        "seed_sd": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        "interval": [interval.low, interval.high],
        "by_fold": dict(zip(plan.folds, by_fold.tolist(), strict=True)),
        "by_seed": dict(zip(map(str, plan.seeds), by_seed.tolist(), strict=True)),
    }


def _scores(results: Results, name: str, choice: Callable[[RunRecord], Chosen]) -> dict[str, float]:
    """Means over seeds and folds of the test scores that training wrote down, at the epochs of a choice."""
    chosen = [(run.record.epochs, choice(run.record)) for folds in results.runs[name] for run in folds]
    return {
        "wa": float(np.mean([epochs[epoch.wa - 1].test.wa for epochs, epoch in chosen])),
        "ua": float(np.mean([epochs[epoch.ua - 1].test.ua for epochs, epoch in chosen])),
    }


def read_run(folder: Path, plan: Plan) -> FinishedRun:
    record = _read_record(folder / "run.json", plan.experiment.training.epochs)
    lines = _read_predictions(folder / "predictions.jsonl", plan.labels)
    logits = _read_logits(folder / "test_logits.npy", (len(record.epochs), len(lines), len(plan.labels)))
    index = {label: number for number, label in enumerate(plan.labels)}
    order = sorted(range(len(lines)), key=lambda number: lines[number].id)
    return FinishedRun(
        record,
        tuple(lines[number].id for number in order),
        np.array([lines[number].speaker for number in order]),
        np.array([index[lines[number].label] for number in order]),
        logits[:, order],
    )


def _read_record(path: Path, epochs: int) -> RunRecord:
    record: RunRecord = _parsed(TypeAdapter(RunRecord), _read(path), str(path))
    if [epoch.epoch for epoch in record.epochs] != list(range(1, epochs + 1)):
        raise RecipeError(f"{path} does not hold the experiment's epochs 1 to {epochs}: delete the run, train it again")
    for name, epoch in (("wa", record.chosen.wa), ("ua", record.chosen.ua)):
        if not 1 <= epoch <= epochs:
            raise RecipeError(f"{path}: chosen.{name} is {epoch}, it must be between 1 and {epochs}")
    return record


def _read_logits(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    try:
        logits: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise RecipeError(f"there is no {path}: train this model for this fold, then report") from None
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    if logits.shape != shape:
        raise RecipeError(f"{path} holds {logits.shape}, not (epochs, utterances, classes) = {shape}")
    return logits


def _read_predictions(path: Path, labels: Sequence[str]) -> list[Prediction]:
    problems: list[str] = []
    found: dict[str, Prediction] = {}
    for where, prediction in json_lines(_read(path), path, Prediction, problems):
        for label in (prediction.label, prediction.prediction):
            if label not in labels:
                problems.append(f"{where}: {label!r} is none of the labels {', '.join(labels)}")
        if prediction.id in found:
            problems.append(f"{where}: the utterance {prediction.id!r} stands there twice")
        found[prediction.id] = prediction
    raise_problems(problems)
    return list(found.values())


def _parsed(adapter: TypeAdapter[Any], text: str, where: str) -> Any:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentences_of(error)[0]}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"there is no {path}: train this model for this fold, then report") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
