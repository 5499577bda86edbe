"""The GPU kernel.

Names: ``x`` is the input, ``y`` the output, ``r`` the residual; ``b`` a batch index, ``t`` a frame, ``c`` a channel. A
sequence is the frames ``begin:end``. A group of channels reads ``step`` frames earlier.

An element of the batch is a list of rows, and a row is a list of vectors. A row is a frame if the channels
of ``y`` have at most the stride of its frames, else a channel. If rows are frames, a vector has up to 16 bytes, and a
program moves consecutive vectors, of which the first may be within a row. If rows are channels, a vector has up to 256
elements, or words of ``PACK`` frames, and a program moves one vector of each of up to ``BLOCK`` rows.
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

# Triton does not specialize the kernel on these integers. Facts that it needs at compile time are constants.
INTEGERS = ["tiles", "inner", "rows", "row_vectors", "frames", "sequences", "halvings"]
INTEGERS += ["stop_0", "stop_1", "stop_2", "step_0", "step_1", "step_2", "step_3"]
INTEGERS += [f"{tensor}_{dim}" for tensor in "xyr" for dim in ("outer", "inner", "t", "c")]
INTEGERS += ["length_outer", "length_inner"]


@triton.jit
def _sequence_of(t, cu_ptr, sequences, halvings, frames):
    """Begin and end of the packed sequence of each frame; both are equal if no sequence contains the frame."""
    last = t * 0 - 1  # index of the last value at or before the frame, or -1
    for i in range(halvings):
        candidate = last + (1 << (halvings - 1 - i))
        known = candidate <= sequences
        value = tl.load(cu_ptr + candidate, mask=known, other=0)
        last = tl.where(known & (value <= t), candidate, last)
    begin = tl.load(cu_ptr + tl.maximum(last, 0))
    end = tl.load(cu_ptr + tl.minimum(last + 1, sequences))
    end = tl.where(last < 0, begin, end)
    begin = tl.minimum(tl.maximum(begin, 0), frames).to(tl.int32)
    return begin, tl.minimum(tl.maximum(end, 0), frames).to(tl.int32)


@triton.jit
def _of_group(c, stop_0, stop_1, stop_2, of_0, of_1, of_2, of_3):
    """Select, of four values, the value of the group that contains channel ``c``."""
    return tl.where(c < stop_0, of_0, tl.where(c < stop_1, of_1, tl.where(c < stop_2, of_2, of_3)))


@triton.jit
def _strided(ptr, outer, b, of_outer, of_inner, of_t, of_c, UNIT: tl.constexpr, TIME_ROWS: tl.constexpr):
    """The address and the strides of an element of the batch. Triton infers their alignment from the factor UNIT."""
    if UNIT == 0:
        ptr += outer * of_outer + b * of_inner
    else:
        ptr += (outer * of_outer + b * of_inner) * UNIT
        if TIME_ROWS:
            of_t = of_t * UNIT
            of_c = 1
        else:
            of_t = 1
            of_c = of_c * UNIT
    return ptr, of_t, of_c


@triton.jit
def _earlier(
    x_ptr,  # the address of each channel
    x_t,
    t,
    step,
    begin,
    end,
    frames,
    inside,
    PADDING: tl.constexpr,
    RAGGED: tl.constexpr,
    SUM: tl.constexpr,
    OFFSET: tl.constexpr,
):
    """Load the value ``step`` frames earlier for each frame, or compute the transpose of this map."""
    if PADDING == REPLICATE_TRANSPOSED:
        # A frame gets the gradient of its reader. The border frame gets the sum over all frames that read it.
        source = t + step
        sign = tl.where(step > 0, 1, -1)
        border = tl.where(step > 0, begin, end - 1)
        edge = inside & (t == border)
        readable = inside & (source >= begin) & (source < end) & (t != border)
        value = tl.load(x_ptr + source.to(OFFSET) * x_t, mask=readable, other=0).to(SUM)
        readers = tl.where(edge, tl.minimum(tl.maximum(step, -step), frames - 1) + 1, 0)  # with step 0, only itself
        for i in range(tl.max(readers)):
            source = t + sign * i
            readable = edge & (i < readers) & (source >= begin) & (source < end)
            value += tl.load(x_ptr + source.to(OFFSET) * x_t, mask=readable, other=0).to(SUM)
    else:
        source = t - step
        readable = inside
        if PADDING == ZEROS:
            readable = inside & (source >= begin) & (source < end)
        elif PADDING == REPLICATE:
            source = tl.minimum(tl.maximum(source, begin), end - 1)
        else:
            length = end - begin
            if RAGGED != WHOLE:  # otherwise the host has reduced the steps to [0, frames)
                source = t - (step % tl.maximum(length, 1)).to(tl.int32)  # has the sign of step
                source = tl.where(source >= end, source - length, source)
            source = tl.where(source < begin, source + length, source)
        value = tl.load(x_ptr + source.to(OFFSET) * x_t, mask=readable, other=0)
    return value


@triton.jit
def _earlier_words(x_ptr, word, words, step, written, PACK: tl.constexpr, WORD: tl.constexpr):
    """Words of ``PACK`` frames, ``step`` frames earlier: each is the end of a word of ``x`` and the start of the next.

    The first frame of a word is in its lowest bits. Words outside of ``x`` are zero.
    """
    BITS: tl.constexpr = WORD.primitive_bitwidth // PACK
    skipped = -step & (PACK - 1)  # frames of the first word that are not read
    low = word - (step + skipped) // PACK
    value = tl.load(x_ptr + low, mask=written & (low >= 0) & (low < words), other=0)
    is_read = written & (skipped > 0) & (low >= -1) & (low < words - 1)
    following = tl.load(x_ptr + low + 1, mask=is_read, other=0)
    # in two steps, because a shift by all bits is undefined
    following = (following << ((PACK - 1 - skipped) * BITS).to(WORD)) << BITS
    return (value >> (skipped * BITS).to(WORD)) | following


@triton.jit(do_not_specialize=INTEGERS)
def shift_kernel(
    x_ptr,
    y_ptr,
    r_ptr,
    bounds_ptr,
    tiles,  # programs for each element of the batch
    inner,  # size of the second batch dim
    rows,  # rows of an element of the batch
    row_vectors,  # vectors in a row
    frames,
    sequences,  # number of packed sequences; 1 if they are not packed
    halvings,  # steps of the binary search in cu_seqlens
    stop_0,  # end of each group of channels but the last
    stop_1,
    stop_2,
    step_0,
    step_1,
    step_2,
    step_3,
    x_outer,  # strides of x, divided by X_UNIT * PACK if X_UNIT > 0; y and r likewise
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
    ONLY_PADDING: tl.constexpr,  # whether only the padding is written
    OFFSET: tl.constexpr,  # int32, or int64 if an element of the batch is too large for it
    NESTED: tl.constexpr,  # whether there are two batch dims
    TIME_ROWS: tl.constexpr,  # whether a row is a frame; else it is a channel
    SPLIT: tl.constexpr,  # whether a vector may contain channels of two groups
    X_UNIT: tl.constexpr,  # a power of two that divides the strides of x; 0 if its rows are not contiguous
    Y_UNIT: tl.constexpr,
    R_UNIT: tl.constexpr,
    PACK: tl.constexpr,  # frames in a word; 1 if x is not moved as words
    WORD: tl.constexpr,  # dtype of a word
    VECTOR: tl.constexpr,  # elements in a vector; words if PACK > 1
    BLOCK: tl.constexpr,  # vectors in a program
):
    b = tl.program_id(0) // tiles
    tile = tl.program_id(0) - b * tiles
    outer = 0
    if NESTED:
        outer = (b // inner).to(tl.int64)
        b = b % inner
    b = b.to(tl.int64)
    if TIME_ROWS:
        # Vectors are counted from the start of the program's first row, so that threads divide 32-bit integers.
        start = tile.to(OFFSET) * BLOCK
        first_row = start // row_vectors
        vector = (start - first_row * row_vectors).to(tl.int32) + tl.arange(0, BLOCK)
        row = vector // row_vectors
        first_c = tl.expand_dims((vector - row * row_vectors) * VECTOR, 1)
        t = tl.expand_dims(row + first_row.to(tl.int32), 1)
        c = first_c + tl.expand_dims(tl.arange(0, VECTOR), 0)
        written = t < rows
    else:
        # One vector of each of several rows.
        first_row = tile // row_vectors
        c = tl.expand_dims(first_row * BLOCK + tl.arange(0, BLOCK), 1)
        t = tl.expand_dims((tile - first_row * row_vectors) * VECTOR + tl.arange(0, VECTOR), 0)
        first_c = c
        written = (c < rows) & (t < frames // PACK)
    if PACK > 1:
        x_ptr = x_ptr.to(tl.pointer_type(WORD))
        y_ptr = y_ptr.to(tl.pointer_type(WORD))
    step = _of_group(first_c, stop_0, stop_1, stop_2, step_0, step_1, step_2, step_3)
    if RAGGED == PACKED:
        begin, end = _sequence_of(t, bounds_ptr, sequences, halvings, frames)
    elif RAGGED == LENGTHS:
        begin = 0
        end = tl.load(bounds_ptr + outer * length_outer + b * length_inner)
        end = tl.minimum(tl.maximum(end, 0), frames).to(tl.int32)
    else:
        begin = 0
        end = frames
    inside = written & (t >= begin) & (t < end)
    y_ptr, y_t, y_c = _strided(y_ptr, outer, b, y_outer, y_inner, y_t, y_c, Y_UNIT, TIME_ROWS)
    to = y_ptr + t.to(OFFSET) * y_t + c.to(OFFSET) * y_c
    if ONLY_PADDING:
        tl.store(to, tl.zeros([BLOCK, VECTOR], y_ptr.dtype.element_ty), mask=written & (inside == 0))
    else:
        x_ptr, x_t, x_c = _strided(x_ptr, outer, b, x_outer, x_inner, x_t, x_c, X_UNIT, TIME_ROWS)
        x_ptr += c.to(OFFSET) * x_c
        if PACK > 1:
            value = _earlier_words(x_ptr, t, frames // PACK, step, written, PACK, WORD)
        else:
            value = _earlier(x_ptr, x_t, t, step, begin, end, frames, inside, PADDING, RAGGED, SUM, OFFSET)
        if SPLIT:
            last_c = first_c + VECTOR - 1
            stop = _of_group(first_c, stop_0, stop_1, stop_2, stop_0, stop_1, stop_2, last_c + 1)
            step = _of_group(last_c, stop_0, stop_1, stop_2, step_0, step_1, step_2, step_3)
            inside = inside & (last_c >= stop)
            behind = _earlier(x_ptr, x_t, t, step, begin, end, frames, inside, PADDING, RAGGED, SUM, OFFSET)
            value = tl.where(c < stop, value, behind)
        if ADD:
            r_ptr, r_t, r_c = _strided(r_ptr, outer, b, r_outer, r_inner, r_t, r_c, R_UNIT, TIME_ROWS)
            added = tl.load(r_ptr + t.to(OFFSET) * r_t + c.to(OFFSET) * r_c, mask=written, other=0)
            value = value.to(SUM) + added.to(SUM)
        tl.store(to, value.to(y_ptr.dtype.element_ty), mask=written)
