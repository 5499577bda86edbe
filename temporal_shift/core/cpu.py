"""Strided copies: the shift on the CPU, and on any device that Triton does not reach.

On the CPU a strided copy costs by its rows rather than by its bytes: each row begins with a miss that no prefetcher
foresaw. So what can be one contiguous pass is one, or one gather of long rows, and sequences that follow each other in
memory move as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .geometry import ChannelGroup, ShiftGeometry
from .moves import Move, plan


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """A new tensor, each of its frames copied from where its channels read, or padding."""
    if residual is None or residual.dtype == x.dtype:
        y = torch.empty_like(x)
    else:
        y = torch.empty_like(x, dtype=torch.result_type(x, residual))
    if bounds is None:
        _write(y, x, residual, geometry)
        return y
    for target, source, added in _sequences(bounds, geometry, y, x, residual):
        _write(target, source, added, _of_sequence(geometry, target))
    return y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """The same on ``x`` itself: of each group that moves a copy is made, and written back shifted."""
    if bounds is None:
        _overwrite(x, geometry)
    else:
        for (target,) in _sequences(bounds, geometry, x):
            _overwrite(target, _of_sequence(geometry, target))
    return x


def _write(y: Tensor, x: Tensor, residual: Tensor | None, geometry: ShiftGeometry) -> None:
    # An index of fake tensors is not for the cache, and what is gathered has the input's dtype.
    gatherable = y.itemsize if y.is_cpu and type(y) is Tensor and y.dtype == x.dtype else 0
    of_residual = None if residual is None else residual.stride()
    planned = plan(geometry, x.shape, y.stride(), x.stride(), of_residual, gatherable)
    last = None
    if planned.row:
        residual, last = None, residual
    # All views come before the first copy, which drives the code that makes them out of the processor's caches.
    writes = [_blocks(move, y, x, residual) for move in planned.moves]
    if planned.row:
        index = _index(geometry, x.shape, planned.row)
        torch.index_select(x.view(-1, planned.row), 0, index, out=y.view(-1, planned.row))
    elif planned.whole and residual is None:
        y.copy_(x)
    elif planned.whole:
        torch.add(x, residual, out=y)  # type: ignore[arg-type]
    for target, source, added, summed in writes:
        if source is None:
            target.zero_() if added is None else target.copy_(added)
        elif summed:
            target.copy_(source.sum(geometry.time_dim, keepdim=True))
        elif added is None:
            target.copy_(source)
        else:
            torch.add(source, added, out=target)
    if last is not None:
        y.add_(last)


def _blocks(
    move: Move, y: Tensor, x: Tensor, residual: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None, bool]:
    size, target, source, added, summed = move
    return (
        y.as_strided(size, target.strides, y.storage_offset() + target.offset),
        None if source is None else x.as_strided(summed or size, source.strides, x.storage_offset() + source.offset),
        None
        if residual is None
        else residual.as_strided(size, added.strides, residual.storage_offset() + added.offset),
        bool(summed),
    )


def _overwrite(x: Tensor, geometry: ShiftGeometry) -> None:
    for group, alone in _each_alone(geometry):
        target = x.narrow(geometry.channel_dim, group.start, group.channels)
        _write(target, target.clone(), None, alone)


@lru_cache(maxsize=1024)
def _each_alone(geometry: ShiftGeometry) -> tuple[tuple[ChannelGroup, ShiftGeometry], ...]:
    """The groups that move, each with the shift of its channels alone."""
    return tuple(
        (group, geometry._replace(groups=(group._replace(start=0, stop=group.channels),))) for group in geometry.moved
    )


@lru_cache(maxsize=16)
def _index(geometry: ShiftGeometry, shape: torch.Size, width: int) -> Tensor:
    """Which row each row reads: the shift of the rows' numbers."""
    groups = tuple(ChannelGroup(group.start // width, group.stop // width, group.frames) for group in geometry.groups)
    with torch.inference_mode(False):
        rows = torch.arange(shape.numel() // width, device="cpu").view(*shape[:-1], shape[-1] // width)
        index = torch.empty_like(rows)
    _write(index, rows, None, geometry._replace(groups=groups))
    return index.view(-1)


def _of_sequence(geometry: ShiftGeometry, sequence: Tensor) -> ShiftGeometry:
    """The geometry of one sequence, ``(..., L_i, D)``."""
    return geometry._replace(time_dim=sequence.dim() - 2, channel_dim=sequence.dim() - 1)


def _sequences(bounds: Tensor, geometry: ShiftGeometry, y: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """The frames of each sequence, ``(..., L_i, D)``, of each tensor; the padding of ``y`` is filled on the way."""
    dims = (geometry.time_dim, geometry.channel_dim)
    named = [dim for dim in range(y.dim()) if dim not in dims][: bounds.dim() if geometry.ragged == "lengths" else 0]
    order = ((*named, *dims), (*range(len(named)), -2, -1))
    y, *others = (None if part is None else part.movedim(*order) for part in (y, *others))  # type: ignore[assignment]
    if geometry.ragged == "cu_seqlens":
        for start, end in itertools.pairwise(bounds.tolist()):
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
