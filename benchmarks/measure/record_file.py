"""Records as JSON lines.

A line of a suite is a *measurement* (samples of time, memory or bandwidth, by implementation), a *count*
(figures without samples) or a *goal* (a bound on a figure). It has the machine, versions, commit and date, so lines of
several records can be joined and filtered. Other commands write lines of further kinds.
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
    """Versions, commit and date, and the name of ``device``, if given. A CPU also has the number of threads."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    found = {"date": date.today().isoformat(), "commit": commit(), "versions": versions}
    if device is None:
        return {"device": None, "threads": None, **found}
    if device == "cuda":
        return {"device": torch.cuda.get_device_name(), "threads": None, **found}
    place = "Triton's interpreter on " if device == INTERPRETER else ""
    return {"device": place + _cpu(), "threads": torch.get_num_threads(), **found}


def commit() -> str | None:
    """The commit, with a plus if the code has uncommitted changes; ``None`` if git fails."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "temporal_shift", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+" * bool(changed)


def make_folder(out: Path, parser: argparse.ArgumentParser) -> None:
    """Create the folder of ``--out`` before measuring, so that an invalid path is reported first."""
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
        OSError: If the file cannot be read.
        ValueError: If the file is not UTF-8, or a line is invalid. For a line, the message has its number.
    """
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            missing = {"suite", "kind", "what"} - line.keys()
        except (ValueError, AttributeError):
            raise ValueError(f"{path}, line {number}: must be a JSON object, got {text[:60]!r}") from None
        if missing:
            raise ValueError(
                f"{path}, line {number}: must have suite, kind and what, got no {', '.join(sorted(missing))}"
            )
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
