"""Tables of the record of ``python -m benchmarks gpu``, which contains several suites."""

from __future__ import annotations

from temporal_shift.ser.utils.table import Table

from ..measure.measurements import Line, of_kind
from . import tables


def steps(lines: list[Line]) -> Table:
    """One row per step."""
    rows = [(line["what"], line["outcome"], f"{line['seconds']:.0f} s") for line in of_kind(lines, "step")]
    return Table(("step", "outcome", "time"), rows)


def op(lines: list[Line]) -> Table:
    """One row per benchmark of the shift, with one column per timer."""
    return tables.by_timer(lines, lambda line: line["suite"] == "op")


def layers(lines: list[Line]) -> Table:
    """One row per layer and timer."""
    timed = [line for line in lines if line["suite"] == "layers" and line.get("timer")]
    return tables.measurements(timed, hidden=("setting", "quartiles"))


def host(lines: list[Line]) -> Table:
    """One row per eager call."""
    return tables.measurements(lines, lambda line: line["suite"] == "host", ("setting", "quartiles"))


def training(lines: list[Line]) -> Table:
    """One row per layer and mode."""
    return tables.measurements(lines, lambda line: line["suite"] == "training", ("quartiles",))


def goals(lines: list[Line]) -> Table:
    """One row per goal of the suites op and host."""
    return tables.goals([line for line in lines if line["suite"] in ("op", "host")])
