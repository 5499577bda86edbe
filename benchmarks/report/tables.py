"""Records as tables, for a terminal and for the docs: one form for all that was measured, one for all goals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from temporal_shift.ser.utils.atomic_files import atomic_write
from temporal_shift.ser.utils.table import Table

from ..measure.gpu_timing import GPU_TIMERS
from ..measure.kernels.variants import LAYOUTS
from ..measure.measurements import OURS, Line, of_kind
from . import kernel_tables, recipe_tables

PEER = "pad and cat"  # what most users would write
UNITS = {"s": ((1, "s"), (1e-3, "ms"), (1e-6, "µs")), "B": ((2**30, "GiB"), (2**20, "MiB"), (1, "B"))}
UNITS["B/s"] = ((1e9, "GB/s"),)


def of_suite(lines: list[Line]) -> list[Table]:
    """All tables of a record."""
    suite = lines[0]["suite"]
    if suite == "kernels":
        found = [kernel_tables.of_layout(lines, layout) for layout in LAYOUTS] + [kernel_tables.by_form(lines)]
    elif suite == "recipe":
        made = (recipe_tables.epochs_table, recipe_tables.loop_table)
        found = [table(lines) for table in (*made, recipe_tables.memory_table, recipe_tables.experiment_table)]
    else:
        found = [by_timer(lines), measurements(lines), counts(lines), growth(lines)]
    return [table for table in (*found, goals(lines)) if table.rows]


def write(path: Path, lines: list[Line]) -> None:
    """The tables of a record as a page of Markdown, whole or not at all."""
    text = "\n\n".join(table.markdown() for table in of_suite(lines))
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())


def measurements(
    lines: list[Line], wanted: Callable[[Line], bool] = lambda line: True, hidden: tuple[str, ...] = ()
) -> Table:
    """A row for each measurement: median and quartiles, how it stands to its floor, and others to it.

    Columns with nothing in them are left out, and so are those that are ``hidden``.
    """
    header = (
        "what",
        "setting",
        "shape",
        "timer",
        "median",
        "quartiles",
        "over its floor",
        "of bandwidth",
        "others over it",
    )
    rows = [_cells(line) for line in of_kind(lines, "measurement") if wanted(line)]
    filled = [column for column, name in enumerate(header) if name not in hidden and any(row[column] for row in rows)]
    return Table(tuple(header[column] for column in filled), [tuple(row[column] for column in filled) for row in rows])


def _cells(line: Line) -> tuple[str, ...]:
    name = line["what"] if line["form"] == OURS else f"{line['what']} ({line['form']})"
    ratio, share = line["ratio_to_floor"], line["figures"].get("share_of_bandwidth")
    others = [f"{form} {value:.2f}" for form, value in line["ratio_to_peers"].items()]
    quartiles = [quantity(line["quantiles"][q], line["unit"]) for q in ("25", "75")]
    return (
        name,
        line["setting"],
        "x".join(map(str, line["shape"])),
        line.get("timer") or "",
        quantity(line["median"], line["unit"]),
        "" if len(line["samples"][line["form"]]) == 1 else " to ".join(quartiles),
        "" if ratio is None else f"{ratio:.2f} {line['floor']}",
        "" if share is None else f"{share:.2f}",
        ", ".join([*others, *(f"{form} no figure" for form in line.get("missing", ()))]),
    )


def by_timer(lines: list[Line], wanted: Callable[[Line], bool] = lambda line: True, peer: str = PEER) -> Table:
    """A row for each form of ours on a GPU, with its times by each timer side by side.

    In brackets: over its floor, and how many times as long the peer takes, where there is one.
    """
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for line in of_kind(lines, "measurement"):
        if line.get("timer") and line["unit"] == "s" and wanted(line):
            row = (line["what"], line["setting"], "x".join(map(str, line["shape"])))
            ratios = (line["ratio_to_floor"], line["ratio_to_peers"].get(peer))
            known = ", ".join(f"{ratio:.2f}" for ratio in ratios if ratio is not None)
            median = quantity(line["median"], line["unit"])
            found.setdefault(row, {})[line["timer"]] = f"{median} ({known})" if known else median
    timers = [timer for timer in GPU_TIMERS if any(timer in cells for cells in found.values())]
    rows = [(*row, *(cells.get(timer, "no figure") for timer in timers)) for row, cells in found.items()]
    return Table(("what", "setting", "shape", *timers), rows)


def quantity(value: float, unit: str) -> str:
    """Three digits, in the largest unit of which there is at least one."""
    scale, name = next((of for of in UNITS[unit] if abs(value) >= of[0]), UNITS[unit][-1])
    return f"{value / scale:.3g} {name}"


def counts(lines: list[Line]) -> Table:
    """A row for each figure of a count."""
    rows = [
        (line["what"], name, f"{value:,}".replace(",", " "))
        for line in of_kind(lines, "count")
        if line["what"] != "growth of time"
        for name, value in line["figures"].items()
    ]
    return Table(("what", "", "figure"), rows)


def growth(lines: list[Line]) -> Table:
    """A row for each dimension: the exponent of time, with its standard error, of ours and of a clone."""
    rows = []
    for line in of_kind(lines, "count"):
        if line["what"] == "growth of time":
            figures = line["figures"]
            sizes = ", ".join(map(str, figures["sizes"]))
            rows.append((line["setting"], sizes, *(_exponent(figures, form) for form in (OURS, "clone"))))
    return Table(("time grows with", "sizes", "exponent of ours", "exponent of a clone"), rows)


def _exponent(figures: dict, form: str) -> str:
    if f"{form}, exponent" not in figures:
        return ""
    return f"{figures[f'{form}, exponent']:.2f} ± {figures[f'{form}, standard error']:.2f}"


def goals(lines: list[Line]) -> Table:
    """A row for each goal that was set beforehand: what was measured, its bound, and held or missed."""
    rows = []
    for line in of_kind(lines, "goal"):
        bound = f"{'at least' if line['least'] else 'at most'} {_figure(line['bound'])}"
        rows.append((line["what"], _figure(line["measured"]), bound, "held" if line["held"] else "missed"))
    return Table(("goal", "measured", "bound", ""), rows)


def _figure(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value == int(value) or value >= 1000 else f"{value:.2f}"
