"""Tiles: how a tensor is divided among the threads of the kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
import triton

from .layout import Layout, Strides

Described: TypeAlias = tuple[
    tuple[int, ...], torch.dtype, int
]  # an Operand as a plain tuple, which is faster to create

WARPS = 4
_THREADS = 32 * WARPS  # twice as many on AMD GPUs with 64 threads in a warp
_WIDEST = 16  # maximum bytes that a thread accesses at once


class Operand(NamedTuple):
    """The properties of a tensor that a launch depends on."""

    strides: tuple[int, ...]
    dtype: torch.dtype
    misalignment: int  # the address modulo 16, in bytes


@dataclass(frozen=True, slots=True)
class Tile:
    """How an element of the batch is divided among programs."""

    rows_are_frames: bool  # False if rows are channels
    units: list[int]  # for x, y, the residual: a power of two that divides the strides; 0 if rows have gaps
    rows: int  # in an element of the batch
    row_vectors: int  # vectors in a row
    vector: int  # elements in a vector, or words if pack > 1
    block: int  # vectors in a program
    programs: int  # for an element of the batch
    split: bool = False  # whether a vector may contain channels of two groups
    pack: int = 1  # frames in a word; 1 if frames are not moved as words


def tile_of(part: Layout, tensors: tuple[Operand, ...], can_pack: bool) -> Tile:
    """The tile of x, y and the residual. It follows from a heuristic; there is no autotuning.

    Rows are frames unless the frames of ``y`` have a smaller stride than its channels.
    """
    if part.channel[1] <= part.time[1]:
        return _of_frames(part, tensors)
    return _of_channels(part, tensors, can_pack)


def _of_frames(part: Layout, tensors: tuple[Operand, ...]) -> Tile:
    """A vector has up to 16 bytes, limited by the alignment of the rows of ``y``, and channels of at most two groups.

    Vectors of at least 8 bytes with one group are preferred to wider vectors with two. A program has up to 4096 bytes.
    """
    itemsize = max(tensors[0].dtype.itemsize, tensors[1].dtype.itemsize)
    units = [_unit(part, i, tensors, _WIDEST // itemsize, part.channel, part.time) for i in range(3)]
    vector = math.gcd(max(units[1], 1), part.channels)
    while vector > min((group.channels for group in part.groups[1:-1]), default=vector):
        vector //= 2
    whole = math.gcd(vector, *(group.stop for group in part.groups[:-1]))
    split = whole < vector and whole * itemsize < 8
    vector = vector if split else whole
    row_vectors = part.channels // vector
    vectors = part.frames * row_vectors
    block = min(_THREADS * 32 // itemsize // vector, triton.next_power_of_2(vectors))
    units = [min(unit, vector) for unit in units]
    return Tile(True, units, part.frames, row_vectors, vector, block, triton.cdiv(vectors, block), split)


def _of_channels(part: Layout, tensors: tuple[Operand, ...], can_pack: bool) -> Tile:
    """A vector has up to 256 consecutive elements or words of a row. Neighbouring threads move neighbouring elements.

    A program has up to 2048 bytes. A read one frame earlier is not aligned: if ``can_pack`` and the alignment of the
    rows allows it, frames are moved as words of 4 or 8 bytes, and each word is combined from two words.
    """
    itemsize = max(tensors[0].dtype.itemsize, tensors[1].dtype.itemsize)
    pack = 1
    if can_pack:
        aligned = [_unit(part, i, tensors, max(8 // itemsize, 1), part.time, part.channel) for i in range(2)]
        pack = max(math.gcd(part.frames, *aligned), 1) if 0 not in aligned else 1
        pack = pack if pack * itemsize >= 4 else 1
    frames = part.frames // pack
    lengths = (256, 128, 64, 32) if frames > 32 else (triton.next_power_of_2(frames),)
    vector = min(lengths, key=lambda length: triton.cdiv(frames, length) * length)
    row_vectors = triton.cdiv(frames, vector)
    block = min(max(_THREADS * 16 // itemsize // pack // vector, 1), triton.next_power_of_2(part.channels))
    programs = row_vectors * triton.cdiv(part.channels, block)
    units = [int(stride == 1) for stride in part.time[:3]]
    return Tile(False, units, part.channels, row_vectors, vector, block, programs, pack=pack)


def _unit(part: Layout, index: int, tensors: tuple[Operand, ...], widest: int, lane: Strides, row: Strides) -> int:
    """A power of two up to ``widest`` that divides the strides of a tensor and its address; 0 if rows have gaps."""
    tensor = tensors[index]
    if lane[index] != 1:
        return 0
    if (tensor.misalignment + part.offset[index] * tensor.dtype.itemsize) % 16:
        return 1
    return math.gcd(widest, row[index], *(strides[index] for _, strides in part.batch))
