"""The report's pictures. Each function returns a figure; the same results give the same bytes of PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import config
from ..utils.plot_style import GREY, house_style
from .results import FinishedRun, Results

_HUES = {  # theirs, too; the lighter one is the plain model's
    "conv": ("#0072B2", "#6FB1D9"),
    "lstm": ("#C65500", "#EFA36A"),
    "transformer": ("#00785A", "#62C2A8"),
}


@dataclass(frozen=True, slots=True)
class _Look:
    """Blocks give the hue; a shift is dark and filled, no shift light and hollow, a shift of no frames grey."""

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
class Heatmap:
    """One map of an ablation; ``ua[row, column]`` is a fraction."""

    title: str
    ua: dict[tuple[str, str], float]

    @property
    def rows(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in self.ua))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(column for _, column in self.ua))


def ua_by_model(results: Results, summary: dict[str, Any]) -> Figure:
    """A row per model: mean and 95 % interval, a small dot per fold under them, and the chance line."""
    models = results.experiment.models
    with house_style():
        figure = Figure(figsize=(6.4, 1.2 + 0.5 * len(models)), layout="constrained")
        axes = figure.add_subplot()
        for row, (model, figures) in enumerate(zip(models, summary["models"], strict=True)):
            _draw_ua_row(axes, row, _Look.of(model), figures["ua"])
        chance = 100 * summary["chance"]
        axes.axvline(chance, color=GREY, linestyle=":", linewidth=1.2)
        axes.text(chance, -0.55, " chance", color=GREY, va="top")
        axes.set_yticks(range(len(models)), [textwrap.fill(model.name, 24) for model in models])
        axes.set_ylim(len(models) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        optimistic = summary["protocol"] == "paper"
        axes.set_xlabel(f"UA of who is tested{', at its own best epoch: optimistic' * optimistic}, %")
        axes.set_title(f"Mean over {len(results.plan.folds)} folds with its 95 % interval; each small dot is a fold")
    return figure


def confusion_matrices(results: Results, summary: dict[str, Any]) -> Figure:
    """A panel per model: of each true class, the share predicted as each class, and the utterances."""
    columns = min(4, len(summary["models"]))
    rows = -(-len(summary["models"]) // columns)
    optimistic = " (optimistic)" * (summary["protocol"] == "paper")
    side = max(2.3, 0.55 * len(results.plan.labels))
    with house_style():
        figure = Figure(figsize=(columns * side + 0.4, rows * (side + 0.35) + 0.2), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(panels.flat):
            if place >= len(summary["models"]):
                axes.set_axis_off()
                continue
            model = summary["models"][place]
            _draw_confusion(axes, np.array(model["confusion"]), results.plan.labels)
            title = f"{model['name']}, UA {100 * model['ua']['mean']:.1f} %{optimistic}"
            axes.set_title(textwrap.fill(title, int(11 * side)))
            if place + columns >= len(summary["models"]):
                axes.set_xlabel("predicted")
            if place % columns == 0:
                axes.set_ylabel("true")
    return figure


def learning_curves(results: Results) -> Figure:
    """UA by epoch, mean over folds and seeds, a panel per kind of blocks; a dot is the epoch that a fold chose.

    Of the part that validates, or else of the part that tests.
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
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend(loc="upper left", bbox_to_anchor=(0, -0.16))
        validated = results.experiment.protocol.kind in ("heldout", "speaker")
        panels[0, 0].set_ylabel(f"{'validation' if validated else 'test'} UA, %")
        panels[0, 0].set_title("Mean over folds; a dot is the epoch that a fold is reported at")
    return figure


def heatmaps(panels: Sequence[Heatmap]) -> Figure:
    """UA of an ablation, one map for each direction and stride: placements down, proportions across; % in each cell.

    All maps share one scale of colours, so that they can be compared. A cell that no model can be is empty.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    values = [value for panel in panels for value in panel.ua.values()]
    low, high = 100 * min(values), 100 * max(values)
    with house_style():
        width = max(3.2, 1.4 + 0.75 * max(len(panel.columns) for panel in panels))
        height = 1.3 + 0.5 * max(len(panel.rows) for panel in panels)
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        for place, axes in enumerate(grid.flat):
            if place < len(panels):
                _draw_heatmap(axes, panels[place], low, high)
            else:
                axes.set_axis_off()
    return figure


def _draw_ua_row(axes: Axes, row: int, look: _Look, ua: dict[str, Any]) -> None:
    mean, low, high = (100 * value for value in (ua["mean"], *ua["interval"]))
    folds = [100 * value for value in ua["by_fold"].values()]
    axes.plot([low, high], [row, row], color=look.colour, linewidth=2.5, solid_capstyle="butt")
    axes.plot(mean, row, "o", color=look.colour, markerfacecolor=look.fill, markersize=8, markeredgewidth=2)
    axes.plot(folds, [row + 0.27] * len(folds), "o", color=look.colour, markersize=4, markeredgewidth=0)
    axes.annotate(f"{mean:.1f}", (mean, row), (0, 6), textcoords="offset points", ha="center")


def _draw_confusion(axes: Axes, counts: np.ndarray[Any, Any], labels: Sequence[str]) -> None:
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (true, predicted), share in np.ndenumerate(shares):
        axes.text(
            predicted,
            true,
            f"{100 * share:.0f} %\n{counts[true, predicted]}",
            color="white" if share > 0.6 else "black",
            size="x-small",
            ha="center",
            va="center",
        )
    slanted = max(map(len, labels)) > 7
    axes.set_xticks(range(len(labels)), labels, rotation=40 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(range(len(labels)), labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_curve(axes: Axes, model: config.Model, runs: Sequence[Sequence[FinishedRun]]) -> None:
    look = _Look.of(model)
    records = [run.record for folds in runs for run in folds]
    ua = 100 * np.array([[(epoch.validation or epoch.test).ua for epoch in record.epochs] for record in records]).mean(
        0
    )
    chosen = np.array([record.chosen.ua for record in records])
    axes.plot(
        np.arange(1, len(ua) + 1),
        ua,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.3,
        marker="o",
        markersize=5,
        markerfacecolor=look.fill,
        markevery=(chosen - 1).tolist(),
        label=textwrap.fill(model.name, 30),
    )


def _draw_heatmap(axes: Axes, panel: Heatmap, low: float, high: float) -> None:
    cells = np.full((len(panel.rows), len(panel.columns)), np.nan)
    for (row, column), ua in panel.ua.items():
        cells[panel.rows.index(row), panel.columns.index(column)] = 100 * ua
    axes.imshow(cells, cmap="Blues", vmin=low - 0.3 * (high - low) - 0.1, vmax=high + 0.1, aspect="auto")
    for (row, column), ua in np.ndenumerate(cells):
        if not np.isnan(ua):
            dark = ua > low + 0.6 * (high - low)
            axes.text(column, row, f"{ua:.1f}", color="white" if dark else "black", ha="center", va="center")
    axes.set_xticks(range(len(panel.columns)), panel.columns)
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    axes.set_title(panel.title)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
