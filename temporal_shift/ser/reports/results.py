"""The files of an experiment's runs, read back and summarised: the content of ``metrics.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .. import config
from ..training import metrics
from ..training.epoch_choice import Chosen, best_test_epochs
from ..training.run_record import RunRecord, run_folder
from ..utils.errors import RecipeError
from .run_files import TRAIN_AGAIN, FinishedRun, Plan, read_run

T = TypeVar("T")


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
                        f"utterances of {plan.experiment.models[0].name}: {TRAIN_AGAIN}"
                    )
    _check_disjoint(root, reference)
    _check_same_inputs(root, [run for seeds in runs.values() for of_seed in seeds for run in of_seed])
    return Results(plan, runs)


def _check_same_inputs(root: Path, runs: Sequence[FinishedRun]) -> None:
    for key in ("features", "utterances", "labels"):
        found: dict[str, FinishedRun] = {}
        for run in runs:
            found.setdefault(str(run.record.inputs.get(key)), run)
        if len(found) > 1:
            first, other = [run.record for run in found.values()][:2]
            raise RecipeError(
                f"{root}: all runs must have the same {key}, got others in {first.model}, fold {first.fold}, and "
                f"{other.model}, fold {other.fold}: {TRAIN_AGAIN}"
            )


def _check_disjoint(root: Path, runs: Mapping[str, FinishedRun]) -> None:
    tested: dict[str, str] = {}
    for fold, run in runs.items():
        for utterance in run.utterances:
            if tested.setdefault(utterance, fold) != fold:
                raise RecipeError(
                    f"{root}: each utterance must be in the test part of one fold, got {utterance!r} in "
                    f"{tested[utterance]} and {fold}"
                )


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
        "models": [model_summary(results, model.name) for model in experiment.models],
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


def model_summary(results: Results, name: str) -> dict[str, Any]:
    """The part of ``metrics.json`` about one model."""
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
