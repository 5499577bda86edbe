"""Compare two records of one suite: which rows became slower, faster, larger or smaller, and which changes are noise.

Times: other work on the machine slows all implementations of a run, so our time is first divided by the geometric mean
of the other times in the same round. B / A is the median of these ratios in B, divided by the median in A. In a row
without other implementations, B / A is the ratio of the times. It is only meaningful if the machine was equally busy.

The 95 % interval of B / A covers two kinds of noise: within a run, estimated by resampling the rounds, and between
runs, estimated from the changes of the other implementations, which are assumed to have the same code in both runs. If
no row has two other implementations, the interval does not cover noise between runs. It is corrected for the number of
rows with times (Bonferroni). A row is slower or faster if its interval excludes 1.

Memory: B / A is the ratio of bytes. A row is larger or smaller if the bytes differ by more than a factor of 1.05.

Counts that differ are listed, except the growth of time. Other rows, such as the bandwidth, and rows that only one
record has are not compared.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from scipy.stats import norm, t

from temporal_shift.ser.utils.table import Table

from .measure import measurements, record_file
from .measure.measurements import Line
from .report.tables import quantity

RESAMPLES = 4000
ERROR = 0.05  # family-wise error rate over all rows with times
MEMORY_NOISE = 1.05  # factor; peak memory is counted in pages and varies by a few pages
SAME = ("suite", "what", "setting", "timer", "form", "shape", "dtype", "unit")  # fields that identify a row


@dataclass(frozen=True)
class Change:
    """The ratio B / A of one row, and the range of values that the noise allows."""

    before: Line
    after: Line
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        if self.low > 1:
            return "larger" if self.before["unit"] == "B" else "slower"
        if self.high < 1:
            return "smaller" if self.before["unit"] == "B" else "faster"
        return "noise"

    @property
    def is_regression(self) -> bool:
        return self.verdict in ("slower", "larger")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit status: 0 without a regression, 1 with a regression, 2 if the records cannot be compared.",
    )
    parser.add_argument("a", type=Path, metavar="A", help="record before the change")
    parser.add_argument("b", type=Path, metavar="B", help="record after the change")
    options = parser.parse_args(argv)
    try:
        before, after = record_file.read(options.a), record_file.read(options.b)
        notes, changes, counts = compared(before, after)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    console = Console(width=max(Console().width, 140))
    for note in notes:
        console.print(note, highlight=False)
    console.print(table_of(changes).for_terminal(), "")
    for line in counts:
        console.print(line, highlight=False)
    worse = [change for change in changes if change.is_regression]
    better = [change for change in changes if change.ratio < 1 and change.verdict != "noise"]
    noise = len(changes) - len(worse) - len(better)
    console.print(f"rows: {len(changes)} (regressed: {len(worse)}, improved: {len(better)}, noise: {noise})")
    sys.exit(1 if worse else 0)


def compared(before: list[Line], after: list[Line]) -> tuple[list[str], list[Change], list[str]]:
    """Return notes on commits and versions, the changes of times and memory, and a line for each count that differs.

    Counts of the growth of time are ignored.

    Raises:
        ValueError: If the records have no row in common, or measurements with different devices or numbers of threads.
    """
    pairs = _pairs(before, after, "measurement")
    if not pairs and not _pairs(before, after, "count"):
        suites = [", ".join(sorted({line["suite"] for line in lines})) or "no suite" for lines in (before, after)]
        raise ValueError(
            f"A and B must have a row in common (the same {', '.join(SAME)}), "
            f"got rows of {suites[0]} in A and rows of {suites[1]} in B"
        )
    for name in ("device", "threads") if pairs else ():
        was, is_now = ({str(line.get(name)) for line in lines} for lines in (before, after))
        if was != is_now:
            given = " and ".join(
                f"{', '.join(sorted(values))} in {which}" for which, values in zip("AB", (was, is_now), strict=True)
            )
            raise ValueError(f"both records must have the same {name}, got {given}")
    notes = [f"A: commit {before[0]['commit']}, B: commit {after[0]['commit']}"]
    versions = [lines[0]["versions"] for lines in (before, after)]
    for name in sorted(versions[0].keys() | versions[1].keys()):
        if versions[0].get(name) != versions[1].get(name):
            notes.append(
                f"{name}: {versions[0].get(name)} in A, {versions[1].get(name)} in B; this can affect all rows"
            )
    timed = [pair for pair in pairs if pair[0]["unit"] == "s"]
    return notes, [*_changes(timed), *_memory_changes(pairs)], list(_other_counts(before, after))


def _pairs(before: list[Line], after: list[Line], kind: str) -> list[tuple[Line, Line]]:
    def key(line: Line) -> tuple[str, ...]:
        return tuple(str(line.get(name)) for name in SAME)

    later = {key(line): line for line in measurements.of_kind(after, kind)}
    return [(line, later[key(line)]) for line in measurements.of_kind(before, kind) if key(line) in later]


def _changes(pairs: list[tuple[Line, Line]]) -> Iterator[Change]:
    spread, degrees = between_runs(pairs)
    random = np.random.default_rng(0)
    level = ERROR / max(len(pairs), 1) / 2  # Bonferroni, two-sided
    reach = spread * (t.isf(level, degrees) if degrees else 0.0)
    for before, after in pairs:
        ratios = [_against_the_others(line, line["form"]) for line in (before, after)]
        change = statistics.median(ratios[1]) - statistics.median(ratios[0])
        draws = [np.median(random.choice(of_run, (RESAMPLES, len(of_run))), axis=1) for of_run in ratios]
        within = float(np.std(draws[1] - draws[0])) * norm.isf(level)
        half = math.hypot(within, reach)
        yield Change(before, after, *(math.exp(value) for value in (change, change - half, change + half)))


def between_runs(pairs: list[tuple[Line, Line]]) -> tuple[float, int]:
    """Return the root mean square of the log changes of the other implementations, and the number of changes."""
    changes = []
    for before, after in pairs:
        for form in before["samples"].keys() & after["samples"].keys() - {before["form"]}:
            ratios = [_against_the_others(line, form, without=line["form"]) for line in (before, after)]
            if len(before["samples"]) > 2:
                changes.append(statistics.median(ratios[1]) - statistics.median(ratios[0]))
    if not changes:
        return 0.0, 0
    return math.sqrt(statistics.fmean(change**2 for change in changes)), len(changes)


def _against_the_others(line: Line, form: str, without: str | None = None) -> list[float]:
    """For each round, the logarithm of the ratio of a form's time to the geometric mean of the other times.

    ``without`` is a form to ignore. If there are no other times, it is the logarithm of the form's own time.
    """
    samples = line["samples"]
    others = [samples[name] for name in samples if name not in (form, without)]
    rounds = zip(samples[form], *others, strict=True)
    return [math.log(own) - statistics.fmean(map(math.log, rest)) if rest else math.log(own) for own, *rest in rounds]


def _memory_changes(pairs: list[tuple[Line, Line]]) -> Iterator[Change]:
    """Changes of memory. There is one sample per run, so a factor of at most ``MEMORY_NOISE`` is taken as noise."""
    for before, after in pairs:
        if before["unit"] == "B" and before["median"]:
            ratio = after["median"] / before["median"]
            yield Change(before, after, ratio, ratio / MEMORY_NOISE, ratio * MEMORY_NOISE)
        elif before["unit"] == "B" and after["median"]:
            yield Change(before, after, math.inf, math.inf, math.inf)


def _other_counts(before: list[Line], after: list[Line]) -> Iterator[str]:
    for was, is_now in _pairs(before, after, "count"):
        if was["what"] != "growth of time" and was["figures"] != is_now["figures"]:
            named = ", ".join(filter(None, (was["what"], was["setting"], was["dtype"])))
            for name in was["figures"]:
                if was["figures"][name] != is_now["figures"].get(name):
                    yield f"{named}: {name} is {was['figures'][name]} in A, {is_now['figures'].get(name)} in B"


def table_of(changes: list[Change]) -> Table:
    """One row per change. Memory has no interval."""
    rows = []
    for change in changes:
        line = change.before
        where = ", ".join(filter(None, (line["setting"], " x ".join(map(str, line["shape"])))))
        medians = [quantity(of["median"], of["unit"]) for of in (change.before, change.after)]
        interval = "" if line["unit"] == "B" else f"[{change.low:.2f}, {change.high:.2f}]"
        rows.append((line["what"], where, *medians, f"{change.ratio:.3f}", interval, change.verdict))
    return Table(("benchmark", "setting", "A", "B", "B / A", "95 % interval", "result"), rows)
