"""The shift as strided copies: the backend of the CPU, and of every device without Triton.

Copy the whole tensor, then overwrite each group that moves: one copy of its frames and one fill of its edge.
"""

from __future__ import annotations

import itertools
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .geometry import ShiftGeometry

_Sequence: TypeAlias = tuple[tuple[int, ...], int, int, int]


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, plus ``residual`` if given, as a new tensor."""
    y = torch.empty_like(x, dtype=None if residual is None else torch.result_type(x, residual))
    _write(y, x, residual)
    if bounds is None:
        _move_groups(y, x, residual, geometry)
        return y
    geometry, sequences, tensors = _by_sequence(bounds, geometry, y, x, residual)
    for group in geometry.moved:
        channels = [_narrow(tensor, -1, group.start, group.channels) for tensor in tensors]
        for index, start, end, _ in sequences:
            frames = [_frames(tensor, index, start, end) for tensor in channels]
            _move(frames[0], frames[1], frames[2], group.frames, geometry)
    for index, _, end, stop in sequences:
        if end < stop:
            _write(_frames(tensors[0], index, end, stop), None, _frames(tensors[2], index, end, stop))
    return y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to the channels of ``x`` that move, and zeros to its padding."""
    if bounds is None:
        _overwrite_groups(x, geometry)
        return x
    geometry, sequences, (last_dims,) = _by_sequence(bounds, geometry, x)
    for index, start, end, stop in sequences:
        _overwrite_groups(_frames(last_dims, index, start, end), geometry)
        if end < stop:
            _frames(last_dims, index, end, stop).zero_()
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


def _frames(x: Any, index: tuple[int, ...], start: int, end: int) -> Any:
    """Frames ``start:end`` of one element of the batch, ``(..., frames, D)``."""
    return None if x is None else (x[index] if index else x).narrow(-2, start, end - start)


def _by_sequence(
    bounds: Tensor, geometry: ShiftGeometry, *tensors: Tensor | None
) -> tuple[ShiftGeometry, list[_Sequence], list[Any]]:
    """The tensors as ``(batch, ..., L, D)``, and per sequence: index in the batch, first frame, end, end of padding."""
    dims = (geometry.time_dim, geometry.channel_dim)
    x: Any = tensors[0]
    ends = bounds.flatten().tolist()
    batch: list[int] = []  # the dims of x that lengths has
    sequences: list[_Sequence]
    if geometry.ragged == "cu_seqlens":
        sequences = [((), start, end, end) for start, end in itertools.pairwise(ends)]
    else:
        batch = [dim for dim in range(x.dim()) if dim not in dims][: bounds.dim()]
        indices = itertools.product(*map(range, bounds.shape))
        sequences = [(index, 0, end, x.shape[dims[0]]) for index, end in zip(indices, ends, strict=True)]
    order = ((*batch, *dims), (*range(len(batch)), -2, -1))
    moved = [None if tensor is None else tensor.movedim(*order) for tensor in tensors]
    return geometry.of_last_dims(), sequences, moved
