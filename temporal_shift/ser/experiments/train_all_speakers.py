"""Train a model on all speakers, after a cross-validation that gives the number of epochs and the results."""

from __future__ import annotations

import math
import statistics
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..config import Experiment, Model
from ..corpora import read_corpus
from ..corpora.manifest import Manifest
from ..encoders.feature_cache import cached_features
from ..reports.calibration import ValidationParts, model_calibration
from ..reports.results import Results, read_results
from ..training.all_speakers_run import AllSpeakersRun, all_speakers_folder, all_utterances, train_on_all_speakers
from ..training.run_record import MODEL_FILE
from ..utils.distributed import World
from ..utils.errors import RecipeError
from ..utils.folder_lock import only_command_in
from ..utils.wording import PLAIN, counted
from .package_run import check_package, common_facts, cross_validated, model_named, save_package, trained_model
from .results_folder import keep_earlier_results
from .run_experiment import progress_bar, run_experiment


def train_all_speakers(
    experiment: Experiment,
    model: str,
    root: Path,
    cache: Path,
    out: Path,
    console: Console,
    *,
    holds_backbone: bool = True,
    half: bool = False,
    overwrite: bool = False,
) -> None:
    """Cross-validate an experiment, train one of its models on all utterances, and package it with its card.

    The training on all utterances uses the experiment's settings and its first seed. It stops after the median (rounded
    up) of the epochs that the model's cross-validation runs chose on their validation parts; with the protocol
    ``last``, after ``training.epochs``. Finished runs are kept, and the same call continues where it stopped.

    Args:
        experiment: The experiment.
        model: The model's name in the experiment.
        root: The results folder of the experiment, as for :func:`~.run_experiment.run_experiment`. The training on
            all utterances is in ``all-speakers/<model>/``.
        cache: The folder of the feature caches.
        out: The folder to write the model to. It must not exist.
        console: Shows the progress and the tables.
        holds_backbone: See :func:`~temporal_shift.ser.experiments.package_run.package`. Default: ``True``.
        half: See :func:`~temporal_shift.ser.experiments.package_run.package`. Default: ``False``.
        overwrite: Whether to replace finished runs that have other settings. Default: ``False``, they are an error.

    Raises:
        RecipeError: If the model does not exist, the protocol is ``paper``, ``out`` exists, or ``holds_backbone`` is
            false for a fine-tuned encoder; also see :func:`~.run_experiment.run_experiment`.
        KeyboardInterrupt: On Ctrl-C during a training. The text says where the same call continues.
    """
    settings = model_named(model, experiment)
    if experiment.protocol.kind == "paper":
        raise RecipeError(
            "protocol.kind must be heldout, speaker or last to train on all speakers, got paper: the test parts would "
            "choose the number of epochs"
        )
    check_package(experiment, out, holds_backbone=holds_backbone)
    from ..encoders.pretrained import backbone_identity  # imports transformers, which takes seconds

    root, cache = root.resolve(), cache.resolve()
    manifest = read_corpus(experiment.corpus)
    identity = backbone_identity(experiment.backbone)
    options: dict[str, Any] = {"overwrite": overwrite, "option": "--results"}
    run_experiment(experiment, root, cache, console, manifest=manifest, identity=identity, **options)
    world = World.joined()
    with only_command_in(root, "choose another --results") if world.is_first else nullcontext():
        results = read_results(root)
        run = _run(results, settings, root, manifest, identity)
        if world.is_first:
            keep_earlier_results(root, experiment, [run], **options)
        if not world.from_first(run.is_done()):
            _train(run, cache, console, world)
        if world.is_first:
            facts = _facts(results, manifest, run)
            calibration = model_calibration(ValidationParts(root, results.plan), results, model)
            weights = run.folder / MODEL_FILE
            whole = trained_model(experiment, manifest, settings, weights, facts, calibration)
            save_package(whole, experiment, out, holds_backbone=holds_backbone, half=half)
        world.wait()


def number_of_epochs(results: Results, model: str) -> int:
    """The median of the epochs that a model's runs report, rounded up."""
    return math.ceil(statistics.median(_chosen(results, model)))


def _chosen(results: Results, model: str) -> list[int]:
    return [run.record.chosen.ua for of_seed in results.runs[model] for run in of_seed]


def _run(results: Results, model: Model, root: Path, manifest: Manifest, identity: dict[str, object]) -> AllSpeakersRun:
    experiment = results.experiment
    return AllSpeakersRun(
        experiment,
        model,
        all_utterances(manifest),
        experiment.training.seed,
        manifest,
        results.runs[model.name][0][0].record.inputs["features"],  # all runs have the same key
        None,
        all_speakers_folder(root, model.name),
        identity,
        epochs=number_of_epochs(results, model.name),
    )


def _train(run: AllSpeakersRun, cache: Path, console: Console, world: World) -> None:
    experiment = run.experiment
    if experiment.setting == "features":
        features = cached_features(
            *(run.manifest, experiment.backbone, experiment.features, cache),
            world=world,
            identity=run.identity,
            audio_is_verified=True,  # run_experiment has just computed the key
        )
        run = replace(run, cache=features)
    console.print(
        f"{run.model.name}: training on all {counted(len(run.manifest.utterances), 'utterance')} for "
        f"{counted(run.epochs, 'epoch')}",
        **PLAIN,
    )
    with progress_bar(console) as progress:
        task = progress.add_task("epochs", total=run.epochs, completed=run.epochs_in_checkpoint())
        try:
            train_on_all_speakers(run, lambda: progress.advance(task), world)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"{run.name} continues after epoch {run.epochs_in_checkpoint()}") from None


def _facts(results: Results, manifest: Manifest, run: AllSpeakersRun) -> dict[str, Any]:
    """The facts for the card of a model that was trained on all speakers."""
    chosen = _chosen(results, run.model.name)
    return {
        **common_facts(results.plan, manifest, run.model.name),
        "seed": run.seed,
        "epochs": run.experiment.training.epochs,
        "epoch": run.epochs,
        "epochs_of_folds": {"lowest": min(chosen), "highest": max(chosen)},
        "trained_on": len(manifest.utterances),
        "all_folds": cross_validated(results, run.model.name),
    }
