"""Draw what the shift does, computed by the shift itself: ``python docs/figures/draw_shift.py [FOLDER]``.

A cell is one channel of one frame. Its colour and number say which frame it comes from.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure

from temporal_shift import temporal_shift

FRAMES, CHANNELS, N_DIV = 6, 8, 4
PANELS = {
    "input": {"n_div": N_DIV, "stride": 0},
    "n_div=4": {"n_div": N_DIV},
    "n_div=4, bidirectional=True": {"n_div": N_DIV, "bidirectional": True},
}


@dataclass(frozen=True)
class Theme:
    """Colours of a page: its text, its lines, and the colour map for frames."""

    ink: str
    line: str
    frames: str


THEMES = {"light": Theme("#1f2328", "#ffffff", "YlGnBu"), "dark": Theme("#e6edf3", "#0d1117", "YlGnBu_r")}


def draw(theme: Theme) -> Figure:
    """The input and two shifts of it, side by side."""
    frame_of_cell = torch.arange(1.0, FRAMES + 1)[:, None].expand(FRAMES, CHANNELS)
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    for axes, (title, arguments) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        axes.set_title(title, color=theme.ink, fontsize=11, family="monospace")
        axes.set_xlabel("frames →", color=theme.ink)
        axes.set_ylabel("channels", color=theme.ink)
        _draw_cells(axes, temporal_shift(frame_of_cell, **arguments).T.tolist(), theme)
        _name_groups(axes, temporal_shift(frame_of_cell, **arguments)[2], theme)
    return figure


def _draw_cells(axes, rows: list[list[float]], theme: Theme) -> None:
    colours = matplotlib.colormaps[theme.frames]
    for channel, row in enumerate(rows):
        for frame, origin in enumerate(row):
            empty = origin == 0
            face = "none" if empty else colours(0.15 + 0.6 * origin / FRAMES)
            cell = matplotlib.patches.Rectangle((frame, channel), 1, 1, facecolor=face, edgecolor=theme.line, lw=1.5)
            axes.add_patch(cell)
            text, colour = ("0", theme.ink) if empty else (f"{origin:.0f}", _readable_on(face))
            axes.text(frame + 0.5, channel + 0.5, text, ha="center", va="center", fontsize=9, color=colour)
    axes.set(xlim=(0, FRAMES), ylim=(CHANNELS, 0), xticks=[], yticks=[], aspect=0.72)
    axes.set_frame_on(False)


def _name_groups(axes, third_frame: torch.Tensor, theme: Theme) -> None:
    """To the right of the cells: what each group of channels reads."""
    names = {2.0: "past", 4.0: "future"}
    for origin, name in names.items():
        channels = (third_frame == origin).nonzero().flatten().tolist()
        if channels:
            middle = (channels[0] + channels[-1] + 1) / 2
            axes.text(FRAMES + 0.15, middle, name, va="center", fontsize=10, color=theme.ink)


def _readable_on(face: tuple[float, float, float, float]) -> str:
    luminance = 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2]
    return "#1f2328" if luminance > 0.5 else "#ffffff"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    matplotlib.rcParams["svg.hashsalt"] = "temporal-shift"  # else every drawing differs in its ids
    for name, theme in THEMES.items():
        draw(theme).savefig(folder / f"shift-{name}.svg", transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
