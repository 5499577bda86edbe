"""Check a results folder before an experiment writes to it, so that results are replaced only on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config import Experiment
from ..reports.run_files import Plan
from ..training.run_record import Run
from ..utils.errors import RecipeError
from ..utils.wording import counted, listed

_OURS = ("manifest.jsonl", "metrics.json", "run_info.json", "report.md", "report.html", "plots", "runs", "all-speakers")

# hashes in a run's inputs: the sections of the YAML that they depend on, and what else changes them
_HASHES = {
    "features": (("corpus", "backbone", "features"), "the audio files or the encoder's files"),
    "utterances": (("corpus",), "the utterances, labels or speakers of the corpus"),
    "fold": (("corpus", "protocol"), "the utterances of the folds"),
}


def keep_earlier_results(
    root: Path, experiment: Experiment, runs: Sequence[Run], *, overwrite: bool, option: str = "--out"
) -> None:
    """Check that an experiment adds to what its results folder contains, and replaces no finished run.

    Settings that do not affect results may differ. Other models and seeds add runs. With ``overwrite``, finished runs
    that have other settings are discarded, so that they are trained again.

    Args:
        root: The results folder.
        experiment: The experiment.
        runs: All runs of the experiment. They need no feature cache.
        overwrite: Whether to discard finished runs with other settings, and to accept a folder that is not a results
            folder, instead of raising an error.
        option: The option that names the folder, for messages. Default: ``"--out"``.
    Raises:
        RecipeError: If finished runs have other settings (the message names the changes), or if the folder contains
            files with the names of results but is not a results folder.
    """
    if not overwrite and not (root / "experiment.json").exists():
        found = [name for name in _OURS if (root / name).exists()]
        if found:
            raise RecipeError(
                f"{option} must be a new folder or a results folder, got {root}, which contains {', '.join(found)} but "
                "no experiment.json; pass --overwrite to use it"
            )
    replaced = [(run, inputs) for run in runs if (inputs := run.recorded_inputs()) not in (None, run.inputs)]
    if replaced and not overwrite:
        changes = list(dict.fromkeys(change for run, before in replaced for change in _changes(root, run, before)))
        raise RecipeError(
            f"{root} contains {counted(len(replaced), 'run')} with other settings "
            f"({listed(changes, most=8, separator='; ')}): choose another {option}, or replace the runs with "
            "--overwrite"
        )
    for run, _ in replaced:
        run.forget()


def _changes(root: Path, run: Run, before: Any) -> Iterator[str]:
    """Each changed setting of a run, as ``key: old -> new``, and each changed input that no setting explains."""
    now = run.inputs
    if not isinstance(before, dict):
        before = {}
    explained: dict[str, None] = {}
    for key in sorted({*before, *now} - {*_HASHES}):
        name = {"model": f"models.{run.model.name}", "protocol": "protocol.kind"}.get(key, key)
        explained.update(dict.fromkeys(_differences(before.get(key), now.get(key), name)))
    for key, (sections, otherwise) in _HASHES.items():
        if before.get(key) != now.get(key):
            found = dict.fromkeys(_changed_sections(root, run.experiment, sections))
            explained.update(found or {f"{otherwise} changed": None})
    yield from explained


def _changed_sections(root: Path, experiment: Experiment, sections: Sequence[str]) -> Iterator[str]:
    try:
        before = Plan.read(root).experiment.model_dump(mode="json")
    except RecipeError:
        return
    now = experiment.model_dump(mode="json")
    for section in sections:
        yield from (each for each in _differences(before[section], now[section], section) if "corpus.note" not in each)


def _differences(before: Any, now: Any, key: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}")
    elif before != now:
        yield f"{key}: {_shown(before)} -> {_shown(now)}"


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
