"""The colours and the style of plots, and reproducible PNG files."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib.style
from matplotlib.figure import Figure

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8C8C8C",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "savefig.dpi": 150,
    "text.parse_math": False,  # show a dollar sign as it is
}
# Okabe and Ito's palette for colour-blind readers, with grey instead of black.
CLASS_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C", "#F0E442")
_HUE_OF = {"angry": "#D55E00", "happy": "#E69F00", "neutral": "#8C8C8C", "sad": "#0072B2"}
GREY = "#6B6B6B"


@dataclass(frozen=True, slots=True)
class PageTheme:
    """Colours of a light or dark page for SVG pictures without a background."""

    page: str  # background
    ink: str  # text
    line: str  # arrows and edges
    fill: str  # grids, and areas without another colour


PAGE_THEMES = {
    "light": PageTheme("#ffffff", "#1f2328", "#6e7781", "#d8dee4"),
    "dark": PageTheme("#1e2129", "#e6edf3", "#9198a1", "#4a515c"),
}
SVG_STYLE = {
    "svg.fonttype": "none",  # text, not paths: small and searchable, in the reader's font
    "svg.hashsalt": "temporal-shift",  # reproducible ids
    "text.parse_math": False,
}


def class_colours(labels: Sequence[str]) -> list[str]:
    """A colour for each class. The colours of ``angry``, ``happy``, ``neutral`` and ``sad`` are fixed.

    The other colours repeat if there are more classes than colours.
    """
    others = [hue for hue in CLASS_HUES if hue not in {_HUE_OF.get(label) for label in labels}]
    rest = itertools.cycle(others or CLASS_HUES)
    return [_HUE_OF.get(label) or next(rest) for label in labels]


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, without matplotlib's version in the metadata, which would change the bytes."""
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def house_style() -> AbstractContextManager[None]:
    """A context in which matplotlib draws and saves plots in the style of this package."""
    return matplotlib.style.context(["default", _STYLE])  # ignores the user's matplotlibrc
