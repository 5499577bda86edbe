"""Run an experiment: read the corpus, write its manifest, encode features, train the runs, write the report."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ..config import Experiment
from ..corpora import caveats as corpus_caveats
from ..corpora import read_corpus
from ..corpora.detection import with_reader
from ..corpora.manifest import Manifest, write_manifest
from ..corpora.speaker_groups import are_speaker_groups
from ..encoders.feature_cache import FeatureCache, cached_features, feature_inputs, key_of, missing_utterances
from ..encoders.preprocessor import notes
from ..reports import report_tables, sentences
from ..reports.results import Results
from ..reports.run_files import Plan
from ..reports.writer import Section, write_report
from ..training.fold_caveats import fold_caveats
from ..training.folds import Fold, make_folds
from ..training.run_record import Run, run_folder
from ..utils.distributed import World
from ..utils.folder_lock import only_command_in
from ..utils.wording import PLAIN, counted, duration, listed
from .results_folder import keep_earlier_results


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
    overwrite: bool = False,
    dry_run: bool = False,
    option: str = "--out",
) -> dict[str, Any]:
    """Train the unfinished runs of an experiment, write the report, and print its tables.

    With the setting ``features``, it first encodes the utterances that the feature cache lacks. The processes that
    ``torchrun`` or ``accelerate launch`` starts share the encoding and train each run together.

    Args:
        experiment: The experiment.
        root: The results folder. It gets ``manifest.jsonl``, ``experiment.json``, ``runs/<model>/seed-<seed>/<fold>/``,
            ``metrics.json``, ``run_info.json``, ``report.md``, ``report.html`` and ``plots/``. A second command that
            writes to it at the same time raises an error if the system and the file system support ``flock``.
        cache: The folder of the feature caches, for the setting ``features``.
        console: Shows the progress and the tables and, if it is not a terminal, a line for each finished run.
        ray: The Ray cluster to train on: ``auto``, ``local`` or an address. Default: ``None``, train without Ray.
        more: Returns further sections of the report from the results and the content of ``metrics.json``. Default:
            ``None``, no further sections.
        manifest: The corpus. Default: read from ``experiment.corpus``.
        identity: The encoder's :func:`~temporal_shift.ser.encoders.pretrained.backbone_identity`. Default: computed.
        overwrite: Whether to replace finished runs that have other settings. Default: ``False``, they are an error.
        dry_run: Whether to print the number of runs and an estimate of the time, and return before anything is
            encoded, downloaded or written. Default: ``False``.
        option: The option that names ``root``, for messages. Default: ``"--out"``.

    Returns:
        The content of ``metrics.json``; an empty dictionary in all processes but the first, and for a dry run.

    Raises:
        RecipeError: If the corpus or the encoder cannot be read, a model does not fit the encoder, this machine does
            not support a setting, earlier results are invalid or have other settings, another command uses the results
            folder, a loss is not finite, a process ends before its run, or Ray is not installed or cannot be reached.
        KeyboardInterrupt: On Ctrl-C during the training. The text has the number of finished runs, and says which runs
            the same call continues or starts again.
    """
    started = time.perf_counter()
    world = World.joined()
    if not world.is_first:
        console = Console(quiet=True)
    root, cache = root.resolve(), cache.resolve()
    experiment = experiment.model_copy(update={"corpus": with_reader(experiment.corpus)})
    manifest = manifest or read_corpus(experiment.corpus)
    folds = make_folds(manifest, experiment.protocol.kind)
    plan = Plan(experiment, manifest.labels, tuple(fold.name for fold in folds))
    summary = _corpus_summary(experiment, manifest)
    caveats = [
        *corpus_caveats(manifest, experiment.corpus),
        *fold_caveats(manifest, folds, experiment.protocol.kind, experiment.corpus.groups),
    ]
    _print_plan(console, plan, manifest)
    _print_speaker_groups(console, manifest, folds)
    _warn(console, caveats)
    if dry_run and (not world.is_first or not _has_encoder(experiment, console)):
        return {}
    identity, key = _inputs(experiment, manifest, identity, allow_download=not dry_run)
    runs = [
        Run(
            *(experiment, model, fold, seed, manifest, key, None),
            run_folder(root, model.name, seed, fold.name),
            identity,
        )
        for model in experiment.models
        for seed in plan.seeds
        for fold in folds
    ]
    if dry_run:
        _print_estimate(console, experiment, runs, cache / key[:16], world)
        return {}
    for note in notes(experiment.backbone, identity):
        console.print(f"note: {note}", **PLAIN)
    with only_command_in(root, f"choose another {option}") if world.is_first else nullcontext():
        if world.is_first:
            keep_earlier_results(root, experiment, runs, overwrite=overwrite, option=option)
            plan.write(root)
            write_manifest(manifest, root / "manifest.jsonl")
            console.print(f"results folder: {root.resolve()}", **PLAIN)
        if experiment.setting == "features":
            features = _features(experiment, manifest, identity, cache, console, world)
            runs = [replace(run, cache=features) for run in runs]
            _check_models(experiment, manifest, features)
        _train(experiment, runs, console, world, ray)
        metrics: dict[str, Any] = {}
        if world.is_first:
            info = _run_info(experiment, manifest, key, identity)
            metrics = write_report(root, summary, info, more, caveats=caveats)
            console.print(report_tables.results(metrics).for_terminal())
            if metrics["pairs"]:
                console.print("Each model and its baseline: difference of UA in points")
                console.print(report_tables.differences(metrics["pairs"]).for_terminal())
            console.print("Selection bias: points gained by choosing the epoch on the test part")
            console.print(report_tables.selection(metrics).for_terminal())
            _warn(console, [*sentences.constant_models(metrics), *sentences.disagreeing_tests(metrics)])
            console.print(f"{root / 'report.html'} ({duration(time.perf_counter() - started)})", **PLAIN)
        world.wait()
    return metrics


def _print_plan(console: Console, plan: Plan, manifest: Manifest) -> None:
    models, folds, seeds = len(plan.experiment.models), len(plan.folds), len(plan.seeds)
    console.print(
        f"{plan.experiment.name}: {counted(len(manifest.utterances), 'utterance')}, "
        f"{counted(len(manifest.count('speaker')), 'speaker')}; "
        f"{counted(models, 'model')} x {counted(folds, 'fold')} x {counted(seeds, 'seed')} = "
        f"{counted(models * folds * seeds, 'run')}",
        **PLAIN,
    )


def _print_speaker_groups(console: Console, manifest: Manifest, folds: Sequence[Fold]) -> None:
    """If folds are groups of speakers, print the tested speakers of each fold. Other messages name only the groups."""
    if not are_speaker_groups(fold.name for fold in folds):
        return
    tested = {fold.name: sorted({manifest.utterances[index].speaker for index in fold.test}) for fold in folds}
    groups = "; ".join(f"{name}: {listed(speakers)}" for name, speakers in tested.items())
    console.print(f"each fold tests one group of speakers: {groups}", **PLAIN)


def _has_encoder(experiment: Experiment, console: Console) -> bool:
    """Whether the encoder's configuration is on this machine; if not, prints that the time cannot be estimated."""
    from ..encoders.model_files import ModelFiles  # these import transformers, which takes seconds
    from ..utils.hugging_face import check_folder_or_hub_name

    name, revision = experiment.backbone.name, experiment.backbone.revision
    check_folder_or_hub_name(name, "backbone")
    files = ModelFiles(name, revision, allow_download=False)
    if files.folder is None and files.find("config.json") is None:
        command = f"hf download {name}" + (f" --revision {revision}" if revision else "")
        console.print(
            f"the time cannot be estimated: the backbone {name} is not on this machine; download it with `{command}`",
            **PLAIN,
        )
        return False
    return True


