"""One fused GPU kernel: every element is read once and written once.

Imported on the first shift of a CUDA (or ROCm) tensor; with ``TRITON_INTERPRET=1`` it also runs on CPU tensors, slowly,
which is how it is tested without a GPU.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..geometry import ShiftGeometry

_TILE = 2048  # elements a program moves: 16 a thread at four warps, enough loads in flight and few registers


def shift(x: Tensor, geometry: ShiftGeometry) -> Tensor:
    """The shift of ``x``; strides of the last dims are followed, leading dims that do not merge are copied once."""
    y = torch.empty_like(x)
    if x.numel() == 0:
        return y
    source, target = _as_batch(x, geometry), _as_batch(y, geometry)  # (B, L, D)
    if target.data_ptr() != y.data_ptr():  # y's leading dims did not merge either: lay y out so that they do
        target = torch.empty_like(source, memory_format=torch.contiguous_format)
        y = _unbatched(target, x, geometry)
    batch, frames, channels = source.shape
    block_d, block_t = _tile(frames, channels, channels_last=target.stride(2) == 1)
    starts = [group.start for group in geometry.groups] + [channels] * (3 - len(geometry.groups))
    steps = [group.frames for group in geometry.groups] + [0] * (3 - len(geometry.groups))
    blocks = [triton.cdiv(stop - start, block_d) for start, stop in zip(starts, [*starts[1:], channels], strict=True)]
    grid = (triton.cdiv(frames, block_t) * sum(blocks), min(batch, 65535), triton.cdiv(batch, 65535))
    with torch.cuda.device_of(x):  # a launch goes to the current device, which need not be x's
        _shift_kernel[grid](
            source,
            target,
            batch,
            frames,
            channels,
            *starts[1:],
            *steps,
            *blocks,
            *source.stride(),
            *target.stride(),
            BLOCK_T=block_t,
            BLOCK_D=block_d,
        )
    return y


def _as_batch(x: Tensor, geometry: ShiftGeometry) -> Tensor:
    last = x.movedim((geometry.time_dim, geometry.channel_dim), (-2, -1))
    return last.reshape(-1, *last.shape[-2:])


def _unbatched(batch: Tensor, like: Tensor, geometry: ShiftGeometry) -> Tensor:
    last = like.movedim((geometry.time_dim, geometry.channel_dim), (-2, -1)).shape
    return batch.view(last).movedim((-2, -1), (geometry.time_dim, geometry.channel_dim))


def _tile(frames: int, channels: int, *, channels_last: bool) -> tuple[int, int]:
    """Channels and frames of a tile: long along the dim whose elements are neighbours in memory."""
    along, across = (channels, frames) if channels_last else (frames, channels)
    long = min(triton.next_power_of_2(along), 256)
    short = min(triton.next_power_of_2(across), _TILE // long)
    return (long, short) if channels_last else (short, long)


@triton.jit
def _shift_kernel(
    x_ptr,
    y_ptr,
    batch,
    frames,
    channels,
    start_1,  # group 0 starts at channel 0
    start_2,
    step_0,
    step_1,
    step_2,
    blocks_0,  # tiles across the channels of each group: a tile has one step, so its addresses stay contiguous
    blocks_1,
    blocks_2,
    x_stride_b,
    x_stride_t,
    x_stride_d,
    y_stride_b,
    y_stride_t,
    y_stride_d,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    b = tl.program_id(1) + tl.program_id(2) * tl.num_programs(1)
    if b >= batch:
        return
    blocks = blocks_0 + blocks_1 + blocks_2
    tile = tl.program_id(0) % blocks
    first_t = tl.program_id(0) // blocks * BLOCK_T
    if tile < blocks_0:
        first_c = tile * BLOCK_D
        stop = start_1
        step = step_0
    elif tile < blocks_0 + blocks_1:
        first_c = start_1 + (tile - blocks_0) * BLOCK_D
        stop = start_2
        step = step_1
    else:
        first_c = start_2 + (tile - blocks_0 - blocks_1) * BLOCK_D
        stop = channels
        step = step_2
    t = first_t + tl.arange(0, BLOCK_T)[:, None]
    c = first_c + tl.arange(0, BLOCK_D)[None, :]
    inside = (t < frames) & (c < stop)
    read = t - step
    # 64-bit offsets: a tensor may hold more than 2**31 elements
    x_ptr += b.to(tl.int64) * x_stride_b
    y_ptr += b.to(tl.int64) * y_stride_b
    x_offset = read.to(tl.int64) * x_stride_t + c.to(tl.int64) * x_stride_d
    y_offset = t.to(tl.int64) * y_stride_t + c.to(tl.int64) * y_stride_d
    value = tl.load(x_ptr + x_offset, mask=inside & (read >= 0) & (read < frames), other=0)
    tl.store(y_ptr + y_offset, value, mask=inside)
