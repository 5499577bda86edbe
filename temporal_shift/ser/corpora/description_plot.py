"""The plot of a corpus, in the style of the reports' plots."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..utils.plot_style import CLASS_HUES, GREY, house_style
from .description import CLIP_SECONDS
from .manifest import Manifest

_NAMED = 60  # maximum number of rows for which the speakers' names are shown; more would overlap


def corpus_figure(manifest: Manifest) -> Figure:
    """Plot the durations by class, and the utterances of each speaker by class, grouped by session."""
    people = sorted(manifest.count("session", "speaker"))
    height = float(np.clip(0.16 * len(people), 0.45 * len(manifest.labels), 9.6)) + 1.4
    with house_style():
        figure = Figure(figsize=(9.6, max(height, 3.0)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        _draw_durations(left, manifest)
        _draw_speakers(right, manifest, people)
        figure.legend(
            *right.get_legend_handles_labels(), loc="outside lower center", ncols=min(8, len(manifest.labels))
        )
    return figure


def _draw_durations(axes: Axes, manifest: Manifest) -> None:
    for row, label in enumerate(manifest.labels):
        seconds = [utterance.seconds for utterance in manifest.utterances if utterance.label == label]
        colour, alpha = _look(row)
        if seconds:
            low, lower, middle, upper, high = np.percentile(seconds, (5, 25, 50, 75, 95))
            axes.plot([min(seconds), max(seconds)], [row, row], ".", color=colour, alpha=alpha, markersize=4)
            axes.plot([low, high], [row, row], color=colour, alpha=alpha, linewidth=1.5)
            axes.plot([lower, upper], [row, row], color=colour, alpha=alpha, linewidth=8, solid_capstyle="butt")
            axes.plot([middle], [row], "|", color="black", markersize=8, markeredgewidth=1.2)
    longest = max(utterance.seconds for utterance in manifest.utterances)
    if longest > 0.8 * CLIP_SECONDS:
        axes.axvline(CLIP_SECONDS, color=GREY, linestyle=":", linewidth=1.2)
        axes.annotate(
            f" {CLIP_SECONDS:g} s", (CLIP_SECONDS, 0), xycoords=("data", "axes fraction"), color=GREY, va="bottom"
        )
    axes.set_yticks(range(len(manifest.labels)), [textwrap.fill(label, 18) for label in manifest.labels])
    axes.set_ylim(len(manifest.labels) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("duration, s")
    axes.set_title("Median, middle half, 5 to 95 %, extremes")


def _draw_speakers(axes: Axes, manifest: Manifest, people: Sequence[tuple[str, str]]) -> None:
    counts = manifest.count("session", "speaker", "label")
    sessions = sorted({session for session, _ in people})
    places = [row + 0.6 * sessions.index(session) for row, (session, _) in enumerate(people)]
    left = np.zeros(len(people))
    for index, label in enumerate(manifest.labels):
        widths = np.array([counts[session, speaker, label] for session, speaker in people])
        colour, alpha = _look(index)
        axes.barh(places, widths, 0.8, left=left, color=colour, alpha=alpha, label=label)
        left += widths
    for session in sessions:
        rows = [place for place, (of, _) in zip(places, people, strict=True) if of == session]
        axes.annotate(
            textwrap.shorten(session, 20, placeholder="..."),
            (1.01, (rows[0] + rows[-1]) / 2),
            xycoords=("axes fraction", "data"),
            color=GREY,
            va="center",
        )
    if len(people) <= _NAMED:
        axes.set_yticks(places, [speaker for _, speaker in people], size=7)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len({speaker for _, speaker in people})} speakers")
    axes.set_ylim(places[-1] + 0.7, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.set_xlabel("utterances")
    axes.set_title("Speakers by session")


def _look(index: int) -> tuple[str, float]:
    return CLASS_HUES[index % len(CLASS_HUES)], 1.0 if index < len(CLASS_HUES) else 0.45