def _print_estimate(console: Console, experiment: Experiment, runs: list[Run], cache: Path, world: World) -> None:
    from .estimate import estimate  # imports transformers, which takes seconds

    unfinished = [run for run in runs if not run.is_done()]
    if len(unfinished) < len(runs):
        console.print(f"{len(runs) - len(unfinished)} of {counted(len(runs), 'run')} finished", **PLAIN)
    missing = missing_utterances(runs[0].manifest, cache) if experiment.setting == "features" else 0
    for line in estimate(experiment, unfinished, missing, world.size).lines():
        console.print(line, **PLAIN)


def _warn(console: Console, caveats: Iterable[str]) -> None:
    for caveat in caveats:
        console.print(Text.assemble(("warning: ", "bold"), caveat), soft_wrap=True)


def _inputs(
    experiment: Experiment, manifest: Manifest, identity: dict[str, object] | None, *, allow_download: bool
) -> tuple[dict[str, object], str]:
    """Return the encoder's identity, and the key of the models' inputs."""
    from ..encoders.pretrained import backbone_identity  # imports transformers, which takes seconds

    identity = identity or backbone_identity(experiment.backbone, allow_download=allow_download)
    verified = experiment.corpus.reader != "manifest"  # all other readers hash the audio files themselves
    inputs = feature_inputs(
        manifest, experiment.backbone, experiment.features, identity=identity, audio_is_verified=verified
    )
    return identity, key_of(inputs)


