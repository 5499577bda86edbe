"""A shift as blocks of memory to copy: what :mod:`.aten` does, planned once for each shape and cached.

To plan is pure arithmetic on sizes and strides, but on the CPU it would take longer than a short shift itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import gcd, prod
from typing import NamedTuple

from .geometry import ChannelGroup, ShiftGeometry

Strides = tuple[int, ...]
_LEAST_ROW = 256  # bytes: shorter rows are gathered slower than a part of them is copied twice
_MOST_ROWS = 1 << 17  # an index of a megabyte


class Block(NamedTuple):
    """Where a block of memory lies in a tensor: strides, and the offset from the tensor's first element."""

    strides: Strides
    offset: int


class Move(NamedTuple):
    """One block that is written: from a block of the input, or zeros; a residual's block is added, where there is one.

    ``summed`` is the size of a source that is summed along time, where it is.
    """

    size: tuple[int, ...]
    target: Block
    source: Block | None
    residual: Block
    summed: tuple[int, ...] = ()


class Plan(NamedTuple):
    """First, perhaps, all of the input at once: gathered in rows of ``row`` channels, or ``whole``. Then the moves.

    What was gathered is a shift without its residual: that is added last.
    """

    row: int
    whole: bool
    moves: tuple[Move, ...]


@lru_cache(maxsize=4096)
def plan(
    geometry: ShiftGeometry,
    shape: tuple[int, ...],
    target: Strides,
    source: Strides,
    residual: Strides | None,
    gatherable: int,
) -> Plan:
    """The moves from a tensor of some strides to another, with a residual of others, if any.

    ``gatherable`` is the size of an element, or 0 where rows cannot be gathered.
    """
    if prod(shape) == 0:
        return Plan(0, False, ())
    moved = sum(group.channels for group in geometry.moved)
    channels = shape[geometry.channel_dim]
    added = source if residual is None else residual
    follow = not geometry.transposed and all(_follow(shape, strides, geometry) for strides in (target, source, added))
    writer = _Writer(geometry, shape, target, source, added, follow)
    row = _row(geometry, shape, target, source, gatherable)
    if row and (residual is None or 2 * moved >= channels):  # with little to move, a second pass for the sum costs more
        moves = [move for group in geometry.moved for move in writer.moves(group)]
        return Plan(row, False, _pair([move for move in moves if move.source is None]))  # zeros cannot be gathered
    whole = follow and 2 * moved <= channels
    groups = geometry.moved if whole else geometry.groups
    return Plan(0, whole, tuple(move for group in groups for move in writer.moves(group)))


def _row(geometry: ShiftGeometry, shape: tuple[int, ...], target: Strides, source: Strides, itemsize: int) -> int:
    """The channels of a row where a gather of rows is the fastest way, or 0."""
    row = gcd(*(group.channels for group in geometry.groups))
    contiguous = tuple(prod(shape[dim + 1 :]) for dim in range(len(shape)))
    fits = (
        target == source == contiguous
        and geometry.channel_dim == len(shape) - 1
        and not geometry.transposed
        and row * itemsize >= _LEAST_ROW
        and prod(shape) <= _MOST_ROWS * row
    )
    return row if fits else 0


def _pair(zeros: list[Move]) -> tuple[Move, ...]:
    """Both ways alike, which is common, leave two borders of one shape: one block, strided from this to that."""
    if len(zeros) != 2 or zeros[0].size != zeros[1].size:
        return tuple(zeros)
    first, last = sorted(zeros, key=lambda move: move.target.offset)
    apart = last.target.offset - first.target.offset
    both = Block((apart, *first.target.strides), first.target.offset)
    return (first._replace(size=(2, *first.size), target=both),)


@dataclass(frozen=True, slots=True)
class _Writer:
    geometry: ShiftGeometry
    shape: tuple[int, ...]
    target: Strides
    source: Strides
    residual: Strides
    follow: bool

    def moves(self, group: ChannelGroup) -> Iterator[Move]:
        """All frames of one group."""
        length = self.shape[self.geometry.time_dim]
        mode = self.geometry.padding_mode
        frames = group.frames % length if mode == "circular" else group.frames
        edge = min(abs(frames), length)  # frames that read outside the sequence
        kept = length - edge
        past = frames > 0
        if self.geometry.transposed:
            yield from self._transposed(group, edge, kept, past)
            return
        to, start = (edge, 0) if past else (0, edge)
        if kept > 0:  # first: it may write over the edge of the next sequence
            yield self._follow(group, to, start, edge) if self.follow else self._frames(group, to, start, kept)
        if edge == 0:
            return
        at = 0 if past else kept
        if mode == "replicate":
            yield self._frames(group, at, 0 if past else length - 1, edge, step=0)
        elif mode == "circular":
            yield self._frames(group, at, kept, edge)
        else:
            yield self._frames(group, at, None, edge)

    def _transposed(self, group: ChannelGroup, edge: int, kept: int, past: bool) -> Iterator[Move]:
        """Where padding repeats the frame at the edge, that frame collects what all its readers send back."""
        to, start = (0, edge) if past else (edge, 0)
        if kept > 0:
            yield self._frames(group, to, start, kept)
        if edge > 0:
            yield self._frames(group, kept if past else 0, None, edge)
            readers = min(edge + 1, edge + kept)
            at, first = (0, 0) if past else (edge + kept - 1, edge + kept - readers)
            yield self._frames(group, at, first, 1, summed=readers)

    def _frames(
        self, group: ChannelGroup, to: int, start: int | None, count: int, *, step: int = 1, summed: int = 0
    ) -> Move:
        """Frames of every sequence, each ``step`` of the input after the one before."""
        time, channel = self.geometry.time_dim, self.geometry.channel_dim
        size = list(self.shape)
        size[time], size[channel] = count, group.channels
        source = None
        if start is not None:
            strides = list(self.source)
            strides[time] *= step
            source = Block(tuple(strides), start * self.source[time] + group.start * self.source[channel])
        target, residual = (
            Block(strides, to * strides[time] + group.start * strides[channel])
            for strides in (self.target, self.residual)
        )
        of_sum = (*size[:time], summed, *size[time + 1 :]) if summed else ()
        return Move(tuple(size), target, source, residual, of_sum)

    def _follow(self, group: ChannelGroup, to: int, start: int, edge: int) -> Move:
        """Frames of all sequences as of one: some read beyond their own, and are written again as edges."""
        time, channel = self.geometry.time_dim, self.geometry.channel_dim
        rows = prod(self.shape) // self.shape[channel] - edge
        target, source, residual = (
            Block((strides[time], strides[channel]), first * strides[time] + group.start * strides[channel])
            for strides, first in ((self.target, to), (self.source, start), (self.residual, to))
        )
        return Move((rows, group.channels), target, source, residual)


def _follow(shape: tuple[int, ...], strides: Strides, geometry: ShiftGeometry) -> bool:
    """Whether this is ``(..., L, D)`` and each sequence begins in memory where the one before it ends."""
    dims = len(shape)
    if (geometry.time_dim, geometry.channel_dim) != (dims - 2, dims - 1):
        return False
    return all(strides[i] == shape[i + 1] * strides[i + 1] for i in range(dims - 2))
