"""The launches of a shift: tiles, grid and arguments. They are cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import torch
import triton.language as tl

from ..geometry import ChannelGroup, ShiftGeometry
from . import kernels
from .layout import Layout
from .tiles import WARPS, Described, Operand, tile_of

# without sums, elements are copied as integers of the same size
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_PADDING = {"zeros": kernels.ZEROS, "replicate": kernels.REPLICATE, "circular": kernels.CIRCULAR}
_RAGGED = {None: kernels.WHOLE, "lengths": kernels.LENGTHS, "cu_seqlens": kernels.PACKED}
_GROUPS = 4  # groups of channels in a launch; more groups take more launches
_FAR = 2**31 - 1  # the end of the last group and of unused groups, beyond every channel
_NEAR = 2**30  # limit for 32-bit offsets; the last tile may reach beyond the tensor


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """The settings of one run of the kernel. Its tensors are x, y, the residual and the bounds, in this order.

    ``grid`` is the number of programs in three dims, and ``offsets`` are bytes from the start of each tensor.
    ``dtypes`` are the dtypes that the tensors are viewed as, or ``None``. ``arguments`` are the integers after the
    tensors, and ``constants`` the constants of the kernel and the options of Triton. ``ready`` contains, for each
    device, the launcher of the compiled kernel and its arguments after the tensors.
    """

    grid: tuple[int, int, int]
    offsets: tuple[int, ...]
    dtypes: tuple[torch.dtype | None, ...]
    arguments: tuple[int, ...]
    constants: dict[str, Any]
    ready: dict[int, tuple[Callable[..., None], tuple[Any, ...]]] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def plan(
    geometry: ShiftGeometry,
    shape: torch.Size,
    x: Described,
    y: Described,
    residual: Described | None = None,
    bounds: Described | None = None,
    bounds_size: int = 0,
    only_padding: bool = False,
) -> tuple[Launch, ...]:
    """The launches that write the shift of ``x``, plus the residual, to ``y``, or only zeros to its padding."""
    sums = residual is not None or geometry.transposed
    mode = kernels.REPLICATE_TRANSPOSED if geometry.transposed else _PADDING[geometry.padding_mode]
    of_call = {
        "PADDING": mode.value,
        "RAGGED": _RAGGED[geometry.ragged].value,
        "ADD": residual is not None,
        "SUM": tl.float64 if sums and Operand(*y).dtype == torch.float64 else tl.float32,
        "ONLY_PADDING": only_padding,
    }
    tensors = tuple(Operand(*tensor) for tensor in (x, y, residual or x))
    ends = None if bounds is None else Operand(*bounds)
    strides = *(tensor.strides for tensor in tensors), _of_lengths(ends, geometry, len(shape))
    sizes = *(tensor.dtype.itemsize for tensor in tensors), 0 if ends is None else ends.dtype.itemsize
    words = None if sums else WORDS[sizes[0]]
    dtypes = words, words, words, None if bounds else words
    sequences = max(bounds_size - 1, 0) if geometry.ragged == "cu_seqlens" else 1
    can_pack = not sums and not only_padding and geometry.padding_mode == "zeros" and geometry.ragged is None
    launches = []
    for layout in Layout.of(tuple(shape), strides, geometry).pieces():
        for part in _parts(layout):
            tile = tile_of(part, tensors, can_pack)
            (outer, outer_strides), (inner, inner_strides) = part.batch
            arguments = (
                tile.programs,
                inner,
                tile.rows,
                tile.row_vectors,
                part.frames,
                sequences,
                (sequences + 1).bit_length(),
                *_of_groups(part.groups, part.frames, geometry),
            )
            for tensor, unit in enumerate(tile.units):
                of_tensor = (dim[tensor] for dim in (outer_strides, inner_strides, part.time, part.channel))
                arguments += tuple(stride // max(unit * tile.pack, 1) for stride in of_tensor)
            arguments += outer_strides[3], inner_strides[3]
            constants = {
                **of_call,
                "OFFSET": tl.int32 if _reach(part) < _NEAR else tl.int64,
                "NESTED": outer != 1,
                "TIME_ROWS": tile.rows_are_frames,
                "SPLIT": tile.split,
                "X_UNIT": tile.units[0],
                "Y_UNIT": tile.units[1],
                "R_UNIT": tile.units[2],
                "PACK": tile.pack,
                "WORD": tl.uint64 if tile.pack * sizes[0] == 8 else tl.uint32,
                "VECTOR": tile.vector,
                "BLOCK": tile.block,
                "num_warps": WARPS,
                "num_stages": 1,
            }
            offsets = tuple(start * size for start, size in zip(part.offset, sizes, strict=True))
            grid = tile.programs * outer * inner, 1, 1
            launches.append(Launch(grid, offsets, dtypes, arguments, constants))
    return tuple(launches)


def _of_lengths(bounds: Operand | None, geometry: ShiftGeometry, dims: int) -> tuple[int, ...]:
    """The strides of ``lengths`` expanded to the shape of ``x``: 0 along time, channels and further batch dims."""
    if bounds is None or geometry.ragged != "lengths":
        return (0,) * dims
    strides = iter(bounds.strides)
    return tuple(0 if dim in (geometry.time_dim, geometry.channel_dim) else next(strides, 0) for dim in range(dims))


def _parts(layout: Layout) -> Iterator[Layout]:
    """Split the layout into parts of at most four groups. Each part counts channels from its own first channel."""
    for first in range(0, len(layout.groups), _GROUPS):
        groups = layout.groups[first : first + _GROUPS]
        start = groups[0].start
        counted = tuple(group._replace(start=group.start - start, stop=group.stop - start) for group in groups)
        offset = tuple(of + start * stride for of, stride in zip(layout.offset, layout.channel, strict=True))
        yield replace(layout, channels=counted[-1].stop, groups=counted, offset=offset)


def _of_groups(groups: tuple[ChannelGroup, ...], frames: int, geometry: ShiftGeometry) -> tuple[int, ...]:
    """The ends of the first three groups, and the steps of all four, as the kernel takes them."""
    missing = _GROUPS - len(groups)
    stops = [*(group.stop for group in groups[:-1]), *[_FAR] * missing]
    steps = [group.frames for group in groups]
    if geometry.padding_mode != "circular":  # clamped, so that a step fits in 32 bits
        steps = [max(-frames, min(step, frames)) for step in steps]
    elif geometry.ragged is None:
        steps = [step % frames for step in steps]
    return (*stops, *steps, *[0] * missing)


def _reach(part: Layout) -> int:
    """An upper bound of the offsets within an element of the batch, in all tensors."""
    return max(
        part.frames * abs(time) + part.channels * abs(channel)
        for time, channel in zip(part.time, part.channel, strict=True)
    )
