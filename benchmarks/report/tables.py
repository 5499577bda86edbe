"""Tables of records, for the terminal and the docs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from temporal_shift.ser.utils.atomic_files import atomic_write
from temporal_shift.ser.utils.table import Table

from ..measure.gpu_timing import GPU_TIMERS
from ..measure.kernels.variants import LAYOUTS
from ..measure.measurements import OURS, Line, of_kind
from . import kernel_tables, recipe_tables

PEER = "pad and cat"  # some tables show the ratio of its time to ours in brackets
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
    """Write the tables of a record as Markdown, atomically."""
    text = "\n\n".join(table.markdown() for table in of_suite(lines))
    with atomic_write(path) as file:
        file.write(f"{text}\n".encode())


def measurements(
    lines: list[Line], wanted: Callable[[Line], bool] = lambda line: True, hidden: tuple[str, ...] = ()
) -> Table:
    """One row per measurement: median, quartiles, ratio to the floor, share of bandwidth, and ratios of other forms.

    ``wanted`` selects measurements; by default, all. Empty columns and ``hidden`` ones are left out.
    """
    header = (
        "benchmark",
        "setting",
        "shape",
        "timer",
        "median",
        "quartiles",
        "ours / floor",
        "of bandwidth",
        "others / ours",
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
        ", ".join([*others, *(f"{form} not measured" for form in line.get("missing", ()))]),
    )


def by_shape(lines: list[Line], wanted: Callable[[Line], bool]) -> Table:
    """One row per shape and setting, with one column per kind of call.

    In brackets: the ratio of ours to the floor, and the ratio of ``PEER`` to ours, if measured.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for line in of_kind(lines, "measurement"):
        if line["form"] == OURS and wanted(line):
            form, _, layout = line["what"].partition(", ")
            shape = ", ".join(filter(None, ("x".join(map(str, line["shape"])), layout)))
            found.setdefault((shape, line["setting"]), {})[form] = _with_ratios(line)
    forms = list(dict.fromkeys(form for cells in found.values() for form in cells))
    rows = [(*key, *(cells.get(form, "") for form in forms)) for key, cells in found.items()]
    return Table(("shape", "setting", *forms), rows)


