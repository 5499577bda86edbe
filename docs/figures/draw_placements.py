"""Draw the tensors inside a layer for each placement of the shift, recorded by hooks.

``python docs/figures/draw_placements.py [FOLDER]``. The layer is a ``ShiftTransformerLayer``, which has all three
placements. The cells are drawn as in ``draw_shift.py``.
"""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from theme import CODE, Theme, arrow, canvas, draw_cells, fill, numbered_frames, save, write
from torch import Tensor, nn

from temporal_shift import ShiftTransformerLayer

FRAMES, CHANNELS = 5, 4
CELL, SPAN = 13.5, FRAMES * 13.5  # width of one frame, of all frames
X, SEEN, BOX, SUM = 4, 122, 202, 276  # horizontal positions: input, recorded tensors, attention, centre of the sum


def seen(placement: str) -> dict[str, Tensor]:
    """Apply a layer to numbered frames, and return the inputs of parts of the layer, ``(frames, channels)`` each."""
    layer = ShiftTransformerLayer(CHANNELS, 1, CHANNELS, 0.0, batch_first=True, placement=placement)
    inputs: dict[str, Tensor] = {}

    def record(module: nn.Module, name: str) -> None:
        module.register_forward_pre_hook(lambda _, arguments: inputs.__setitem__(name, arguments[0][0].detach()))

    if placement == "replace":
        record(layer.linear1, "instead")  # there is only the feed-forward part
    else:
        record(layer.self_attn, "attention")
        record(layer.norm1, "skip")
        nn.init.zeros_(layer.self_attn.out_proj.weight)  # then the sum equals the skip
        nn.init.zeros_(layer.self_attn.out_proj.bias)
    layer(numbered_frames(FRAMES, CHANNELS)[None])
    return inputs


def draw(theme: Theme) -> Figure:
    figure, axes = canvas(342, 452)
    _draw_two_lanes(axes, 0, "residual", theme)
    _draw_two_lanes(axes, 178, "inplace", theme)
    _draw_one_lane(axes, 356, theme)
    return figure


def _draw_two_lanes(axes: Axes, top: float, placement: str, theme: Theme) -> None:
    """The skip at the top, the attention at the bottom, their sum on the right."""
    skip, attention = top + 63, top + 139
    middle, edge = (skip + attention) / 2, SEEN + SPAN + 4
    _title(axes, top, placement, theme)
    _draw_cells(axes, numbered_frames(FRAMES, CHANNELS), X, middle, theme)
    for name, text, lane in (("skip", "on the skip", skip), ("attention", "the attention reads", attention)):
        write(axes, SEEN, lane - 36, text, theme.ink)
        _draw_cells(axes, seen(placement)[name], SEEN, lane, theme)
    fork, shift = (X + SPAN + 10, skip) if placement == "residual" else (SEEN - 13, middle)
    write(axes, X + SPAN + 20, shift - 7, "shift", theme.ink, ha="center")
    for lane in (skip, attention):
        arrow(axes, [(X + SPAN, middle), (fork, middle), (fork, lane), (SEEN - 4, lane)], theme)
    fill(axes, [(BOX, attention - 12, 60, 24)], "none", edgecolor=theme.line, lw=1.1)
    write(axes, BOX + 30, attention, "attention", theme.ink, ha="center")
    arrow(axes, [(edge, attention), (BOX - 1, attention)], theme)
    arrow(axes, [(BOX + 60, attention), (SUM, attention), (SUM, middle + 8)], theme)
    arrow(axes, [(edge, skip), (SUM, skip), (SUM, middle - 8)], theme)
    axes.plot(SUM, middle, "o", ms=15, mfc="none", mec=theme.line, mew=1.1)
    write(axes, SUM, middle, "+", theme.ink, size=12, ha="center", va="center")
    arrow(axes, [(SUM + 8, middle), (SUM + 20, middle)], theme)
    write(axes, SUM + 23, middle - 6, "to the", theme.ink)
    write(axes, SUM + 23, middle + 6, "norm", theme.ink)


def _draw_one_lane(axes: Axes, top: float, theme: Theme) -> None:
    middle, edge = top + 63, SEEN + SPAN + 4
    _title(axes, top, "replace", theme)
    _draw_cells(axes, numbered_frames(FRAMES, CHANNELS), X, middle, theme)
    write(axes, SEEN, middle - 36, "instead of attention and its skip", theme.ink)
    _draw_cells(axes, seen("replace")["instead"], SEEN, middle, theme)
    write(axes, X + SPAN + 20, middle - 7, "shift", theme.ink, ha="center")
    arrow(axes, [(X + SPAN, middle), (SEEN - 4, middle)], theme)
    arrow(axes, [(edge, middle), (edge + 12, middle)], theme)
    write(axes, edge + 15, middle, "to the feed-forward part", theme.ink)


def _title(axes: Axes, top: float, placement: str, theme: Theme) -> None:
    write(axes, X, top + 10, f'placement="{placement}"', theme.ink, size=9.5, family=CODE)


def _draw_cells(axes: Axes, origins: Tensor, left: float, middle: float, theme: Theme) -> None:
    draw_cells(axes, origins, left, middle - CHANNELS * CELL / 2, theme, CELL, CELL)


if __name__ == "__main__":
    save("placements", draw)
