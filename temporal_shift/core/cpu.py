"""The shift as strided copies: the eager backend if no kernel computes the shift and the bounds, if any, can be read.

``shift`` copies ``x``, then overwrites the groups that move, one sequence at a time, and sets the padding to zero.
``shift_`` does the same without the first copy.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn import Parameter

from .geometry import ShiftGeometry


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, plus ``residual`` if given, as a new tensor.

    If at most an eighth of the channels move, and without ``lengths``, it adds the residual to ``x`` and recomputes
    the channels that move. Otherwise it adds the residual to the shift, in place if possible.
    """
    if residual is not None and geometry.ragged != "lengths" and _moves_few(x, geometry):
        y = x + residual
        _move_groups(y, x, bounds, geometry)
        for group in geometry.moved:
            channels = geometry.channel_dim, group.start, group.channels
            y.narrow(*channels).add_(residual.narrow(*channels))
        return y
    y = x.clone()
    _move_groups(y, x, bounds, geometry)
    if residual is None:
        return y
    fits = torch.result_type(y, residual) == y.dtype and type(residual) in (Tensor, Parameter)
    return y.add_(residual) if fits else y + residual  # a tensor subclass may override the sum


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to the channels of ``x`` that move, and zeros to its padding."""
    _move_groups(x, x, bounds, geometry)
    return x


def _moves_few(x: Tensor, geometry: ShiftGeometry) -> bool:
    return 8 * sum(group.channels for group in geometry.moved) <= x.shape[geometry.channel_dim]


def _move_groups(y: Tensor, x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> None:
    """Write the shift of ``x`` to the channels of ``y`` that move, and zeros to its padding. ``y`` may be ``x``."""
    in_place = x is y
    length = x.shape[geometry.time_dim]
    sequences = [(0, 0, length)]  # index in the batch, start, end
    batch: list[int] = []  # the dims of x that lengths has
    if bounds is not None:
        ends = bounds.flatten().tolist()
        if geometry.ragged == "cu_seqlens":
            sequences = [(0, *start_and_end) for start_and_end in itertools.pairwise(ends)]
        else:
            sequences = [(index, 0, end) for index, end in enumerate(ends)]
            dims = (geometry.time_dim, geometry.channel_dim)
            batch = [dim for dim in range(x.dim()) if dim not in dims][: bounds.dim()]
            order = ((*batch, *dims), (*range(len(batch)), -2, -1))
            y, x, geometry = y.movedim(*order), x.movedim(*order), geometry.of_last_dims()
    for group in geometry.moved:
        channels = geometry.channel_dim, group.start, group.channels
        target = y.narrow(*channels)
        source = target.clone() if in_place else x.narrow(*channels)
        targets, sources = _each(target, len(batch)), _each(source, len(batch))
        for index, start, end in sequences:
            _move(targets[index], sources[index], start, end, group.frames, geometry)
    if geometry.ragged == "lengths":
        for of_one, (_, _, end) in zip(_each(y, len(batch)), sequences, strict=True):
            if end < length:
                of_one.narrow(-2, end, length - end).zero_()


def _move(y: Tensor, x: Tensor, start: int, end: int, frames: int, geometry: ShiftGeometry) -> None:
    """Shift frames ``start:end`` of one group of channels by ``frames``, from ``x`` to ``y``."""
    time, mode, length = geometry.time_dim, geometry.padding_mode, end - start
    if length == 0:
        return
    if geometry.transposed:
        frames, mode = -frames, "zeros"
    elif mode == "circular":
        frames %= length
    edge = min(abs(frames), length)  # number of frames that read outside the sequence
    kept = length - edge
    to, first, outside = (edge, 0, 0) if frames > 0 else (0, edge, kept)
    if kept > 0:
        y.narrow(time, start + to, kept).copy_(x.narrow(time, start + first, kept))
    if edge > 0:
        rest = y.narrow(time, start + outside, edge)
        if mode == "replicate":
            rest.copy_(x.narrow(time, start if frames > 0 else end - 1, 1))
        elif mode == "circular":
            rest.copy_(x.narrow(time, start + kept, edge))
        else:
            rest.zero_()
    if geometry.transposed:  # the frame at the border gets the sum of the gradients of all frames that read it
        readers = min(edge + 1, length)
        border, first = (start, start) if frames < 0 else (end - 1, end - readers)
        y.narrow(time, border, 1).copy_(x.narrow(time, first, readers).sum(time, keepdim=True))


def _each(x: Tensor, dims: int) -> list[Tensor]:
    """Split ``x`` along its first ``dims`` dims into single elements."""
    parts = [x]
    for _ in range(dims):
        parts = [element for part in parts for element in part.unbind(0)]
    return parts
