"""Draw which frames the channels of a frame come from after a shift, counted in the output of the shift.

``python docs/figures/draw_mingling.py [FOLDER]``. The share of the neighbours is the mingling. It equals the share
that the frame has lost, the misalignment.
"""

from __future__ import annotations

import inspect

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from theme import CODE, DARK_INK, FUTURE, PAST, Theme, canvas, fill, numbered_frames, save, write

from temporal_shift import ShiftConv, ShiftGRU, ShiftLSTM, ShiftTransformerLayer, TemporalShift, temporal_shift

CHANNELS = 768
N_DIVS = {False: (16, 8, 4, 2, 1), True: (16, 8, 4, 2)}
LAYERS = (TemporalShift, ShiftConv, ShiftLSTM, ShiftGRU, ShiftTransformerLayer)
LEFT, WIDTH = 68, 266  # the bars


def shares(n_div: int, bidirectional: bool) -> dict[str, float]:
    """The shares of the channels of an inner frame that come from the past, the frame itself and the future."""
    frame = temporal_shift(numbered_frames(3, CHANNELS), n_div=n_div, bidirectional=bidirectional)[1]
    return {
        name: (frame == number).double().mean().item() for number, name in enumerate(("past", "own", "future"), start=1)
    }


def layers_with(n_div: int, bidirectional: bool) -> list[str]:
    """The layers with these defaults."""
    found = []
    for layer in LAYERS:
        parameters = inspect.signature(layer).parameters
        # in a recurrent layer, `bidirectional` is about the recurrence
        direction = parameters.get("bidirectional_shift", parameters["bidirectional"]).default
        default = parameters["n_div"].default
        if layer is TemporalShift:  # the signature has None, because `groups` can replace these arguments
            default, direction = layer().n_div, layer().bidirectional
        if (default, direction) == (n_div, bidirectional):
            found.append(layer.__name__)
    return found


def draw(theme: Theme) -> Figure:
    figure, axes = canvas(342, 348)
    colours = {"past": PAST, "own": theme.fill, "future": FUTURE}
    for (name, colour), left in zip(colours.items(), (LEFT, LEFT + 56, LEFT + 165), strict=True):
        fill(axes, [(left, 8, 11, 11)], colour)
        write(axes, left + 15, 13.5, "the frame's own" if name == "own" else name, theme.ink)
    top = 30.0
    for bidirectional, n_divs in N_DIVS.items():
        write(axes, LEFT, top + 7, f"bidirectional={bidirectional}", theme.ink, size=9.5, family=CODE)
        top += 17
        for n_div in n_divs:
            write(axes, LEFT - 5, top + 9, f"n_div={n_div}", theme.ink, size=9.5, family=CODE, ha="right")
            _draw_bar(axes, top, shares(n_div, bidirectional), colours, theme)
            top += 21
            if layers := layers_with(n_div, bidirectional):
                write(axes, LEFT, top + 4, "default of " + ", ".join(layers), theme.ink, size=9)
                top += 15
        top += 8
    write(axes, LEFT + WIDTH / 2, top + 3, "share of a frame's channels, %", theme.ink, ha="center")
    return figure


def _draw_bar(axes: Axes, top: float, parts: dict[str, float], colours: dict[str, str], theme: Theme) -> None:
    left = float(LEFT)
    for name, share in parts.items():
        width, text = share * WIDTH, f"{100 * share:.4g}"
        if share > 0:
            fill(axes, [(left, top, width - 1.2, 18)], colours[name])
        if width > 6.5 * len(text):
            ink = theme.ink if name == "own" else DARK_INK
            write(axes, left + width / 2, top + 9, text, ink, ha="center")
        left += width


if __name__ == "__main__":
    save("mingling", draw)
