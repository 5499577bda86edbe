"""The plots of a report, as figures. The same results and versions of packages give the same PNG bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .. import config
from ..utils.plot_style import GREY, house_style
from ..utils.table import percent, signed
from .results import Results
from .run_files import FinishedRun

_HUES = {  # dark and light; light is the model without a shift
    "conv": ("#0072B2", "#6FB1D9"),
    "lstm": ("#C65500", "#EFA36A"),
    "transformer": ("#00785A", "#62C2A8"),
    "linear": ("#7B4F9E", "#B497CC"),
}


_FRAME = "#C65500"
_MAX_HEIGHT = 200.0  # inches; matplotlib cannot draw more than 2^16 pixels
_MAX_SIDE = 7.0  # maximum inches of a side of a confusion matrix
_MIN_CELL = 0.35  # minimum inches of a cell with text


@dataclass(frozen=True, slots=True)
class _Look:
    """The style of a model. Each kind of blocks has a hue, dark and filled with a shift, light and open without one.

    Stride 0 is grey.
    """

    colour: str
    fill: str
    dashes: str

    @classmethod
    def of(cls, model: config.Model) -> _Look:
        dark, light = _HUES[model.blocks]
        if model.shift is None:
            return cls(light, "white", "-")
        if model.shift.stride == 0:
            return cls(GREY, "white", "--")
        return cls(dark, dark, "-")


@dataclass(frozen=True, slots=True)
class Cell:
    """UA of a model of an ablation, and its difference to the same blocks without a shift, as fractions."""

    ua: float
    difference: float
    interval: tuple[float, float]
    holm_p: float

    @property
    def figure(self) -> str:
        """UA, with a star if the corrected p is below 0.05."""
        return f"{percent(self.ua)}{'*' * (self.holm_p < 0.05)}"

    @property
    def comparison(self) -> str:
        """The difference and the half-width of its interval."""
        low, high = self.interval
        return f"{signed(self.difference)} ± {percent((high - low) / 2)}"

    @property
    def interval_excludes_zero(self) -> bool:
        low, high = self.interval
        return low > 0 or high < 0


@dataclass(frozen=True, slots=True)
class Heatmap:
    """One map of an ablation: its cells by row and column."""

    title: str
    cells: dict[tuple[str, str], Cell]

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in self.cells))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in self.cells))


def ua_by_model(results: Results, summary: dict[str, Any]) -> Figure:
    """One row per model: mean, 95 % interval, a small dot per fold, and the chance level.

    Dots that would overlap are stacked, on up to three levels.
    """
    models = results.experiment.models
    chance = 100 * summary["chance"]
    shown = [chance, *(100 * ua for figures in summary["models"] for ua in figures["ua"]["by_fold"].values())]
    with house_style():
        figure = Figure(figsize=(6.4, min(1.2 + 0.5 * len(models), _MAX_HEIGHT)), layout="constrained")
        axes = figure.add_subplot()
        for row, (model, figures) in enumerate(zip(models, summary["models"], strict=True)):
            _draw_ua_row(axes, row, _Look.of(model), figures["ua"], dot=0.012 * (max(shown) - min(shown)))
        axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.2)
        axes.text(chance, -0.55, " chance", color=GREY, va="top")
        axes.set_yticks(range(len(models)), [textwrap.fill(model.name, 24) for model in models])
        axes.set_ylim(len(models) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        optimistic = summary["protocol"] == "paper"
        axes.set_xlabel(f"test UA{' at the best test epoch of each fold (optimistic)' * optimistic}, %")
        axes.set_title(f"Mean over {len(results.plan.folds)} folds with its 95 % interval; each small dot is a fold")
    return figure


def confusion_matrices(results: Results, summary: dict[str, Any]) -> Figure:
    """One panel per model: the share and the number of utterances of each true class predicted as each class.

    With many classes, the cells have no text.
    """
    columns = min(4, len(summary["models"]))
    rows = -(-len(summary["models"]) // columns)
    optimistic = " (optimistic)" * (summary["protocol"] == "paper")
    side = min(max(2.3, 0.55 * len(results.plan.labels)), _MAX_SIDE)
    with house_style():
        figure = Figure(figsize=(columns * side + 0.4, rows * (side + 0.35) + 0.2), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(panels.flat):
            if place >= len(summary["models"]):
                axes.set_axis_off()
                continue
            model = summary["models"][place]
            _draw_confusion(axes, np.array(model["confusion"]), results.plan.labels, side)
            title = f"{model['name']}, UA {100 * model['ua']['mean']:.1f} %{optimistic}"
            axes.set_title(textwrap.fill(title, int(11 * side)))
            axes.set_xlabel("predicted")
            if place % columns == 0:
                axes.set_ylabel("true")
    return figure


def learning_curves(results: Results) -> Figure:
    """UA by epoch (mean over runs, one per fold and seed), one panel per kind of blocks; dots mark the chosen epochs.

    Shows the validation part, or the test part if there is none. The area of a dot grows with its number of runs.
    """
    kinds = list(dict.fromkeys(model.blocks for model in results.experiment.models))
    with house_style():
        figure = Figure(figsize=(max(5.0, 3.0 * len(kinds)), 4.0), layout="constrained")
        panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)
        for kind, axes in zip(kinds, panels.flat, strict=True):
            for model in results.experiment.models:
                if model.blocks == kind:
                    _draw_curve(axes, model, results.runs[model.name])
            axes.grid(axis="y")
            axes.set_xlabel("epoch")
            axes.set_xlim(0.5, results.experiment.training.epochs + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16))
        validated = results.experiment.protocol.kind in ("heldout", "speaker")
        panels[0, 0].set_ylabel(f"{'validation' if validated else 'test'} UA, %")
        panels[0, 0].set_title("Mean over runs; dots: reported epochs, larger for more runs")
    return figure


def heatmaps(panels: Sequence[Heatmap]) -> Figure:
    """UA of an ablation in percent, one map per panel; rows are placements of the shift, columns proportions.

    The second line of a cell is the difference to the same blocks without a shift, and the half-width of its interval.
    If this interval excludes 0, the cell has a frame. All maps share one scale of colours. A cell is empty if no model
    has that placement and proportion.
    """
    with house_style():
        return draw_heatmaps(panels)


def draw_heatmaps(panels: Sequence[Heatmap]) -> Figure:
    """Draw :func:`heatmaps` in the current matplotlib style."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    values = [100 * cell.ua for panel in panels for cell in panel.cells.values()]
    width = max(3.2, 1.4 + 0.85 * max(len(panel.columns) for panel in panels))
    height = 1.3 + 0.55 * max(len(panel.rows) for panel in panels)
    figure = Figure(figsize=(columns * width, min(rows * height, _MAX_HEIGHT)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        image = _draw_heatmap(axes, panels[place], min(values), max(values))
        if place % columns == 0:
            axes.set_ylabel("placement")
    figure.colorbar(image, ax=grid, label="UA, %", aspect=16 * rows)
    return figure


def _draw_ua_row(axes: Axes, row: int, look: _Look, ua: dict[str, Any], dot: float) -> None:
    """Draw a row; ``dot`` is the width of a fold's dot in percentage points."""
    mean, low, high = (100 * value for value in (ua["mean"], *ua["interval"]))
    folds = sorted(100 * value for value in ua["by_fold"].values())
    heights = [row + 0.24 + 0.1 * (level % 3) for level in _levels(folds, dot)]  # three levels fit between two rows
    axes.plot([low, high], [row, row], color=look.colour, linewidth=2.5, solid_capstyle="butt")
    axes.plot(mean, row, "o", color=look.colour, markerfacecolor=look.fill, markersize=8, markeredgewidth=2)
    axes.plot(folds, heights, "o", color=look.colour, markersize=4, markeredgewidth=0, alpha=0.8)
    axes.annotate(f"{mean:.1f}", (mean, row), (0, 6), textcoords="offset points", ha="center")


def _levels(sorted_values: Sequence[float], width: float) -> list[int]:
    """For each value, the lowest level on which it overlaps no earlier value; all have the same ``width``."""
    ends: list[float] = []  # the last value on each level
    levels = []
    for value in sorted_values:
        level = next((level for level, end in enumerate(ends) if value - end >= width), len(ends))
        ends[level : level + 1] = [value]
        levels.append(level)
    return levels


def _draw_confusion(axes: Axes, counts: np.ndarray[Any, Any], labels: Sequence[str], side: float) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    cell = side / len(labels)
    for (true, predicted), share in np.ndenumerate(shares) if cell >= _MIN_CELL else ():
        axes.text(
            predicted,
            true,
            f"{100 * share:.0f} %\n{counts[true, predicted]}",
            color=_ink(image, share),
            size="x-small" if cell >= 0.5 else "xx-small",
            ha="center",
            va="center",
        )
    slant = 0 if max(map(len, labels)) <= 7 else 40 if cell >= _MIN_CELL else 90
    axes.set_xticks(range(len(labels)), labels, rotation=slant, ha="right" if slant == 40 else "center")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0, labelsize=min(9.0, 60 * cell))
    axes.spines[:].set_visible(False)


def _draw_curve(axes: Axes, model: config.Model, runs: Sequence[Sequence[FinishedRun]]) -> None:
    look = _Look.of(model)
    records = [run.record for folds in runs for run in folds]
    by_epoch = [[(epoch.validation or epoch.test).ua for epoch in record.epochs] for record in records]
    ua = 100 * np.array(by_epoch).mean(0)
    chosen, folds = np.unique([record.chosen.ua for record in records], return_counts=True)
    axes.plot(
        np.arange(1, len(ua) + 1),
        ua,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.3,
        marker="o",  # only in the legend: markevery is empty
        markersize=5,
        markerfacecolor=look.fill,
        markevery=[],
        label=textwrap.fill(model.name, 30),
    )
    see_through = to_rgba(look.fill, 0.6)  # dots of several models can overlap
    axes.scatter(chosen, ua[chosen - 1], 10 + 12 * folds, facecolor=see_through, edgecolor=look.colour, zorder=3)


def _draw_heatmap(axes: Axes, panel: Heatmap, low: float, high: float) -> AxesImage:
    rows, columns = panel.rows, panel.columns
    ua = np.full((len(rows), len(columns)), np.nan)
    for (row, column), cell in panel.cells.items():
        ua[rows.index(row), columns.index(column)] = 100 * cell.ua
    image = axes.imshow(ua, cmap="Blues", vmin=low - 0.3 * (high - low) - 0.1, vmax=high + 0.1, aspect="auto")
    for (row, column), cell in panel.cells.items():
        x, y = columns.index(column), rows.index(row)
        ink = _ink(image, 100 * cell.ua)
        style: dict[str, Any] = {"color": ink, "ha": "center", "va": "center", "textcoords": "offset points"}
        axes.annotate(cell.figure, (x, y), (0, 5), **style)
        axes.annotate(cell.comparison, (x, y), (0, -7), size="x-small", **style)
        if cell.interval_excludes_zero:
            axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, edgecolor=_FRAME, linewidth=1.8))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel("channels moved in each direction")
    axes.set_title(panel.title)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return image


def _ink(image: AxesImage, value: float) -> str:
    """Black or white, whichever is readable on the colour of a value."""
    red, green, blue, _ = image.to_rgba(np.array([value]))[0]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
