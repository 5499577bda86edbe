"""Figures of records in light and dark: times relative to ours, growth of time, registers, and UA maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from temporal_shift.ser.reports.plots import draw_heatmaps
from temporal_shift.ser.utils.atomic_files import atomic_write
from temporal_shift.ser.utils.plot_style import CLASS_HUES, PAGE_THEMES, SVG_STYLE, PageTheme, house_style

from ..measure.gpu_timing import WALL
from ..measure.measurements import OURS, Line, of_kind
from .real_speech_tables import ablation_panels

WIDTH = 5.2  # inches; readable on a phone


def write(folder: Path, name: str, lines: list[Line]) -> list[Path]:
    """Write the figures of a record in both themes as ``NAME-FIGURE-THEME.svg``, atomically."""
    written = []
    for picture, draw in pictures_of(lines).items():
        for theme, colours in PAGE_THEMES.items():
            path = folder / f"{name}-{picture}-{theme}.svg"
            with house_style(), mpl.rc_context(_colours(colours)), atomic_write(path) as file:
                draw(lines).savefig(file, format="svg", transparent=True, metadata={"Date": None})
            written.append(path)
    return written


def pictures_of(lines: list[Line]) -> dict[str, Callable[[list[Line]], Figure]]:
    """The figures that a record has data for; none for the suites ``gpu`` and ``host``."""
    pictures: dict[str, Callable[[list[Line]], Figure]] = {}
    if lines[0]["suite"] in ("gpu", "host"):  # shown as tables
        return pictures
    if any(_is_drawn(line) for line in lines):
        pictures["times"] = times
    if any(line.get("what") == "growth of time" for line in lines):
        pictures["growth"] = growth
    if any("targets" in line.get("figures", {}) for line in lines):
        pictures["registers"] = registers
    if lines[0].get("what") == "ablation":
        pictures["maps"] = maps
    return pictures


def _colours(theme: PageTheme) -> dict[str, object]:
    ink = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color", "axes.edgecolor")
    return {**dict.fromkeys(ink, theme.ink), **SVG_STYLE, "grid.color": theme.fill}


def _is_drawn(line: Line) -> bool:
    """Whether the line is a time with other forms to compare, on a CPU or by the wall clock, and not of ``--kept``."""
    is_timed = line["kind"] == "measurement" and line["unit"] == "s" and len(line["samples"]) > 1
    is_timed &= line.get("timer") in (None, WALL)  # the time that users see
    return is_timed and not line["what"].endswith("freed memory kept")


def maps(lines: list[Line]) -> Figure:
    """UA of an ablation: one heatmap per kind of blocks, direction and stride."""
    return draw_heatmaps(ablation_panels(lines))


def times(lines: list[Line]) -> Figure:
    """One panel per measurement, one row per other form: its time relative to ours."""
    found = [line for line in lines if _is_drawn(line)]
    if lines[0]["suite"] == "op":  # other shapes are in a table
        found = [line for line in found if line["shape"] == found[0]["shape"]]
    rows = [(line, _multiples(line)) for line in found]
    heights = [len(multiples) for _, multiples in rows]
    figure = Figure(figsize=(WIDTH, 0.21 * sum(heights) + 0.3 * len(rows) + 0.5), layout="constrained")
    panels = figure.subplots(len(rows), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (line, multiples) in zip(panels, rows, strict=True):
        _draw_multiples(axes, line, multiples)
    values = [value for _, multiples in rows for value in multiples.values()]
    low, high = min(0.5, *values), max(2, *values)
    panels[-1].set(xscale="log", xlim=(low / 1.15, high * 1.9), xlabel="time relative to ours (line), logarithmic")
    ticks = [2.0**power for power in range(-6, 7) if low / 1.15 <= 2.0**power <= high * 1.9]
    panels[-1].set_xticks(ticks, [f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    panels[-1].minorticks_off()
    return figure


def _multiples(line: Line) -> dict[str, float]:
    """The time of each other form relative to ours, the floor first."""
    floor = {line["floor"]: 1 / line["ratio_to_floor"]} if line["floor"] else {}
    return {**floor, **line["ratio_to_peers"]}


def _draw_multiples(axes: Axes, line: Line, multiples: dict[str, float]) -> None:
    axes.axvline(1, color=CLASS_HUES[1], linewidth=1.4)
    for row, (form, value) in enumerate(multiples.items()):
        colour = CLASS_HUES[6] if form == line["floor"] else CLASS_HUES[5]
        axes.plot([1, value], [row, row], color=colour, linewidth=2)
        axes.plot(value, row, "o", color=colour, markersize=6)
        axes.annotate(f"{value:.2f}", (max(value, 1), row), (6, 0), textcoords="offset points", va="center", fontsize=8)
    names = [f"{form} (floor)" if form == line["floor"] else form for form in multiples]
    axes.set_yticks(range(len(multiples)), names)
    axes.set_ylim(len(multiples) - 0.5, -0.5)
    axes.tick_params(axis="both", length=0)
    axes.spines[:].set_visible(False)
    what = line["what"] if line["form"] == OURS else line["form"]
    setting = "" if line["suite"] == "layers" else line["setting"]  # always forward + backward
    axes.set_title(", ".join(filter(None, (what, setting))), fontsize=9)


def growth(lines: list[Line]) -> Figure:
    """One panel per dimension or argument: time against size, both logarithmic. Dimensions also show a clone."""
    found = [line for line in lines if line["what"] == "growth of time"]
    dims = list(dict.fromkeys(line["figures"]["dim"] for line in found))
    figure = Figure(figsize=(WIDTH, 2.0 * math.ceil(len(dims) / 2)), layout="constrained")
    grid = list(figure.subplots(math.ceil(len(dims) / 2), 2, squeeze=False).flat)
    for axes, dim in zip(grid, dims, strict=False):
        _draw_growth(axes, dim, [line for line in found if line["figures"]["dim"] == dim])
    for axes in grid[len(dims) :]:
        axes.set_axis_off()
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw_growth(axes: Axes, dim: str, lines: list[Line]) -> None:
    for hue, line in zip(CLASS_HUES, lines, strict=False):
        figures, setting = line["figures"], line["setting"].removeprefix(f"{dim}, ")
        for form in (OURS, "clone"):
            if (seconds := figures.get(f"{form}, s")) and (form == OURS or line is lines[0]):
                colour = hue if form == OURS else CLASS_HUES[6]
                label = setting if form == OURS else "clone"
                axes.plot(figures["sizes"], [1e3 * s for s in seconds], "o-", color=colour, markersize=3.5, label=label)
    axes.set(xscale="log", yscale="log", title=f"{dim}", ylabel="ms")
    sizes = lines[0]["figures"]["sizes"]
    axes.set_xticks(sizes, list(map(str, sizes)))
    axes.minorticks_off()
    low, high = axes.get_ylim()
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low <= tick <= high]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.grid(axis="y")


def registers(lines: list[Line]) -> Figure:
    """One histogram per target: registers per thread of its binaries."""
    found = of_kind(lines, "count")
    targets = list(found[0]["figures"]["targets"])
    figure = Figure(figsize=(WIDTH, 0.4 + 0.95 * len(targets)), layout="constrained")
    panels = figure.subplots(len(targets), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, target in zip(panels, targets, strict=True):
        counts = [line["figures"]["targets"][target]["registers"] for line in found]
        axes.hist(counts, bins=range(8, max(56, *counts) + 2, 2), color=CLASS_HUES[0], rwidth=0.85)
        axes.axvline(40, color=CLASS_HUES[1], linewidth=1.4)
        axes.set_title(f"{target}, {len(counts)} binaries", fontsize=9)
        axes.tick_params(length=0)
        axes.grid(axis="y")
    panels[-1].set_xlabel("registers per thread (line: goal)")
    return figure
