"""Slice copies: the shift on the CPU, and on any device that Triton does not reach.

On the CPU a strided copy costs by its rows rather than by its bytes: each row begins with a miss that no prefetcher
foresaw. So what can be one contiguous pass is one (``_write_rows``), or one gather of long rows (``_gathered``), and
sequences that follow each other in memory move as one (``_rows``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..geometry import ChannelGroup, ShiftGeometry

_LEAST_ROW = 256  # bytes: shorter rows are gathered slower than a part of them is copied twice (benchmarks/op.py)
_MOST_ROWS = 1 << 17  # an index of a megabyte


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """A new tensor, each of its frames written once: copied from where its channels read, or padding."""
    if residual is None and bounds is None and _gathers(x, geometry):
        return _gathered(x, geometry)
    y = torch.empty_like(x, dtype=x.dtype if residual is None else torch.result_type(x, residual))
    if bounds is not None:
        for target, source, added in _sequences(bounds, geometry, y, x, residual):
            for group in geometry.groups:
                _write_group(target, source, added, group, _last(geometry))
    elif _follow(x, geometry) and (residual is None or _follow(residual, geometry)):
        _write_rows(y, x, residual, geometry)
    else:
        for group in geometry.groups:
            _write_group(y, x, residual, group, geometry)
    return y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """The same on ``x`` itself: of each group that moves a copy is made, and written back shifted."""
    if bounds is None:
        for group in geometry.moved:
            target = _channels(x, group, geometry)
            source = target.clone()  # dense, so that its sequences follow each other where those of x do
            _write(target, source, None, group.frames, geometry, follow=_follow(x, geometry))
        return x
    for (target,) in _sequences(bounds, geometry, x):
        for group in geometry.moved:
            part = _channels(target, group, _last(geometry))
            _write(part, part.clone(), None, group.frames, _last(geometry))
    return x


def _write_rows(y: Tensor, x: Tensor, residual: Tensor | None, geometry: ShiftGeometry) -> None:
    """Sequences that follow each other in memory: all at once where most channels stay, then those that move."""
    groups = geometry.groups
    if 2 * sum(group.channels for group in geometry.moved) <= x.shape[-1]:
        _put(y, x, residual)
        groups = geometry.moved
    for group in groups:
        _write_group(y, x, residual, group, geometry, follow=True)


def _write_group(
    y: Tensor, x: Tensor, residual: Tensor | None, group: ChannelGroup, geometry: ShiftGeometry, *, follow: bool = False
) -> None:
    added = None if residual is None else _channels(residual, group, geometry)
    _write(_channels(y, group, geometry), _channels(x, group, geometry), added, group.frames, geometry, follow=follow)


def _write(
    y: Tensor, x: Tensor, residual: Tensor | None, frames: int, geometry: ShiftGeometry, *, follow: bool = False
) -> None:
    """Write one group of channels, all of which read so many frames earlier."""
    if x.numel() == 0:
        return None
    if geometry.transposed:
        return _write_transposed(y, x, frames, geometry.time_dim)
    time = geometry.time_dim
    length = x.shape[time]
    if geometry.padding_mode == "circular":
        frames %= length
    edge = min(abs(frames), length)  # frames that read outside the sequence
    kept = length - edge
    to, start = (edge, 0) if frames >= 0 else (0, edge)
    if follow and kept > 0:  # a row before a sequence's first is another's last: the edge is written after it
        count = x.numel() // x.shape[-1] - edge
        added = None if residual is None else _rows(residual, to, count)
        _put(_rows(y, to, count), _rows(x, start, count), added)
    else:
        added = None if residual is None else residual.narrow(time, to, kept)
        _put(y.narrow(time, to, kept), x.narrow(time, start, kept), added)
    if edge == 0:
        return None
    at = 0 if frames >= 0 else kept
    border = y.narrow(time, at, edge)
    added = None if residual is None else residual.narrow(time, at, edge)
    if geometry.padding_mode == "replicate":
        _put(border, x.narrow(time, 0 if frames >= 0 else length - 1, 1).expand_as(border), added)
    elif geometry.padding_mode == "circular":
        _put(border, x.narrow(time, kept, edge), added)
    elif added is not None:
        border.copy_(added)
    else:
        border.zero_()
    return None


def _write_transposed(y: Tensor, x: Tensor, frames: int, time: int) -> None:
    """Where padding repeats the frame at the edge, that frame collects what all its readers send back."""
    length = x.shape[time]
    edge = min(abs(frames), length)
    kept = length - edge
    to, start = (0, edge) if frames >= 0 else (edge, 0)
    y.narrow(time, to, kept).copy_(x.narrow(time, start, kept))
    if edge == 0:
        return
    y.narrow(time, kept if frames >= 0 else 0, edge).zero_()
    readers = min(edge + 1, length)
    first, at = (0, 0) if frames >= 0 else (length - readers, length - 1)
    y.narrow(time, at, 1).copy_(x.narrow(time, first, readers).sum(time, keepdim=True))


def _put(y: Tensor, x: Tensor, residual: Tensor | None) -> None:
    if residual is None:
        y.copy_(x)
    else:
        torch.add(x, residual, out=y)


def _channels(x: Tensor, group: ChannelGroup, geometry: ShiftGeometry) -> Tensor:
    return x.narrow(geometry.channel_dim, group.start, group.channels)


def _follow(x: Tensor, geometry: ShiftGeometry) -> bool:
    """Whether ``x`` is ``(..., L, D)`` and each sequence begins in memory where the one before it ends."""
    dims = x.dim()
    if (geometry.time_dim, geometry.channel_dim) != (dims - 2, dims - 1) or geometry.transposed:
        return False
    shape, strides = x.shape, x.stride()
    return all(strides[i] == shape[i + 1] * strides[i + 1] for i in range(dims - 2))


def _rows(x: Tensor, first: int, count: int) -> Tensor:
    """So many frames of ``(..., L, D)`` from the first on, across the ends of sequences."""
    step = x.stride(-2)
    return x.as_strided((count, x.shape[-1]), (step, x.stride(-1)), x.storage_offset() + first * step)


def _gathers(x: Tensor, geometry: ShiftGeometry) -> bool:
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and geometry.channel_dim == x.dim() - 1
        and not geometry.transposed
        and x.is_contiguous()
        and 0 < x.numel() <= _MOST_ROWS * (width := _row(geometry))
        and width * x.element_size() >= _LEAST_ROW
        and not (x.is_conj() or x.is_neg())
    )


@lru_cache(maxsize=256)
def _row(geometry: ShiftGeometry) -> int:
    """The longest row of channels that move alike everywhere."""
    return math.gcd(*(group.channels for group in geometry.groups))


def _gathered(x: Tensor, geometry: ShiftGeometry) -> Tensor:
    width = _row(geometry)
    y = x.view(-1, width).index_select(0, _index(x.shape, geometry)).view(x.shape)
    if geometry.padding_mode == "zeros":
        length = x.shape[geometry.time_dim]
        for group in geometry.moved:
            edge = min(abs(group.frames), length)
            at = 0 if group.frames >= 0 else length - edge
            _channels(y, group, geometry).narrow(geometry.time_dim, at, edge).zero_()
    return y


@lru_cache(maxsize=16)
def _index(shape: torch.Size, geometry: ShiftGeometry) -> Tensor:
    """Which row each row reads: the shift of the rows' numbers."""
    width = _row(geometry)
    groups = tuple(ChannelGroup(group.start // width, group.stop // width, group.frames) for group in geometry.groups)
    with torch.inference_mode(False):
        rows = torch.arange(shape.numel() // width, device="cpu").view(*shape[:-1], shape[-1] // width)
        index = torch.empty_like(rows)
    for group in groups:
        _write_group(index, rows, None, group, geometry)
    return index.view(-1)


def _last(geometry: ShiftGeometry) -> ShiftGeometry:
    """The geometry of one sequence, ``(..., L, D)``."""
    return replace(geometry, time_dim=-2, channel_dim=-1)


def _sequences(bounds: Tensor, geometry: ShiftGeometry, y: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """The frames of each sequence, ``(..., L_i, D)``, of each tensor; the padding of ``y`` is filled on the way."""
    dims = (geometry.time_dim, geometry.channel_dim)
    named = [dim for dim in range(y.dim()) if dim not in dims][: bounds.dim() if geometry.ragged == "lengths" else 0]
    order = ((*named, *dims), (*range(len(named)), -2, -1))
    y, *others = (None if part is None else part.movedim(*order) for part in (y, *others))  # type: ignore[assignment]
    if geometry.ragged == "cu_seqlens":
        ends = bounds.tolist()
        for start, end in itertools.pairwise(ends):
            yield tuple(None if part is None else part.narrow(-2, start, end - start) for part in (y, *others))
        return
    for index, length in zip(itertools.product(*map(range, bounds.shape)), bounds.reshape(-1).tolist(), strict=True):
        sequence = [None if part is None else part[index] for part in (y, *others)]
        padding = [part.narrow(-2, length, part.shape[-2] - length) for part in sequence if part is not None]
        if len(padding) == 3:
            padding[0].copy_(padding[2])  # nothing is shifted there, the residual stays
        else:
            padding[0].zero_()
        yield tuple(None if part is None else part.narrow(-2, 0, length) for part in sequence)
