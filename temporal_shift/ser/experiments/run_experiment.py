"""Run an experiment: corpus -> manifest -> features -> runs -> report. Each step writes files."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..config import Experiment
from ..corpora import read_corpus
from ..corpora.manifest import Manifest, write_manifest
from ..encoders.feature_cache import FeatureCache, cached_features, feature_inputs, key_of
from ..reports import report_tables
from ..reports.results import Plan, Results
from ..reports.writer import Section, write_report
from ..training.folds import make_folds
from ..training.run_record import Run, run_folder
from ..utils.distributed import World


def run_experiment(
    experiment: Experiment,
    root: Path,
    cache: Path,
    console: Console,
    *,
    ray: str | None = None,
    more: Callable[[Results, dict[str, Any]], list[Section]] | None = None,
    manifest: Manifest | None = None,
    identity: dict[str, object] | None = None,
) -> dict[str, Any]:
    """Encode the corpus, train every run that is not finished, write the report, and print its tables.

    The processes that ``torchrun`` or ``accelerate launch`` starts share the encoding and train each run together.

    Args:
        experiment: The experiment.
        root: The results folder. It gets ``manifest.jsonl``, ``experiment.json``, ``runs/<model>/<seed>/<fold>/``,
            ``metrics.json``, ``run_info.json``, ``report.md``, ``report.html`` and ``plots/``.
        cache: The folder of the feature caches.
        console: Shows the progress and the tables.
        ray: The address of a Ray cluster to train on. Default: train on this machine.
        more: Returns further sections of the report.
        manifest: The corpus. Default: read from ``experiment.corpus``.
        identity: The backbone's :func:`~temporal_shift.ser.encoders.pretrained.backbone_identity`. Default: computed.

    Returns:
        The content of ``metrics.json``; an empty dictionary in all processes but the first.

    Raises:
        RecipeError: If the corpus or the backbone cannot be read, or earlier results are invalid.
    """
    started = time.perf_counter()
    world = World.joined()
    if not world.is_first:
        console = Console(quiet=True)
    root, cache = root.resolve(), cache.resolve()
    manifest = manifest or read_corpus(experiment.corpus)
    folds = make_folds(manifest, experiment.protocol.kind)
    plan = Plan(experiment, manifest.labels, tuple(fold.name for fold in folds))
    summary = _corpus_summary(experiment, manifest)
    console.print(f"{experiment.name}: {summary['utterances']} utterances, {summary['speakers']} speakers")
    if world.is_first:
        write_manifest(manifest, root / "manifest.jsonl")
        plan.write(root)
    if identity is None:
        from ..encoders.pretrained import backbone_identity  # imports transformers, which takes seconds

        identity = backbone_identity(experiment.backbone)
    from ..encoders.preprocessor import notes

    for note in notes(experiment.backbone, identity):
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    key, features = _data(experiment, manifest, identity, cache, console, world)
    runs = [
        Run(
            *(experiment, model, fold, seed, manifest, key, features),
            run_folder(root, model.name, seed, fold.name),
            identity,
        )
        for model in experiment.models
        for seed in plan.seeds
        for fold in folds
    ]
    _train(experiment, runs, console, world, ray)
    metrics: dict[str, Any] = {}
    if world.is_first:
        metrics = write_report(root, summary, _run_info(experiment, manifest, key, identity), more)
        console.print(report_tables.results(metrics).for_terminal())
        console.print("Selection bias: points that choosing the epoch on the test part would add")
        console.print(report_tables.selection(metrics).for_terminal())
        console.print(f"{root / 'report.html'} ({time.perf_counter() - started:.0f} s)", soft_wrap=True)
    world.wait()
    return metrics


def _data(
    experiment: Experiment,
    manifest: Manifest,
    identity: dict[str, object],
    cache: Path,
    console: Console,
    world: World,
) -> tuple[str, FeatureCache | None]:
    """The key of the models' inputs, and the cached frames unless the backbone is fine-tuned."""
    verified = experiment.corpus.reader != "manifest"  # every other reader hashes the audio files itself
    if experiment.setting == "finetune":
        inputs = feature_inputs(
            manifest, experiment.backbone, experiment.features, identity=identity, audio_is_verified=verified
        )
        return key_of(inputs), None
    with _progress(console) as progress:
        task = progress.add_task("features", total=None)
        features = cached_features(
            manifest,
            experiment.backbone,
            experiment.features,
            cache,
            lambda done, total: progress.update(task, completed=done, total=total),
            world,
            identity=identity,
            audio_is_verified=verified,
        )
        progress.update(task, completed=len(features), total=len(features))
    return features.key, features


def _train(experiment: Experiment, runs: list[Run], console: Console, world: World, ray: str | None) -> None:
    epochs = experiment.training.epochs
    waiting = [
        run for run, done in zip(runs, world.from_first([run.is_done() for run in runs]), strict=True) if not done
    ]
    with _progress(console) as progress:
        task = progress.add_task("epochs", total=len(runs) * epochs, completed=(len(runs) - len(waiting)) * epochs)
        if waiting and ray is not None:
            from ..training.ray_pool import train_on_ray

            train_on_ray(waiting, ray, lambda: progress.advance(task))
        elif waiting:
            from ..training.local_pool import train_all  # imports transformers, which takes seconds

            train_all(waiting, experiment.processes, lambda: progress.advance(task), world)
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
    seconds = [utterance.seconds for utterance in manifest.utterances]
    clip = experiment.features.clip_seconds
    padding = 1 - sum(min(each, clip) for each in seconds) / (clip * len(seconds))
    return {
        "note": experiment.corpus.note,
        "utterances": len(seconds),
        "speakers": len(manifest.count("speaker")),
        "sessions": len(manifest.count("session")),
        "style": {style or "unknown": count for style, count in manifest.count("style").items()},
        "classes": dict(manifest.count("label")),
        "minutes": round(manifest.minutes, 1),
        "cut at the clip's end": sum(each > clip for each in seconds),
        "padding of the clips": f"{100 * padding:.1f} %",
    }


def _run_info(experiment: Experiment, manifest: Manifest, key: str, identity: dict[str, object]) -> dict[str, object]:
    return {
        **{name: version(name) for name in ("temporal-shift", "torch", "transformers", "accelerate", "numpy")},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cores": os.cpu_count(),
        "processes": experiment.processes,
        "backbone": identity,
        "features": key,
        "corpus": hashlib.sha256("".join(utterance.sha256 for utterance in manifest.utterances).encode()).hexdigest(),
    }
