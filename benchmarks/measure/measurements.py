"""What a benchmark leaves behind: JSON lines, each of which says what was found, on what, with what, and when.

A line is a *measurement* (a form of ours, timed or weighed beside its floor and its peers), a *count* (figures that no
noise touches) or a *goal* (a bound that was set beforehand, held or missed). Every line has the same head, so that
records can be joined, cut and read by anything that reads JSON lines.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from temporal_shift.ser.utils.atomic_files import atomic_write

from .goals import Goal

FOLDER = Path("benchmarks/records")
PACKAGES = ("torch", "triton", "x-transformers", "transformers")
MOST_SAMPLES = 25  # kept of each form; more rounds are joined, neighbours by their median
OURS = "ours"

Line = dict[str, Any]


@dataclass
class Measurement:
    """Samples of ours and of all it is compared with; the samples of one place were taken in the same round."""

    what: str
    samples: dict[str, list[float]]
    setting: str = ""
    shape: Sequence[int] = ()
    dtype: str = "float32"
    unit: str = "s"
    floor: str | None = None  # the form that no form can be faster than
    figures: dict[str, float] = field(default_factory=dict)  # what else was found of it
    form: str = OURS  # whose measurement it is
    goals: list[Goal] = field(default_factory=list)
    kind = "measurement"

    def median(self, form: str | None = None) -> float:
        return statistics.median(self.samples[form or self.form])

    @property
    def to_floor(self) -> float:
        """How many times as long as its floor it takes."""
        return self.median() / self.median(self.floor)

    def to_peer(self, form: str) -> float:
        """How many times as long as ours another form takes."""
        return self.median(form) / self.median()

    def line(self) -> Line:
        peers = [form for form in self.samples if form not in (self.form, self.floor) and self.median()]
        return {
            "what": self.what,
            "setting": self.setting,
            "form": self.form,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "unit": self.unit,
            "median": _short(self.median()),
            "quantiles": {q: _short(value) for q, value in quantiles(self.samples[self.form]).items()},
            "floor": self.floor,
            "ratio_to_floor": _short(self.to_floor) if self.floor and self.median(self.floor) else None,
            "ratio_to_peers": {form: _short(self.to_peer(form)) for form in peers},
            "figures": {name: _short(value) for name, value in self.figures.items()},
            "samples": {form: [_short(value) for value in joined(values)] for form, values in self.samples.items()},
        }


@dataclass
class Count:
    """Figures that are the same every time."""

    what: str
    figures: dict[str, Any]
    setting: str = ""
    shape: Sequence[int] = ()
    dtype: str = "float32"
    goals: list[Goal] = field(default_factory=list)
    kind = "count"

    def line(self) -> Line:
        head = {"what": self.what, "setting": self.setting, "shape": list(self.shape), "dtype": self.dtype}
        return {**head, "figures": self.figures}


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """The 5th, 25th, 75th and 95th percentile."""
    cuts = statistics.quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    return {name: cuts[place] for name, place in (("5", 0), ("25", 4), ("75", 14), ("95", 18))}


def joined(values: Sequence[float]) -> list[float]:
    """At most ``MOST_SAMPLES`` values: of neighbours in time the median, so that pairs stay pairs."""
    groups = min(len(values), MOST_SAMPLES)
    edges = [round(len(values) * group / groups) for group in range(groups + 1)]
    return [statistics.median(values[start:stop]) for start, stop in pairwise(edges)]


def environment(device: str | None = None) -> Line:
    """Versions, commit and date; with a device, also its name, which times are nothing without."""
    versions = {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}
    found = {"date": date.today().isoformat(), "commit": commit(), "versions": versions}
    if device is None:
        return {"device": None, "threads": None, **found}
    if device == "cuda":
        return {"device": torch.cuda.get_device_name(), "threads": None, **found}
    return {"device": _cpu(), "threads": torch.get_num_threads(), **found}


def commit() -> str | None:
    """The commit that was measured, with a plus where the code was another than the commit's; outside git, nothing."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "temporal_shift", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + "+" * bool(changed)


def write(path: Path, lines: Iterable[Line]) -> None:
    """Writes all of it or nothing: who reads meanwhile, or is left with an interrupted run, has the file of before."""
    with atomic_write(path) as file:
        for line in lines:
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())


def read(path: Path) -> list[Line]:
    """The lines of a record, or a ValueError that says which line is none."""
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            line = json.loads(text)
            missing = {"suite", "kind", "what"} - line.keys()
        except (ValueError, AttributeError):
            raise ValueError(f"{path}, line {number}: not a JSON object: {text[:60]!r}") from None
        if missing:
            raise ValueError(f"{path}, line {number}: no {', '.join(sorted(missing))}: not a line of a benchmark")
        lines.append(line)
    return lines


def of_kind(lines: Iterable[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]


def _short(value: float) -> float:
    """Five digits: more than any clock's noise leaves, and a record that can be read."""
    return float(f"{value:.5g}")


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
