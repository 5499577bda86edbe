"""Read the files of an experiment's runs, and summarise them for ``metrics.json``."""

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
from ..utils.errors import RecipeError, shortened
from . import summary
from .run_files import FinishedRun, Plan, read_run, train_again
from .summary import Tested, summarize_predictions

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Results:
    """Every run of a plan, by model, seed and fold in the plan's order."""

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

    def tested(self) -> Tested:
        """The predictions at the chosen epochs."""
        return Tested(
            self.plan.labels,
            self.plan.folds,
            self.plan.seeds,
            {name: self.predictions(name) for name in self.runs},
            {name: self.predictions(name, lambda record: record.chosen.wa) for name in self.runs},
            self.experiment.training.seed,
        )

    def by_seed_and_fold(self, model: str, value: Callable[[RunRecord], T]) -> dict[str, dict[str, T]]:
        """A value of each run of a model, by seed and fold."""
        return {
            str(seed): {fold: value(run.record) for fold, run in zip(self.plan.folds, runs, strict=True)}
            for seed, runs in zip(self.plan.seeds, self.runs[model], strict=True)
        }


def read_results(root: Path) -> Results:
    """Read ``experiment.json`` and its runs.

    Raises:
        RecipeError: If a file is missing or invalid, two runs have different test utterances in a fold, or different
            features, utterances or labels, or two folds test the same utterance.
    """
    plan = Plan.read(root)
    runs: dict[str, tuple[tuple[FinishedRun, ...], ...]] = {}
    reference: dict[str, FinishedRun] = {}  # the first model's first run of each fold
    for model in plan.experiment.models:
        runs[model.name] = tuple(
            tuple(read_run(run_folder(root, model.name, seed, fold), plan) for fold in plan.folds)
            for seed in plan.seeds
        )
        for seed, of_seed in zip(plan.seeds, runs[model.name], strict=True):
            for fold, run in zip(plan.folds, of_seed, strict=True):
                first = reference.setdefault(fold, run)
                if difference := run.test_part_difference(first):
                    folder = run_folder(root, model.name, seed, fold)
                    raise RecipeError(
                        f"{folder / 'predictions.jsonl'} must contain the same utterances, speakers and labels as the "
                        f"run of {first.record.model}, seed {first.record.seed}, got {difference}: "
                        f"{train_again(folder)}"
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
            got = [
                f"{shortened(value, 16)} in {run_folder(root, run.record.model, run.record.seed, run.record.fold)}"
                for value, run in found.items()
            ]
            raise RecipeError(
                f"{root}: all runs must have the same {key}, got {' and '.join(got[:2])}: delete the folders of the "
                "outdated runs, then repeat the command that trained them"
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
    """The content of ``metrics.json`` without the calibration, as fractions, not percent.

    It does not contain times or properties of the machine. :func:`.calibration.add_calibration` adds the calibration.
    """
    experiment = results.experiment
    comparisons = [(model.name, baseline) for model in experiment.models for baseline in model.baseline]
    found = summarize_predictions(results.tested(), comparisons)
    return {
        "experiment": experiment.name,
        "setting": experiment.setting,
        "protocol": experiment.protocol.kind,
        **found,
        "models": [_with_training(results, model) for model in found["models"]],
    }


def model_summary(results: Results, name: str) -> dict[str, Any]:
    """The part of ``metrics.json`` about one model, without the calibration."""
    return _with_training(results, summary.model_summary(results.tested(), name))


def training_seconds(results: Results) -> dict[str, dict[str, dict[str, float]]]:
    """The seconds from the start, or the last continuation, of each run to its end, by model, seed and fold."""
    return {name: results.by_seed_and_fold(name, lambda record: record.seconds) for name in results.runs}


def _with_training(results: Results, found: dict[str, Any]) -> dict[str, Any]:
    """A model's figures, with figures from its learning curves."""
    name = found["name"]
    best = _scores(results, name, lambda record: best_test_epochs(record.epochs))
    last = _scores(results, name, lambda record: Chosen(len(record.epochs), len(record.epochs)))
    honest = last if results.experiment.protocol.kind == "paper" else {key: found[key]["mean"] for key in ("wa", "ua")}
    return {
        "name": name,
        "parameters": results.runs[name][0][0].record.parameters,
        **found,
        "epochs": results.by_seed_and_fold(name, lambda record: asdict(record.chosen)),
        "best_test_epoch": best,  # what the paper's protocol would report
        "last_epoch": last,
        "selection_bias": {key: best[key] - honest[key] for key in ("wa", "ua")},
    }


def _scores(results: Results, name: str, choice: Callable[[RunRecord], Chosen]) -> dict[str, float]:
    """Means over seeds and folds of the recorded test scores, at the chosen epochs."""
    chosen = [(run.record.epochs, choice(run.record)) for folds in results.runs[name] for run in folds]
    return {
        "wa": float(np.mean([epochs[epoch.wa - 1].test.wa for epochs, epoch in chosen])),
        "ua": float(np.mean([epochs[epoch.ua - 1].test.ua for epochs, epoch in chosen])),
    }
