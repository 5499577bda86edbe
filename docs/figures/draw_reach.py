"""Draw how much each input frame affects an output frame: the squared Jacobian of the layers, in percent.

``python docs/figures/draw_reach.py [FOLDER]``. The weights are random. An empty cell is zero for any weights; the other
numbers depend on the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from theme import CODE, Theme, canvas, fill, save, tint, write
from torch import nn

from temporal_shift import ShiftConv, ShiftTransformerLayer

CHANNELS, FRAMES = 32, 21
SHOWN = 5  # frames drawn before and after the output frame
WIDTH, HEIGHT, LEFT = 22, 19, 94  # size of a cell; left edge of the cells


def conv(placement: str, **shift: int) -> nn.Module:
    return ShiftConv(CHANNELS, placement=placement, **shift)


def former(placement: str, **shift: int) -> nn.Module:
    return ShiftTransformerLayer(CHANNELS, 4, 4 * CHANNELS, 0.0, "gelu", batch_first=True, placement=placement, **shift)


def stack(depth: int) -> nn.Module:
    return nn.Sequential(*(former("replace") for _ in range(depth)))


PANELS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "ShiftConv": {
        "stride=0": lambda: conv("residual", stride=0),
        '"residual"': lambda: conv("residual"),
        '"inplace"': lambda: conv("inplace"),
    },
    "ShiftTransformerLayer": {
        "stride=0": lambda: former("inplace", stride=0),
        '"residual"': lambda: former("residual"),
        '"inplace"': lambda: former("inplace"),
        '"replace"': lambda: former("replace"),
    },
    'a stack of them, "replace"': {f"{depth} layers": lambda depth=depth: stack(depth) for depth in (2, 3, 4)},
}


@cache
def reach(make: Callable[[], nn.Module]) -> list[float]:
    """The share of each of ``FRAMES`` input frames in the squared Jacobian of the middle output frame, in percent."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        net, x = make().double(), torch.randn(1, FRAMES, CHANNELS).double()
        rows = x.repeat(CHANNELS, 1, 1).requires_grad_()  # a copy for each channel of the output frame
        (jacobian,) = torch.autograd.grad(net(rows)[:, FRAMES // 2].trace(), rows)  # (D, L, D)
    of_frames = jacobian.square().sum(dim=(0, 2))
    return (100 * of_frames / of_frames.sum()).tolist()


def draw(theme: Theme) -> Figure:
    figure, axes = canvas(342, 312)
    top = 4.0
    for title, rows in PANELS.items():
        write(axes, LEFT, top + 10, title, theme.ink, size=9.5, family=CODE)
        top += 19
        for name, make in rows.items():
            write(axes, LEFT - 5, top + HEIGHT / 2, name, theme.ink, size=9.5, family=CODE, ha="right")
            middle = FRAMES // 2
            _draw_row(axes, top, reach(make)[middle - SHOWN : middle + SHOWN + 1], theme)
            top += HEIGHT
        top += 12
    for offset in range(-SHOWN, SHOWN + 1):
        text = f"{offset:+d}".replace("-", "−") if offset else "t"
        write(axes, LEFT + (offset + SHOWN + 0.5) * WIDTH, top, text, theme.ink, ha="center")
    write(
        axes, LEFT + (SHOWN + 0.5) * WIDTH, top + 14, "input frame, as seen from output frame t", theme.ink, ha="center"
    )
    return figure


def _draw_row(axes: Axes, top: float, percents: list[float], theme: Theme) -> None:
    for column, percent in enumerate(percents):
        if percent == 0:
            continue
        left = LEFT + column * WIDTH
        colour = theme.origin(column - SHOWN)
        if column != SHOWN:
            colour = tint(theme, colour, min(1.0, 0.12 + (percent / 50) ** 0.7))
        fill(axes, [(left + 0.6, top + 0.6, WIDTH - 1.2, HEIGHT - 1.2)], colour)
        text = f"{percent:.0f}" if percent >= 0.5 else "<1"
        write(axes, left + WIDTH / 2, top + HEIGHT / 2, text, theme.ink, ha="center")


if __name__ == "__main__":
    save("reach", draw)
