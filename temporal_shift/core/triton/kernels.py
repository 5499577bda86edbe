"""The GPU kernels. A tile belongs to one group of channels: all of it moves alike, and its addresses are contiguous.

Names: ``x`` is the input, ``y`` the output, ``r`` the residual; ``b`` a batch index, ``t`` a frame, ``c`` a channel. A
sequence is the frames ``begin:end``. A group reads ``step`` frames earlier; ``frames`` is the number of frames.
"""

from __future__ import annotations

import triton
import triton.language as tl

ZEROS = tl.constexpr(0)
REPLICATE = tl.constexpr(1)
CIRCULAR = tl.constexpr(2)
REPLICATE_TRANSPOSED = tl.constexpr(3)

WHOLE = tl.constexpr(0)
LENGTHS = tl.constexpr(1)
PACKED = tl.constexpr(2)

# Lengths, batch sizes and steps change between calls: a kernel is not specialized on their values.
FREE = ["batch", "inner", "frames", "sequences", "step_0", "step_1", "step_2", "step_3"]
FREE += ["blocks_0", "blocks_1", "blocks_2", "blocks_3"]


@triton.jit
def _group_of(
    tile,
    start_0,
    start_1,
    start_2,
    start_3,
    stop_0,
    stop_1,
    stop_2,
    stop_3,
    step_0,
    step_1,
    step_2,
    step_3,
    blocks_0,  # tiles across the channels of each group
    blocks_1,
    blocks_2,
    BLOCK_C: tl.constexpr,
):
    """The first channel of the tile; the end and the step of its group."""
    if tile < blocks_0:
        first = start_0 + tile * BLOCK_C
        stop = stop_0
        step = step_0
    elif tile < blocks_0 + blocks_1:
        first = start_1 + (tile - blocks_0) * BLOCK_C
        stop = stop_1
        step = step_1
    elif tile < blocks_0 + blocks_1 + blocks_2:
        first = start_2 + (tile - blocks_0 - blocks_1) * BLOCK_C
        stop = stop_2
        step = step_2
    else:
        first = start_3 + (tile - blocks_0 - blocks_1 - blocks_2) * BLOCK_C
        stop = stop_3
        step = step_3
    return first, stop, step


@triton.jit
def _sequences_of(t, cu_ptr, sequences, halvings):
    """Begin and end of the packed sequence of each frame: the last sequence that begins at or before it."""
    low = tl.zeros_like(t)
    high = tl.zeros_like(t) + sequences - 1
    for _ in range(halvings):
        middle = (low + high + 1) // 2
        before = tl.load(cu_ptr + middle).to(tl.int32) <= t
        low = tl.where(before, middle, low)
        high = tl.where(before, high, middle - 1)
    return tl.load(cu_ptr + low).to(tl.int32), tl.load(cu_ptr + low + 1).to(tl.int32)


