"""The launches of a shift: tiles, grids and arguments. They depend on shapes and strides only, and are cached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl

from ..geometry import ChannelGroup, ShiftGeometry
from . import kernels
from .layout import Layout

MAX_CARRIED = 32  # frames that a circular shift in place carries in registers
_PADDING = {"zeros": kernels.ZEROS, "replicate": kernels.REPLICATE, "circular": kernels.CIRCULAR}
_RAGGED = {None: kernels.WHOLE, "lengths": kernels.LENGTHS, "cu_seqlens": kernels.PACKED}
_GROUPS = 4  # per launch; more groups take more launches
_WARPS = 4
_THREADS = 32 * _WARPS  # twice as many on AMD, each with half of the elements
_MAX_PROGRAMS = 65535  # along the second and the third dim of a grid


@dataclass(frozen=True, slots=True)
class Launch:
    """One run of a kernel, without its tensors. ``offset`` is the first element of each tensor."""

    grid: tuple[int, int, int]
    offset: tuple[int, ...]
    arguments: tuple[int, ...]
    constants: dict[str, Any]


@lru_cache(maxsize=1024)
def plan(
    geometry: ShiftGeometry,
    shape: torch.Size,
    strides: tuple[tuple[int, ...], ...],  # of x, y, the residual, the lengths
    sequences: int,
    itemsize: int,
    add: bool,
    dtype: torch.dtype,
) -> tuple[Launch, ...]:
    """The launches of ``shift_kernel``."""
    mode = kernels.REPLICATE_TRANSPOSED if geometry.transposed else _PADDING[geometry.padding_mode]
    constants = {
        "PADDING": mode.value,
        "RAGGED": _RAGGED[geometry.ragged].value,
        "ADD": add,
        "SUM": tl.float64 if dtype == torch.float64 else tl.float32,
    }
    launches = []
    for layout in Layout.of(tuple(shape), strides, geometry).pieces():
        for groups in _chunked(layout.groups):
            block_t, block_c = tile(layout, groups, itemsize, add or geometry.transposed)
            blocks = [triton.cdiv(group.channels, block_c) for group in groups]
            (_, outer), (inner, inner_strides) = layout.batch
            batch = layout.batch[0][0] * inner
            halvings = sequences.bit_length()
            arguments = (
                batch,
                inner,
                layout.frames,
                sequences,
                halvings,
                *_flat(groups, layout.frames, geometry.padding_mode),
                *_padded(blocks),
            )
            for tensor in range(3):
                arguments += (outer[tensor], inner_strides[tensor], layout.time[tensor], layout.channel[tensor])
            arguments += (outer[3], inner_strides[3])
            tiles = triton.cdiv(layout.frames, block_t) * sum(blocks)
            constants_here = constants | _constants(layout, block_t, block_c, written=1)
            launches.append(Launch((tiles, *_grid(batch)), layout.offset, arguments, constants_here))
    return tuple(launches)


@lru_cache(maxsize=1024)
def plan_inplace(
    geometry: ShiftGeometry, shape: torch.Size, strides: tuple[tuple[int, ...], ...], sequences: int, itemsize: int
) -> tuple[Launch, ...]:
    """The launches of ``shift_inplace_kernel``."""
    edge = max(abs(group.frames) for group in geometry.groups) if geometry.padding_mode == "circular" else 1
    constants = {
        "PADDING": _PADDING[geometry.padding_mode].value,
        "RAGGED": _RAGGED[geometry.ragged].value,
    }
    launches = []
    for layout in Layout.of(tuple(shape), strides, geometry).pieces():
        for groups in _chunked(layout.groups):
            block_t, block_c = tile_inplace(layout, groups, itemsize, geometry.padding_mode == "circular")
            blocks = [triton.cdiv(group.channels, block_c) for group in groups]
            (_, outer), (inner, inner_strides) = layout.batch
            batch = layout.batch[0][0] * inner
            arguments = (
                batch,
                inner,
                layout.frames,
                sequences,
                *_flat(groups, layout.frames, geometry.padding_mode),
                *_padded(blocks),
            )
            arguments += (outer[0], inner_strides[0], layout.time[0], layout.channel[0], outer[1], inner_strides[1])
            # Carried frames also take 16 bytes per thread; lanes without a carried frame are masked.
            wide = min(_elements(itemsize, 32) // block_c, block_t) if _along_channels(layout, 0) else 1
            constants_here = constants | _constants(layout, block_t, block_c, written=0)
            constants_here["BLOCK_EDGE"] = max(triton.next_power_of_2(edge), wide)
            launches.append(Launch((sum(blocks) * sequences, *_grid(batch)), layout.offset, arguments, constants_here))
    return tuple(launches)


def tile(layout: Layout, groups: tuple[ChannelGroup, ...], itemsize: int, sums: bool) -> tuple[int, int]:
    """Frames and channels of a tile of ``shift_kernel``, by one heuristic. Nothing is tuned at run time.

    A tile is long along the dim that is contiguous in memory: up to 256 elements, or the width of the widest group, so
    that neighbouring threads access whole 16 bytes. Each thread has 64 bytes in flight, or 32 if elements are summed,
    which takes registers. If frames are contiguous, it has at most 8 elements: a shift by one frame is not aligned, so
    each element needs its own access, mask and address.
    """
    return _tile(layout, groups, itemsize, 32 if sums else 64, 256, written=1)


def tile_inplace(layout: Layout, groups: tuple[ChannelGroup, ...], itemsize: int, carries: bool) -> tuple[int, int]:
    """The tile of ``shift_inplace_kernel``. Its programs own columns of only 128 bytes, so that there are many."""
    return _tile(layout, groups, itemsize, 32 if carries else 64, 128 // itemsize, written=0)


def _tile(
    layout: Layout,
    groups: tuple[ChannelGroup, ...],
    itemsize: int,
    bytes_a_thread: int,
    max_channels: int,
    written: int,
) -> tuple[int, int]:
    widest = triton.next_power_of_2(max(group.channels for group in groups))
    longest = triton.next_power_of_2(layout.frames)
    if _along_channels(layout, written):
        channels = min(widest, max_channels)
        return min(longest, max(_elements(itemsize, bytes_a_thread) // channels, 1)), channels
    frames = min(longest, 256)
    return frames, min(widest, _THREADS * min(8, 32 // itemsize) // frames)


def _along_channels(layout: Layout, written: int) -> bool:
    """Whether channels, rather than frames, are contiguous in the tensor that is written."""
    return layout.channel[written] <= layout.time[written]


def _elements(itemsize: int, bytes_a_thread: int) -> int:
    return _THREADS * bytes_a_thread // max(itemsize, 2)


def _chunked(groups: tuple[ChannelGroup, ...]) -> Iterator[tuple[ChannelGroup, ...]]:
    for first in range(0, len(groups), _GROUPS):
        yield groups[first : first + _GROUPS]


def _flat(groups: tuple[ChannelGroup, ...], frames: int, padding_mode: str) -> tuple[int, ...]:
    starts, stops = [group.start for group in groups], [group.stop for group in groups]
    steps = [group.frames for group in groups]
    if padding_mode != "circular":  # a step beyond the end is clamped, so that it fits in 32 bits
        steps = [max(-frames, min(step, frames)) for step in steps]
    return (*_padded(starts), *_padded(stops), *_padded(steps))


def _padded(values: list[int]) -> tuple[int, ...]:
    return (*values, *[0] * (_GROUPS - len(values)))


def _grid(batch: int) -> tuple[int, int]:
    return min(batch, _MAX_PROGRAMS), triton.cdiv(batch, _MAX_PROGRAMS)


def _constants(layout: Layout, block_t: int, block_c: int, written: int) -> dict[str, Any]:
    """``written`` is the index of the tensor that is written."""
    reach = max(
        layout.frames * abs(time) + layout.channels * abs(channel)
        for time, channel in zip(layout.time, layout.channel, strict=True)
    )
    return {
        "OFFSET": tl.int32 if reach < 2**31 else tl.int64,
        "NESTED": layout.batch[0][0] != 1,
        "TIME_AXIS": 0 if _along_channels(layout, written) else 1,
        "BLOCK_T": block_t,
        "BLOCK_C": block_c,
        "num_warps": _WARPS,
        "num_stages": 1,
    }