def _features(
    experiment: Experiment,
    manifest: Manifest,
    identity: dict[str, object],
    cache: Path,
    console: Console,
    world: World,
) -> FeatureCache:
    with progress_bar(console) as progress:
        task = progress.add_task("features", total=None)
        features = cached_features(
            manifest,
            experiment.backbone,
            experiment.features,
            cache,
            lambda done, total: progress.update(task, completed=done, total=total),
            world,
            identity=identity,
            audio_is_verified=True,  # the reader has just hashed the audio, or _inputs() for a manifest
        )
        progress.update(task, completed=len(features), total=len(features))
    return features


def _check_models(experiment: Experiment, manifest: Manifest, features: FeatureCache) -> None:
    """Build each model on the meta device, so that a misfit is an error before the first run."""
    from ..models.frame_classifier import frame_classifier  # imports transformers, which takes seconds

    with torch.device("meta"):
        for model in experiment.models:
            frame_classifier(model, features.shape, manifest.labels, experiment.spec_augment)


def _train(experiment: Experiment, runs: list[Run], console: Console, world: World, ray: str | None) -> None:
    epochs = experiment.training.epochs
    waiting = [
        run for run, done in zip(runs, world.from_first([run.is_done() for run in runs]), strict=True) if not done
    ]
    earlier = finished = len(runs) - len(waiting)
    started = time.perf_counter()

    def on_done(run: Run) -> None:
        nonlocal finished
        finished += 1
        if not console.is_terminal:  # a terminal shows the bar
            elapsed = time.perf_counter() - started
            done = max(progress.tasks[task].completed, finished * epochs)  # counts the epochs of unfinished runs, too
            left = elapsed / (done - earlier * epochs) * (len(runs) * epochs - done)
            times = f"{duration(elapsed)}, about {duration(left)} left" if finished < len(runs) else duration(elapsed)
            console.print(f"{finished} of {counted(len(runs), 'run')} finished: {run.name} ({times})", **PLAIN)

    with progress_bar(console) as progress:
        task = progress.add_task("epochs", total=len(runs) * epochs, completed=finished * epochs)
        try:
            if waiting and ray is not None:
                from ..training.ray_pool import train_on_ray

                train_on_ray(waiting, ray, lambda: progress.advance(task), on_done)
            elif waiting:
                from ..training.local_pool import train_all  # imports transformers, which takes seconds

                train_all(waiting, experiment.processes, lambda: progress.advance(task), world, on_done)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_kept_runs(runs)) from None
        progress.update(task, completed=len(runs) * epochs)


def _kept_runs(runs: list[Run]) -> str:
    """The number of finished runs, and which of the others the same command continues or starts again."""
    unfinished = [run for run in runs if not run.is_done()]
    epochs = {run.name: epoch for run in unfinished if (epoch := run.epochs_in_checkpoint())}
    begun = [run for run in unfinished if (run.folder / "unfinished").exists() and run.name not in epochs]
    parts = [f"{len(runs) - len(unfinished)} of {counted(len(runs), 'run')} finished"]
    parts += [f"{name} continues after epoch {epoch}" for name, epoch in epochs.items()]
    seconds = runs[0].experiment.training.checkpoint_seconds
    parts += [
        f"{run.name} starts again (checkpoints are written at the end of an epoch, at most every {seconds:g} s)"
        for run in begun
    ]
    return "; ".join(parts)


def progress_bar(console: Console) -> Progress:
    """A bar with the finished steps, the elapsed time and an estimate of the remaining time."""
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
    clip, styles, sessions = experiment.features.clip_seconds, manifest.count("style"), manifest.count("session")
    padding = 1 - sum(min(each, clip) for each in seconds) / (clip * len(seconds))
    return {
        "note": experiment.corpus.note,
        "utterances": len(seconds),
        "speakers": len(manifest.count("speaker")),
        "speaker_groups" if are_speaker_groups(sessions) else "sessions": len(sessions),
        **({"style": {style or "unknown": count for style, count in styles.items()}} if any(styles) else {}),
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