@triton.jit(do_not_specialize=[*FREE, "halvings"])
def shift_kernel(
    x_ptr,
    y_ptr,
    r_ptr,
    bounds_ptr,
    batch,
    inner,  # size of the second batch dim
    frames,
    sequences,
    halvings,
    start_0,
    start_1,
    start_2,
    start_3,
    stop_0,
    stop_1,
    stop_2,
    stop_3,
    step_0,
    step_1,
    step_2,
    step_3,
    blocks_0,
    blocks_1,
    blocks_2,
    blocks_3,
    x_outer,
    x_inner,
    x_t,
    x_c,
    y_outer,
    y_inner,
    y_t,
    y_c,
    r_outer,
    r_inner,
    r_t,
    r_c,
    length_outer,
    length_inner,
    PADDING: tl.constexpr,
    RAGGED: tl.constexpr,
    ADD: tl.constexpr,
    SUM: tl.constexpr,  # dtype of sums: half precision is rounded once, as in PyTorch
    OFFSET: tl.constexpr,  # int32, or int64 if a batch element is too large
    NESTED: tl.constexpr,  # whether there are two batch dims
    TIME_AXIS: tl.constexpr,  # the dim of frames in a tile: the last one if frames are contiguous in memory
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    b = (tl.program_id(1) + tl.program_id(2).to(tl.int64) * tl.num_programs(1)).to(tl.int64)
    if b >= batch:
        return
    outer = 0
    if NESTED:
        outer = b // inner
        b = b % inner
    blocks = blocks_0 + blocks_1 + blocks_2 + blocks_3
    first_c, stop, step = _group_of(
        tl.program_id(0) % blocks,
        start_0,
        start_1,
        start_2,
        start_3,
        stop_0,
        stop_1,
        stop_2,
        stop_3,
        step_0,
        step_1,
        step_2,
        step_3,
        blocks_0,
        blocks_1,
        blocks_2,
        BLOCK_C,
    )
    t = tl.program_id(0) // blocks * BLOCK_T + tl.arange(0, BLOCK_T)
    c = tl.expand_dims(first_c + tl.arange(0, BLOCK_C), TIME_AXIS)
    if RAGGED == PACKED:
        begin, end = _sequences_of(t, bounds_ptr, sequences, halvings)
        begin = tl.expand_dims(begin, 1 - TIME_AXIS)
        end = tl.expand_dims(end, 1 - TIME_AXIS)
    elif RAGGED == LENGTHS:
        begin = 0
        end = tl.load(bounds_ptr + outer * length_outer + b * length_inner).to(tl.int32)
        end = tl.minimum(tl.maximum(end, 0), frames)
    else:
        begin = 0
        end = frames
    t = tl.expand_dims(t, 1 - TIME_AXIS)
    inside = (t >= begin) & (t < end) & (c < stop)
    x_ptr += outer * x_outer + b * x_inner
    y_ptr += outer * y_outer + b * y_inner
    x_c_offset = c.to(OFFSET) * x_c
    if PADDING == REPLICATE_TRANSPOSED:
        # The gradient of a frame comes from its reader; at the border, also from all frames that read beyond it.
        source = t + step
        sign = tl.where(step > 0, 1, -1)
        border = tl.where(step > 0, begin, end - 1)
        edge = inside & (t == border)
        readable = inside & (source >= begin) & (source < end) & (t != border)
        value = tl.load(x_ptr + source.to(OFFSET) * x_t + x_c_offset, mask=readable, other=0)
        value = value.to(SUM)
        readers = tl.minimum(tl.maximum(step, -step), frames - 1) + 1
        readers = tl.where(tl.max(edge.to(tl.int32)) > 0, readers, 0)  # with step 0, the frame itself
        for i in range(readers):
            source = t + sign * i
            readable = edge & (source >= begin) & (source < end)
            value += tl.load(x_ptr + source.to(OFFSET) * x_t + x_c_offset, mask=readable, other=0).to(SUM)
    else:
        source = t - step
        if PADDING == ZEROS:
            readable = inside & (source >= begin) & (source < end)
        elif PADDING == REPLICATE:
            source = tl.minimum(tl.maximum(source, begin), end - 1)
            readable = inside
        else:
            length = tl.maximum(end - begin, 1)
            source = (source - begin) % length
            source = begin + tl.where(source < 0, source + length, source)
            readable = inside
        value = tl.load(x_ptr + source.to(OFFSET) * x_t + x_c_offset, mask=readable, other=0)
    written = (t < frames) & (c < stop)
    if ADD:
        r_ptr += outer * r_outer + b * r_inner
        added = tl.load(r_ptr + t.to(OFFSET) * r_t + c.to(OFFSET) * r_c, mask=written, other=0)
        value = value.to(SUM) + added.to(SUM)
    y_offset = t.to(OFFSET) * y_t + c.to(OFFSET) * y_c
    tl.store(y_ptr + y_offset, value.to(y_ptr.dtype.element_ty), mask=written)


@triton.jit(do_not_specialize=FREE)
def shift_inplace_kernel(
    x_ptr,
    bounds_ptr,
    batch,
    inner,
    frames,
    sequences,  # packed sequences, else 1
    start_0,
    start_1,
    start_2,
    start_3,
    stop_0,
    stop_1,
    stop_2,
    stop_3,
    step_0,
    step_1,
    step_2,
    step_3,
    blocks_0,
    blocks_1,
    blocks_2,
    blocks_3,
    x_outer,
    x_inner,
    x_t,
    x_c,
    length_outer,
    length_inner,
    PADDING: tl.constexpr,
    RAGGED: tl.constexpr,
    OFFSET: tl.constexpr,
    NESTED: tl.constexpr,
    TIME_AXIS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_EDGE: tl.constexpr,  # frames that CIRCULAR carries around the end: at least the largest step
):
    """Each program owns whole columns of a sequence and moves against the shift, so that it reads before it writes."""
    b = (tl.program_id(1) + tl.program_id(2).to(tl.int64) * tl.num_programs(1)).to(tl.int64)
    if b >= batch:
        return
    outer = 0
    if NESTED:
        outer = b // inner
        b = b % inner
    blocks = blocks_0 + blocks_1 + blocks_2 + blocks_3
    first_c, stop, step = _group_of(
        tl.program_id(0) % blocks,
        start_0,
        start_1,
        start_2,
        start_3,
        stop_0,
        stop_1,
        stop_2,
        stop_3,
        step_0,
        step_1,
        step_2,
        step_3,
        blocks_0,
        blocks_1,
        blocks_2,
        BLOCK_C,
    )
    begin = 0
    end = frames
    if RAGGED == PACKED:
        sequence = tl.program_id(0) // blocks
        begin = tl.load(bounds_ptr + sequence).to(tl.int32)
        end = tl.load(bounds_ptr + sequence + 1).to(tl.int32)
    elif RAGGED == LENGTHS:
        end = tl.load(bounds_ptr + outer * length_outer + b * length_inner).to(tl.int32)
        end = tl.minimum(tl.maximum(end, 0), frames)
    c = tl.expand_dims(first_c + tl.arange(0, BLOCK_C), TIME_AXIS)
    columns = x_ptr + outer * x_outer + b * x_inner + c.to(OFFSET) * x_c
    tile = tl.expand_dims(tl.arange(0, BLOCK_T), 1 - TIME_AXIS)
    if step != 0:
        size = tl.maximum(step, -step)
        first = begin
        last = end
        if PADDING == CIRCULAR:
            length = tl.maximum(end - begin, 1)
            size = size % length
            step = tl.where(step > 0, size, -size)
            # Frames that wrap around are kept in registers until the other frames are written.
            k = tl.expand_dims(tl.arange(0, BLOCK_EDGE), 1 - TIME_AXIS)
            around = (k < size) & (c < stop)
            carried_from = tl.where(step > 0, end - size, begin) + k
            carried_to = tl.where(step > 0, begin, end - size) + k
            carried = tl.load(columns + carried_from.to(OFFSET) * x_t, mask=around, other=0)
            first = tl.where(step > 0, begin + size, begin)
            last = tl.where(step > 0, end, end - size)
        for i in range(tl.cdiv(last - first, BLOCK_T)):
            t = tl.where(step > 0, last - (i + 1) * BLOCK_T, first + i * BLOCK_T) + tile
            inside = (t >= first) & (t < last) & (c < stop)
            source = t - step
            if PADDING == ZEROS:
                readable = inside & (source >= begin) & (source < end)
            else:
                source = tl.minimum(tl.maximum(source, begin), end - 1)
                readable = inside
            value = tl.load(columns + source.to(OFFSET) * x_t, mask=readable, other=0)
            tl.debug_barrier()  # one thread reads frames that another writes
            tl.store(columns + t.to(OFFSET) * x_t, value, mask=inside)
        if PADDING == CIRCULAR:
            tl.debug_barrier()
            tl.store(columns + carried_to.to(OFFSET) * x_t, carried, mask=around)
    if RAGGED == LENGTHS:
        for i in range(tl.cdiv(frames - end, BLOCK_T)):
            t = end + i * BLOCK_T + tile
            inside = (t < frames) & (c < stop)
            tl.store(columns + t.to(OFFSET) * x_t, 0, mask=inside)
