"""The results folder before an experiment writes to it: one command at a time, no results replaced unasked."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..config import Experiment
from ..reports.run_files import Plan
from ..training.run_record import Run
from ..utils.atomic_files import make_folder
from ..utils.errors import RecipeError
from ..utils.wording import counted, listed

try:
    import fcntl
except ModuleNotFoundError:  # Windows: two commands in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

_OURS = ("manifest.jsonl", "metrics.json", "run_info.json", "report.md", "report.html", "plots", "runs")

# hashes among a run's inputs: the sections of the experiment that they depend on, and what else can change them
_HASHES = {
    "features": (("corpus", "backbone", "features"), "the audio files or the encoder's files"),
    "utterances": (("corpus",), "the utterances, labels or speakers of the corpus"),
    "fold": (("corpus", "protocol"), "the utterances of the folds"),
}


@contextmanager
def only_command_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a results folder; the system releases it when the process ends, even if it is killed.

    Without support for locks (Windows, some network file systems) this does nothing.

    Raises:
        RecipeError: If another process holds it.
    """
    make_folder(folder)
    path = folder / ".lock"
    descriptor = _lock(path)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink()  # before the lock's end, so that the next command makes a new file
            os.close(descriptor)


def _lock(path: Path) -> int | None:
    while fcntl is not None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(path, descriptor):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                return descriptor
            os.close(descriptor)  # the command that held the lock has just deleted its file: lock the new one
        except OSError as error:
            owner = os.read(descriptor, 200).decode(errors="replace").strip()
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                    return None
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise RecipeError(
                f"{path.parent} is in use by {owner or 'another process'}: wait for its end, or choose another --out"
            ) from None
    return None


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def keep_earlier_results(root: Path, experiment: Experiment, runs: Sequence[Run], *, overwrite: bool) -> None:
    """Check that an experiment adds to what its results folder contains, and replaces no finished run.

    Settings that do not change results may differ, and so may the models and the number of seeds: their runs are added.

    Args:
        runs: All runs of the experiment. They need no feature cache.
        overwrite: Whether to forget finished runs of other settings instead, so that they are trained again.
    Raises:
        RecipeError: If finished runs have other settings, with the settings that changed; or if the folder contains
            files with the names of results, but is not a results folder.
    """
    if not overwrite and not (root / "experiment.json").exists():
        found = [name for name in _OURS if (root / name).exists()]
        if found:
            raise RecipeError(
                f"--out must be a new folder or a results folder, got {root}, which contains {', '.join(found)} but "
                "no experiment.json; --overwrite replaces them"
            )
    replaced = [(run, inputs) for run in runs if (inputs := run.recorded_inputs()) not in (None, run.inputs)]
    if replaced and not overwrite:
        changes = list(dict.fromkeys(change for run, before in replaced for change in _changes(root, run, before)))
        raise RecipeError(
            f"{root} contains {counted(len(replaced), 'run')} of other settings "
            f"({listed(changes, most=8, separator='; ')}): choose another --out, or replace the runs with --overwrite"
        )
    for run, _ in replaced:
        run.forget()


def _changes(root: Path, run: Run, before: Any) -> Iterator[str]:
    """Each changed setting of a run, as ``key: old -> new``."""
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