def _with_ratios(line: Line) -> str:
    """The median with its ratios. A missing ratio to the floor is a dash before the other ratio."""
    ratios = (line["ratio_to_floor"], line["ratio_to_peers"].get(PEER))
    floor, peer = ("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)
    known = f"{floor or '–'}, {peer}" if peer else floor
    median = quantity(line["median"], line["unit"])
    return f"{median} ({known})" if known else median


def by_timer(lines: list[Line], wanted: Callable[[Line], bool] = lambda line: True) -> Table:
    """One row per benchmark, setting and shape on a GPU, with one column per timer.

    In brackets: the ratio of ours to the floor, and the ratio of ``PEER`` to ours, if measured.
    """
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for line in of_kind(lines, "measurement"):
        if line.get("timer") and line["unit"] == "s" and wanted(line):
            row = (line["what"], line["setting"], "x".join(map(str, line["shape"])))
            found.setdefault(row, {})[line["timer"]] = _with_ratios(line)
    timers = [timer for timer in GPU_TIMERS if any(timer in cells for cells in found.values())]
    rows = [(*row, *(cells.get(timer, "not measured") for timer in timers)) for row, cells in found.items()]
    return Table(("benchmark", "setting", "shape", *timers), rows)


def quantity(value: float, unit: str) -> str:
    """Format with three digits in the largest unit that gives at least 1."""
    scale, name = next((of for of in UNITS[unit] if abs(value) >= of[0]), UNITS[unit][-1])
    return f"{value / scale:.3g} {name}"


def counts(lines: list[Line]) -> Table:
    """One row per figure of a count, except the growth of time."""
    rows = [
        (line["what"], name, f"{value:,}".replace(",", " "))
        for line in of_kind(lines, "count")
        if line["what"] != "growth of time"
        for name, value in line["figures"].items()
    ]
    return Table(("item", "figure", "value"), rows)


def memory(lines: list[Line]) -> Table:
    """One row per layer, or per setting of the shift: peak memory, and memory kept for backward, each with ratios."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for line in of_kind(lines, "measurement"):
        if line["unit"] == "B":
            kind, _, name = line["what"].partition(", ")
            name = line["setting"] if line["suite"] == "op" else name
            ratios = {line["floor"]: 1 / line["ratio_to_floor"]} if line["floor"] else {}
            others = [f"{form} {value:.2f}" for form, value in (ratios | line["ratio_to_peers"]).items()]
            found.setdefault(name, {})[kind] = (quantity(line["median"], "B"), ", ".join(others))
    rows = [(name, *cells["peak memory"], *cells["kept for backward"]) for name, cells in found.items()]
    columns = ("", "peak memory", "others / ours", "kept for backward", "others / ours")
    filled = [column for column in range(len(columns)) if any(row[column] for row in rows)]
    return Table(tuple(columns[column] for column in filled), [tuple(row[column] for column in filled) for row in rows])


def growth(lines: list[Line]) -> Table:
    """One row per dimension or argument: exponents with standard errors of our time and, for dimensions, a clone's."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for line in of_kind(lines, "count"):
        if line["what"] == "growth of time":
            figures = line["figures"]
            dim, _, setting = line["setting"].partition(", ")
            cells = rows.setdefault((dim, ", ".join(map(str, figures["sizes"]))), {})
            cells |= {setting: _exponent(figures, OURS), f"clone ({setting})": _exponent(figures, "clone")}
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    header = ("dimension", "sizes", *("clone" if name.startswith("clone") else name for name in columns))
    return Table(header, [(*key, *(cells.get(name, "") for name in columns)) for key, cells in rows.items()])


def _exponent(figures: dict, form: str) -> str:
    if f"{form}, exponent" not in figures:
        return ""
    return f"{figures[f'{form}, exponent']:.2f} ± {figures[f'{form}, standard error']:.2f}"


def goals(lines: list[Line]) -> Table:
    """One row per goal: the figure, its bound, and whether it is met."""
    rows = []
    for line in of_kind(lines, "goal"):
        bound = f"{'at least' if line['least'] else 'at most'} {_figure(line['bound'])}"
        rows.append((line["what"], _figure(line["measured"]), bound, "met" if line["held"] else "missed"))
    return Table(("goal", "measured", "bound", "result"), rows)


def goal_counts(lines: list[Line]) -> Table:
    """One row per suite (on a GPU, per suite and device), and a total: the number of goals, and how many are met."""
    found: dict[str, list[bool]] = {}
    for line in of_kind(lines, "goal"):
        place = "" if line["threads"] else f", {line['device']}"  # records of a GPU have no threads
        found.setdefault(f"{line['suite']}{place}", []).append(line["held"])
    total = [held for of_suite in found.values() for held in of_suite]
    rows = [(name, str(len(held)), str(sum(held))) for name, held in [*found.items(), ("total", total)]]
    return Table(("suite", "goals", "met"), rows)


def missed_goals(lines: list[Line]) -> Table:
    """One row per goal that is missed."""
    missed = [line for line in of_kind(lines, "goal") if not line["held"]]
    rows = [(line["suite"], *row[:3]) for line, row in zip(missed, goals(missed).rows, strict=True)]
    return Table(("suite", "goal", "measured", "bound"), rows)


def environments(lines: list[Line]) -> Table:
    """One row per device, commit and date: the suites, the versions, and the number of threads."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for line in lines:
        versions = (line["versions"][name] or "" for name in ("python", "torch", "triton"))
        key = (line["device"], str(line["threads"] or ""), *versions, line["commit"][:7], line["date"])
        found.setdefault(key, {})[line["suite"]] = None
    rows = [(", ".join(suites), *key) for key, suites in found.items()]
    return Table(("suites", "device", "threads", "Python", "PyTorch", "Triton", "commit", "date"), rows)


def _figure(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value == int(value) or value >= 1000 else f"{value:.2f}"
