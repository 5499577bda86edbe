"""The memory layout of tensors with the dims that the kernel takes: two batch dims, frames and channels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..geometry import ChannelGroup, ShiftGeometry

Strides = tuple[int, ...]  # the stride of one dim in each tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Sizes and strides of several tensors after dims are merged.

    ``batch`` contains the size and the strides of each batch dim, outermost first. ``frames`` and ``channels`` are the
    sizes of the other dims, ``time`` and ``channel`` their strides. ``groups`` cover the channels, and ``offset`` is
    the position of the first element in each tensor.
    """

    batch: tuple[tuple[int, Strides], ...]
    frames: int
    time: Strides
    channels: int
    channel: Strides
    groups: tuple[ChannelGroup, ...]
    offset: Strides = ()

    @classmethod
    def of(cls, shape: tuple[int, ...], strides: tuple[tuple[int, ...], ...], geometry: ShiftGeometry) -> Layout:
        """The layout of tensors of one shape. Expanded dims, such as frames and channels of ``lengths``, have stride 0.

        Batch dims inside the channels, such as H and W of ``(N, T, C, H, W)``, become channels, and groups get wider.
        Other batch dims are merged if they follow each other in every tensor.
        """
        of_dim = list(zip(*strides, strict=True))
        time, channel = geometry.time_dim, geometry.channel_dim
        batch = [(size, of_dim[dim]) for dim, size in enumerate(shape) if dim not in (time, channel) and size != 1]
        batch = _merged(sorted(batch, key=lambda dim: dim[1], reverse=True))
        channels, stride, factor = shape[channel], of_dim[channel], 1
        while batch and _follows(stride, *batch[-1]) and batch[-1][0] > 1:
            size, stride = batch.pop()
            channels, factor = channels * size, factor * size
        groups = tuple(
            group._replace(start=group.start * factor, stop=group.stop * factor) for group in geometry.groups
        )
        return cls(tuple(batch), shape[time], of_dim[time], channels, stride, groups, (0,) * len(strides))

    def pieces(self) -> Iterator[Layout]:
        """Layouts of two batch dims that together cover this one."""
        *more, outer, inner = ((1, (0,) * len(self.time)), (1, (0,) * len(self.time)), *self.batch)
        for index in itertools.product(*(range(size) for size, _ in more)):
            offset = tuple(
                sum(i * strides[tensor] for i, (_, strides) in zip(index, more, strict=True))
                for tensor in range(len(self.time))
            )
            yield replace(self, batch=(outer, inner), offset=offset)


def _merged(batch: list[tuple[int, Strides]]) -> list[tuple[int, Strides]]:
    merged: list[tuple[int, Strides]] = []
    for size, strides in batch:
        if merged and _follows(merged[-1][1], size, strides):
            merged[-1] = (merged[-1][0] * size, strides)
        else:
            merged.append((size, strides))
    return merged


def _follows(outer: Strides, size: int, inner: Strides) -> bool:
    """Whether one step of the outer dim spans the inner dim, in every tensor."""
    return all(before == size * stride for before, stride in zip(outer, inner, strict=True))
