"""Helpers of the drawing scripts: colours, cells, text, and the light and dark SVG files.

A figure has one axes in points, with the origin at the top left. It is narrow, so that its text is readable on a phone,
and has no background, so that it fits light and dark pages.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, PathPatch
from matplotlib.path import Path as Outline
from torch import Tensor

from temporal_shift.ser.utils.plot_style import CLASS_HUES, PAGE_THEMES, SVG_STYLE, PageTheme

FUTURE, PAST = CLASS_HUES[4:6]  # dark text is readable on both
DARK_INK = PAGE_THEMES["light"].ink
CODE = "monospace"


@dataclass(frozen=True)
class Theme(PageTheme):
    """The colours of a page, and the strongest tint on which its text is readable."""

    strongest: float

    def origin(self, frames: float) -> str:
        """The colour of an element that comes from ``frames`` later; negative is earlier."""
        return self.fill if frames == 0 else PAST if frames < 0 else FUTURE


THEMES = {
    name: Theme(**asdict(PAGE_THEMES[name]), strongest=strongest) for name, strongest in (("light", 1.0), ("dark", 0.5))
}


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def write(axes: Axes, x: float, y: float, text: str, colour: str, size: float = 10, **options: object) -> None:
    """Write text, vertically centred at ``y``."""
    axes.text(x, y, text, fontsize=size, color=colour, **{"va": "center_baseline", **options})


def arrow(axes: Axes, points: Sequence[tuple[float, float]], theme: Theme) -> None:
    """Draw a line through the points, with an arrow head at the last."""
    if len(points) > 2:
        axes.plot(*zip(*points[:-1], strict=True), color=theme.line, lw=1.1, solid_joinstyle="miter")
    style = {"arrowstyle": "-|>", "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0, "color": theme.line, "lw": 1.1}
    axes.add_patch(FancyArrowPatch(points[-2], points[-1], **style))


def fill(axes: Axes, boxes: Sequence[tuple[float, float, float, float]], colour: str, **options: object) -> None:
    """Draw boxes ``(left, top, width, height)`` of one colour, as one path, to make the file smaller."""
    outlines = [Outline([(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)], closed=True) for x, y, w, h in boxes]
    axes.add_patch(PathPatch(Outline.make_compound_path(*outlines), **{"facecolor": colour, "lw": 0, **options}))


def numbered_frames(frames: int, channels: int) -> Tensor:
    """``(frames, channels)``: each element is the number of its frame, from 1; 0 means padding."""
    return torch.arange(1.0, frames + 1)[:, None].expand(frames, channels)


def draw_cells(axes: Axes, origins: Tensor, left: float, top: float, theme: Theme, width: float, height: float) -> None:
    """Draw a row of cells for each channel of ``(frames, channels)``, with the frame that each element comes from."""
    boxes: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for frame, channels in enumerate(origins.tolist()):
        for channel, origin in enumerate(channels):
            box = (left + frame * width + 0.6, top + channel * height + 0.6, width - 1.2, height - 1.2)
            colour = "none" if origin == 0 else theme.origin(origin - (frame + 1))
            boxes[colour].append(box)
            ink = DARK_INK if colour in (PAST, FUTURE) else theme.ink
            write(axes, box[0] + box[2] / 2, box[1] + box[3] / 2, f"{origin:.0f}", ink, ha="center")
    for colour, all_of_it in boxes.items():
        fill(axes, all_of_it, colour, **({"edgecolor": theme.line, "lw": 0.6} if colour == "none" else {}))


def tint(theme: Theme, colour: str, share: float) -> tuple[float, ...]:
    """Mix a share of ``colour`` with the colour of the page. The share is scaled so that text stays readable."""
    part = theme.strongest * share
    return tuple(part * c + (1 - part) * p for c, p in zip(to_rgb(colour), to_rgb(theme.page), strict=True))


def save(name: str, draw: Callable[[Theme], Figure]) -> None:
    """Write ``NAME-light.svg`` and ``NAME-dark.svg`` to the folder of the command line. Default: beside the scripts."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    style = {
        "font.sans-serif": ["DejaVu Sans"],
        "font.monospace": ["DejaVu Sans Mono"],
        **SVG_STYLE,
    }
    with matplotlib.rc_context(style):
        for theme_name, theme in THEMES.items():
            draw(theme).savefig(folder / f"{name}-{theme_name}.svg", transparent=True, metadata={"Date": None})
