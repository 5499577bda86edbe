"""Tables of the record of ``python -m benchmarks recipe``."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from temporal_shift.ser.utils.table import Table

from ..measure.measurements import OURS, Line, quantiles
from ..measure.recipe.rows import BARE, ENCODING, EPOCH, EXPERIMENT, LOOP, PEAK, RATES


def epochs_table(lines: Iterable[Line]) -> Table:
    """One row per encoder and model: median seconds of both kinds of epochs with quartiles, and their ratio."""
    goals = _goals(lines)
    rows = []
    for line in _lines(lines, EPOCH):
        figures, goal = line["figures"], goals[line["setting"]]
        by_flop = f"{figures['ratio_by_flop']:.1f}" if "ratio_by_flop" in figures else ""
        seconds = [_quartiles(line["samples"][form]) for form in (OURS, ENCODING)]
        bound = f"at least {goal['bound']:g}, {'met' if goal['held'] else 'missed'}"
        utterances = f"{figures['trained']:.0f} + {figures['tested']:.0f}"
        rows.append((line["setting"], utterances, *seconds, f"{figures['ratio']:.1f}", by_flop, bound))
    header = ("encoder, model", "utterances", "cached epoch, s", "encoding epoch, s", "ratio", "by FLOP", "goal")
    return Table(header, rows)


def loop_table(lines: Iterable[Line]) -> Table:
    """One row per size and model: epochs of the recipe and of a bare loop, and FLOP/s relative to a matrix product."""
    goals = _goals(lines)
    rows = []
    for line in _lines(lines, LOOP):
        figures, goal = line["figures"], goals[line["setting"]]
        shape = " x ".join(map(str, line["shape"]))
        utterances = f"{figures['trained']:.0f} + {figures['tested']:.0f} of {shape}"
        seconds = [_quartiles(line["samples"][form]) for form in (OURS, BARE)]
        bound = f"at most {goal['bound']:g}, {'met' if goal['held'] else 'missed'}"
        share = f"{100 * figures['share_of_gemm']:.0f} %"
        rows.append((line["setting"], utterances, *seconds, f"{figures['ratio']:.2f}", bound, share))
    header = ("size, model", "utterances", "recipe, s", "bare loop, s", "ratio", "goal")
    return Table((*header, "share of the product's FLOP/s"), rows)


def _goals(lines: Iterable[Line]) -> dict[str, Line]:
    """The goals by setting."""
    return {line["what"].partition(", ")[2]: line for line in lines if line["kind"] == "goal"}


def _lines(lines: Iterable[Line], what: str) -> list[Line]:
    return [line for line in lines if line["what"] == what]


def _quartiles(seconds: list[float]) -> str:
    low, high = (quantiles(seconds)[name] for name in ("25", "75"))
    return f"{statistics.median(seconds):.3g} ({low:.3g} to {high:.3g})"


def memory_table(lines: Iterable[Line]) -> Table:
    """One row per encoded corpus: peak memory in GiB."""
    found = _lines(lines, PEAK)
    rows = [(line["setting"], _gibibytes(line["median"]), _gibibytes(line["figures"].get("on_gpu"))) for line in found]
    width = 3 if any("on_gpu" in line["figures"] for line in found) else 2
    header = ("encoder, utterances", "peak memory, GiB", "on the GPU, GiB")
    return Table(header[:width], [row[:width] for row in rows])


def _gibibytes(size: float | None) -> str:
    return "" if size is None else f"{size / 2**30:.2f}"


def experiment_table(lines: Iterable[Line]) -> Table:
    """One row per setting and model of the paper's experiment: FLOP, and hours here and on a GPU."""
    rows = []
    for line in _lines(lines, EXPERIMENT):
        row = line["figures"]
        learning = ("head", "encoder") if row["setting"] == "finetune" else ("head",)
        of_one = [sum(row[part][passes] for part in learning) / 1e9 for passes in ("training", "forward")]
        hours = f"{row['hours_here']:.1f}", f"{row['hours_on_gpu']:.2f}"
        total = f"{sum(row['total'].values()) / 1e15:.1f}"
        rows.append((line["setting"], *(f"{flop:.1f}" for flop in of_one), total, *hours))
    passes = ("GFLOP per trained utterance", "GFLOP per tested utterance")
    (rates,) = _lines(lines, RATES)
    header = ("setting, model", *passes, "PFLOP in total", "hours here")
    return Table((*header, f"hours at {rates['figures']['gpu'] / 1e12:g} TFLOP/s"), rows)
