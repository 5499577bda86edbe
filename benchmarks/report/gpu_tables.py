"""The record of ``python -m benchmarks gpu`` as tables for the docs. Its lines are of several suites."""

from __future__ import annotations

from temporal_shift.ser.utils.table import Table

from ..measure.measurements import Line, of_kind
from . import tables


def steps(lines: list[Line]) -> Table:
    """A row for each step."""
    rows = [(line["what"], line["outcome"], f"{line['seconds']:.0f} s") for line in of_kind(lines, "step")]
    return Table(("step", "outcome", "time"), rows)


def op(lines: list[Line]) -> Table:
    """A row for each form of the shift, with its times by each timer."""
    return tables.by_timer(lines, lambda line: line["suite"] == "op")


def layers(lines: list[Line]) -> Table:
    """A row for each layer, with its times by each timer, and how many times as long the published one takes."""
    return tables.by_timer(lines, lambda line: line["suite"] == "layers", "published")


def host(lines: list[Line]) -> Table:
    """A row for each eager call."""
    return tables.measurements(lines, lambda line: line["suite"] == "host", ("setting", "quartiles"))


def training(lines: list[Line]) -> Table:
    """A row for each model and precision."""
    return tables.measurements(lines, lambda line: line["suite"] == "training", ("quartiles",))


def goals(lines: list[Line]) -> Table:
    """A row for each goal of the shift and of the host."""
    return tables.goals([line for line in lines if line["suite"] in ("op", "host")])
