"""Draw the output of the shift: ``python docs/figures/draw_shift.py [FOLDER]``.

A cell is one channel of one frame. The number is the frame that its value comes from, and the colour says whether that
frame is earlier or later.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from theme import CODE, Theme, canvas, draw_cells, numbered_frames, save, write
from torch import Tensor

from temporal_shift import temporal_shift

FRAMES, CHANNELS, N_DIV = 6, 8, 4
PANELS = {
    "input": {"n_div": N_DIV, "stride": 0},
    f"n_div={N_DIV}": {"n_div": N_DIV},
    f"n_div={N_DIV}\nbidirectional=True": {"n_div": N_DIV, "bidirectional": True},
}
WIDTH, HEIGHT = 13.5, 16  # size of a cell


def origins(arguments: dict[str, int | bool]) -> Tensor:
    """``(frames, channels)``: the number of the frame that each element comes from, 0 for padding."""
    return temporal_shift(numbered_frames(FRAMES, CHANNELS), **arguments)


def draw(theme: Theme) -> Figure:
    """The input and two shifts, side by side."""
    figure, axes = canvas(342, 176)
    write(axes, 8, 34 + CHANNELS * HEIGHT / 2, "channels", theme.ink, rotation=90, rotation_mode="anchor", ha="center")
    for (title, arguments), left in zip(PANELS.items(), (17, 109, 223), strict=True):
        cells = origins(arguments)
        for line, text in enumerate(reversed(title.split("\n"))):
            write(axes, left, 24 - 12 * line, text, theme.ink, size=9.5, family=CODE)
        draw_cells(axes, cells, left, 34, theme, WIDTH, HEIGHT)
        write(axes, left + FRAMES * WIDTH / 2, 34 + CHANNELS * HEIGHT + 7, "frames →", theme.ink, ha="center")
        _name_groups(axes, cells[2].tolist(), left + FRAMES * WIDTH + 3, theme)
    return figure


def _name_groups(axes: Axes, third_frame: list[float], left: float, theme: Theme) -> None:
    """Write whether each shifted group of channels reads the past or the future, to the right of the cells."""
    for origin, name in {2.0: "past", 4.0: "future"}.items():
        channels = [channel for channel, read in enumerate(third_frame) if read == origin]
        if channels:
            middle = (channels[0] + channels[-1] + 1) / 2
            write(axes, left, 34 + middle * HEIGHT, name, theme.ink)


if __name__ == "__main__":
    save("shift", draw)
