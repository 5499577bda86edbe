"""Records as JSON lines, each with its result, machine, versions, commit and date.

A line is a *measurement* (time or memory of our implementation, its floor and the others), a *count* (exact figures) or
a *goal* (a bound on a figure). All lines have the same first fields, so any program that reads JSON lines can join and
filter records.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Iterable
from datetime import date
from importlib import metadata
from pathlib import Path

import torch

from temporal_shift.ser.utils.atomic_files import atomic_write

from .devices import INTERPRETER
from .measurements import Line

FOLDER = Path("benchmarks/records")
PACKAGES = ("torch", "triton", "x-transformers", "transformers")


def environment(device: str | None = None) -> Line:
    """Versions, commit and date; with ``device``, also its name and the number of threads."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    found = {"date": date.today().isoformat(), "commit": commit(), "versions": versions}
    if device is None:
        return {"device": None, "threads": None, **found}
    if device == "cuda":
        return {"device": torch.cuda.get_device_name(), "threads": None, **found}
    place = "Triton's interpreter on " if device == INTERPRETER else ""
    return {"device": place + _cpu(), "threads": torch.get_num_threads(), **found}


def commit() -> str | None:
    """The commit, with a plus if the code has uncommitted changes; ``None`` outside a git repository."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "temporal_shift", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+" * bool(changed)


def make_folder(out: Path, parser: argparse.ArgumentParser) -> None:
    """Create the folder of ``--out``. Called before measuring: an invalid folder must not cost the figures."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder, got {out}: {error.strerror}")


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write a record atomically: readers see the old or the new file."""
    with atomic_write(path) as file:
        for line in lines:
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> list[Line]:
    """Read the lines of a record.

    Raises:
        ValueError: If a line is invalid; the message has its number.
    """
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            missing = {"suite", "kind", "what"} - line.keys()
        except (ValueError, AttributeError):
            raise ValueError(f"{path}, line {number}: must be a JSON object, got {text[:60]!r}") from None
        if missing:
            raise ValueError(f"{path}, line {number}: {', '.join(sorted(missing))} missing")
        lines.append(line)
    return lines


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
