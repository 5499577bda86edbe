"""Results of a suite: measurements with samples, counts without samples, and goals with a bound."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

MAX_SAMPLES = 25  # per form in a record; more rounds are merged into medians of neighbouring rounds
OURS = "ours"

Line = dict[str, Any]  # one line of a record


@dataclass(frozen=True)
class Goal:
    """A bound on a figure."""

    what: str  # name of the figure
    measured: float
    bound: float
    least: bool = False  # True: a lower bound, False: an upper bound
    kind = "goal"

    @property
    def held(self) -> bool:
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def line(self) -> Line:
        return {**asdict(self), "held": self.held}


@dataclass
class Measurement:
    """Samples of one or several forms. Samples with the same index come from the same round."""

    what: str
    samples: dict[str, list[float]]
    setting: str = ""
    shape: Sequence[int] = ()
    dtype: str = "float32"
    unit: str = "s"
    floor: str | None = None  # the form to compare with, such as a copy
    figures: dict[str, float] = field(default_factory=dict)  # further results
    form: str = OURS  # the form that the row is about
    timer: str | None = None  # if the device has several timers
    missing: Sequence[str] = ()  # forms that this timer cannot measure
    goals: list[Goal] = field(default_factory=list)
    kind = "measurement"

    def median(self, form: str | None = None) -> float:
        return statistics.median(self.samples[form or self.form])

    @property
    def to_floor(self) -> float:
        """The median divided by the median of the floor."""
        return self.median() / self.median(self.floor)

    def to_peer(self, form: str) -> float:
        """The median of another form divided by ours."""
        return self.median(form) / self.median()

    def line(self) -> Line:
        peers = [form for form in self.samples if form not in (self.form, self.floor) and self.median()]
        of_gpu = {"timer": self.timer, "missing": list(self.missing)} if self.timer else {}
        return {
            "what": self.what,
            "setting": self.setting,
            **of_gpu,
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
    """Figures without samples, such as sizes, FLOP or fitted exponents."""

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
    """The 5th, 25th, 75th and 95th percentiles."""
    cuts = statistics.quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    return {name: cuts[place] for name, place in (("5", 0), ("25", 4), ("75", 14), ("95", 18))}


def joined(values: Sequence[float]) -> list[float]:
    """Merge samples into at most ``MAX_SAMPLES`` medians of neighbouring rounds. Samples of two forms stay paired."""
    groups = min(len(values), MAX_SAMPLES)
    edges = [round(len(values) * group / groups) for group in range(groups + 1)]
    return [statistics.median(values[start:stop]) for start, stop in pairwise(edges)]


def of_kind(lines: Iterable[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]


def _short(value: float) -> float:
    """Round to five significant digits; further digits are noise."""
    return float(f"{value:.5g}")
