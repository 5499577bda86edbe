"""Tables of the record of ``python -m benchmarks kernels``."""

from __future__ import annotations

from typing import Any

from temporal_shift.ser.utils.table import Table

from ..measure.kernels.variants import LAYOUTS
from ..measure.measurements import Line, of_kind

HEADER = (
    *("kernel", "padding, bounds, n_div", "shape", "dtype", "registers", "spills", "shared, B", "loads, bits"),
    *("stores, bits", "idle, %", "instr. / 16 B", "read+written, B/B", "floor, B/B", "µs at bandwidth"),
)


def of_layout(lines: list[Line], layout: str) -> Table:
    """One row per variant of a layout, with the figures of each target; dtypes with equal figures share a row."""
    cells: dict[tuple[str, ...], list[str]] = {}
    for line in of_kind(lines, "count"):
        if line["setting"].endswith(layout):
            name, *others = _cells(line)
            shape = "x".join(map(str, line["shape"]))
            place = (name, line["setting"].removesuffix(f", {layout}"), shape, *others)
            cells.setdefault(place, []).append(line["dtype"].replace("float", "f"))
    return Table(HEADER, [(*row[:3], " ".join(dtypes), *row[3:]) for row, dtypes in cells.items()])


def by_form(lines: list[Line]) -> Table:
    """One row per form and layout, with ranges over all variants and targets; bytes above the floor: the maximum."""
    forms: dict[str, list[Line]] = {}
    for line in of_kind(lines, "count"):
        layout = next(layout for layout in LAYOUTS if line["setting"].endswith(layout))
        forms.setdefault(f"{line['what']}, {layout}", []).append(line)
    header = (
        "kernel",
        "variants",
        "registers",
        "spills",
        "instructions / 16 B",
        "idle lanes, %",
        "bytes above the floor, per byte written",
    )
    return Table(header, [(form, str(len(rows)), *_ranges(rows)) for form, rows in forms.items()])


def _ranges(lines: list[Line]) -> tuple[str, ...]:
    binaries = [binary for line in lines for binary in line["figures"]["targets"].values()]
    touched = [line["figures"]["bytes"] for line in lines]
    over = [row["read"] + row["written"] - row["floor_read"] - row["floor_written"] for row in touched]
    return (
        _span([binary["registers"] for binary in binaries]),
        _span([binary["spills"] for binary in binaries]),
        _span([round(binary["instructions_per_16_bytes"]) for binary in binaries]),
        _span([round(100 * line["figures"]["idle"]) for line in lines]),
        f"{max(0, *over):.2g}",
    )


def _cells(line: Line) -> tuple[str, ...]:
    figures = line["figures"]
    binaries, touched = figures["targets"].values(), figures["bytes"]
    return (
        line["what"],
        "/".join(str(binary["registers"]) for binary in binaries),
        _same(str(binary["spills"]) for binary in binaries),
        _same(str(binary["shared"]) for binary in binaries),
        _same(_widths(binary["loads"]) for binary in binaries),
        _same(_widths(binary["stores"]) for binary in binaries),
        f"{100 * figures['idle']:.0f}",
        "/".join(f"{binary['instructions_per_16_bytes']:.0f}" for binary in binaries),
        f"{touched['read']:.2f}+{touched['written']:.2f}",
        f"{touched['floor_read'] + touched['floor_written']:.2f}",
        "/".join(f"{time:.0f}" for time in figures["microseconds"].values()),
    )


def _same(figures: Any) -> str:
    """One figure if all targets have the same, else one per target."""
    found = list(figures)
    return found[0] if len(set(found)) == 1 else "/".join(found)


def _widths(widths: dict[str, int]) -> str:
    return _span([int(width) for width in widths])


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
