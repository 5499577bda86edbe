"""The whole way, step by step: corpus -> manifest -> features -> runs -> report. Each arrow is a file."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .config import Experiment
from .corpora import read_corpus
from .features import FeatureCache, cached_features
from .manifest import Manifest, heldout_folds, write_manifest
from .report import results_table, write_report
from .runs import Run


def run_experiment(experiment: Experiment, root: Path, cache: Path, console: Console) -> dict[str, Any]:
    """Do what is not done yet, report all of it, and print the table.

    Args:
        experiment: What to run.
        root: The results: ``manifest.jsonl``, ``runs/<model>/<fold>/``, ``metrics.json``, ``report.md`` and
            ``report.html``, ``plots/``.
        cache: The folder of the feature caches.
        console: Where the progress and the table go.

    Returns:
        The content of ``metrics.json``.

    Raises:
        RecipeError: If the corpus, the backbone or earlier results are not as they must be.
    """
    started = time.perf_counter()
    manifest = read_corpus(experiment.corpus)
    folds = heldout_folds(manifest)
    summary = _corpus_summary(experiment, manifest)
    console.print(f"{experiment.name}: {summary['utterances']} utterances, {summary['speakers']} speakers")
    write_manifest(manifest, root / "manifest.jsonl")
    features = _encode(experiment, manifest, cache, console)
    runs = [
        Run(experiment, model, fold, manifest, features, root / "runs" / model.name / fold.name)
        for model in experiment.models
        for fold in folds
    ]
    _train(experiment, runs, console)
    names = [fold.name for fold in folds]
    metrics = write_report(root, experiment, manifest.labels, names, summary, _run_info(experiment))
    console.print(results_table(metrics))
    console.print(f"{root / 'report.html'} ({time.perf_counter() - started:.0f} s)", soft_wrap=True)
    return metrics


def _encode(experiment: Experiment, manifest: Manifest, cache: Path, console: Console) -> FeatureCache:
    with _progress(console) as progress:
        task = progress.add_task("features", total=None)
        features = cached_features(
            manifest,
            experiment.backbone,
            experiment.features,
            cache,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
        progress.update(task, completed=len(features), total=len(features))
    return features


def _train(experiment: Experiment, runs: list[Run], console: Console) -> None:
    epochs = experiment.training.epochs
    waiting = [run for run in runs if not run.is_done()]
    with _progress(console) as progress:
        done = (len(runs) - len(waiting)) * epochs
        task = progress.add_task("epochs", total=len(runs) * epochs, completed=done)
        if waiting:
            from .processes import train_all  # with it comes transformers, which takes seconds to import

            train_all(waiting, experiment.processes, lambda: progress.advance(task))
        progress.update(task, completed=len(runs) * epochs)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _corpus_summary(experiment: Experiment, manifest: Manifest) -> dict[str, object]:
    utterances = manifest.utterances
    clip = experiment.features.clip_seconds
    return {
        "note": experiment.corpus.note,
        "utterances": len(utterances),
        "speakers": len({utterance.speaker for utterance in utterances}),
        "sessions": len({utterance.session for utterance in utterances}),
        "classes": dict(Counter(utterance.label for utterance in utterances)),
        "minutes": round(sum(utterance.seconds for utterance in utterances) / 60, 1),
        "cut at the clip's end": sum(utterance.seconds > clip for utterance in utterances),
    }


def _run_info(experiment: Experiment) -> dict[str, object]:
    return {
        **{name: version(name) for name in ("temporal-shift", "torch", "transformers", "accelerate", "numpy")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cores": os.cpu_count(),
        "processes": experiment.processes,
    }
