"""The shift as strided copies: the backend of the CPU, and of every device without Triton.

Copy the whole tensor, then overwrite each group that moves: one copy of its frames and one fill of its edge.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .geometry import ShiftGeometry


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, plus ``residual`` if given, as a new tensor."""
    y = torch.empty_like(x, dtype=None if residual is None else torch.result_type(x, residual))
    _write(y, x, residual)
    if bounds is None:
        _move_groups(y, x, residual, geometry)
        return y
    for frames, padding in _sequences(bounds, geometry, y, x, residual):
        _move_groups(frames[0], frames[1], frames[2], geometry.of_last_dims())
        _write(padding[0], None, padding[2])
    return y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to the channels of ``x`` that move, and zeros to its padding."""
    if bounds is None:
        _overwrite_groups(x, geometry)
        return x
    for (frames,), (padding,) in _sequences(bounds, geometry, x):
        _overwrite_groups(frames, geometry.of_last_dims())
        padding.zero_()
    return x


def _move_groups(y: Tensor, x: Tensor, residual: Tensor | None, geometry: ShiftGeometry) -> None:
    for group in geometry.moved:
        channels = (geometry.channel_dim, group.start, group.channels)
        _move(y.narrow(*channels), x.narrow(*channels), _narrow(residual, *channels), group.frames, geometry)


def _overwrite_groups(x: Tensor, geometry: ShiftGeometry) -> None:
    for group in geometry.moved:
        channels = x.narrow(geometry.channel_dim, group.start, group.channels)
        _move(channels, channels.clone(), None, group.frames, geometry)


def _move(y: Tensor, x: Tensor, residual: Tensor | None, frames: int, geometry: ShiftGeometry) -> None:
    """Write ``x``, read ``frames`` earlier, plus ``residual``, to ``y``: the channels of one group."""
    time, mode, transposed = geometry.time_dim, geometry.padding_mode, geometry.transposed
    length = x.shape[time]
    if length == 0:
        return
    if transposed:
        frames, mode = -frames, "zeros"
    elif mode == "circular":
        frames %= length
    edge = min(abs(frames), length)  # frames that read outside the sequence
    kept = length - edge
    to, first, at = (edge, 0, 0) if frames > 0 else (0, edge, kept)
    if kept > 0:
        _write(y.narrow(time, to, kept), x.narrow(time, first, kept), _narrow(residual, time, to, kept))
    if edge > 0:
        outside = None
        if mode == "replicate":
            outside = x.narrow(time, 0 if frames > 0 else length - 1, 1)
        elif mode == "circular":
            outside = x.narrow(time, kept, edge)
        _write(y.narrow(time, at, edge), outside, _narrow(residual, time, at, edge))
    if transposed:  # the border frame gets the sum of the gradients of all frames that read it
        readers = min(edge + 1, length)
        border, first = (0, 0) if frames < 0 else (length - 1, length - readers)
        y.narrow(time, border, 1).copy_(x.narrow(time, first, readers).sum(time, keepdim=True))


def _write(y: Tensor, x: Tensor | None, residual: Tensor | None) -> None:
    """Write ``x + residual`` to ``y``; ``None`` is zero."""
    if x is not None and residual is not None:
        torch.add(x, residual, out=y)
    elif x is not None:
        y.copy_(x)
    elif residual is not None:
        y.copy_(residual)
    else:
        y.zero_()


def _narrow(x: Tensor | None, dim: int, start: int, length: int) -> Tensor | None:
    return None if x is None else x.narrow(dim, start, length)


def _sequences(
    bounds: Tensor, geometry: ShiftGeometry, y: Tensor, *others: Tensor | None
) -> Iterator[tuple[list[Any], list[Any]]]:
    """The frames of each sequence in each tensor, then its padding, both as ``(..., frames, D)``."""
    dims = (geometry.time_dim, geometry.channel_dim)
    batch: list[int] = []  # the dims of x that lengths has
    spans: list[tuple[tuple[int, ...], int, int, int]]
    if geometry.ragged == "cu_seqlens":
        spans = [((), start, end, end) for start, end in itertools.pairwise(bounds.tolist())]
    else:
        batch = [dim for dim in range(y.dim()) if dim not in dims][: bounds.dim()]
        indices, ends = itertools.product(*map(range, bounds.shape)), bounds.flatten().tolist()
        spans = [(index, 0, end, y.shape[geometry.time_dim]) for index, end in zip(indices, ends, strict=True)]
    order = ((*batch, *dims), (*range(len(batch)), -2, -1))
    tensors = [None if x is None else x.movedim(*order) for x in (y, *others)]
    for index, start, end, stop in spans:
        sequences = [None if x is None else x[index] for x in tensors]
        yield (
            [_narrow(x, -2, start, end - start) for x in sequences],
            [_narrow(x, -2, end, stop - end) for x in sequences],
        )
