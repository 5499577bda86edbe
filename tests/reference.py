"""Reference implementation: the shift in plain loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np


def frames_of_channels(channels: int, n_div: int, stride: int, bidirectional: bool, groups: Any) -> list[int]:
    """For each channel, the number of frames by which it reads earlier; negative numbers read later."""
    if groups is None:
        width = channels // n_div
        groups = [(width, stride), (width, -stride)] if bidirectional else [(width, stride)]
    steps = [frames for count, frames in groups for _ in range(count)]
    return steps + [0] * (channels - len(steps))


def source_of(t: int, frames: int, begin: int, end: int, padding_mode: str) -> int | None:
    """The frame of the sequence ``begin:end`` that frame ``t`` reads, or ``None`` if the output is zero."""
    source = t - frames
    if begin <= source < end:
        return source
    if padding_mode == "replicate":
        return begin if source < begin else end - 1
    if padding_mode == "circular":
        return begin + (source - begin) % (end - begin)
    return None


def reads(
    shape: tuple[int, ...],
    *,
    n_div: int = 8,
    stride: int = 1,
    bidirectional: bool = False,
    padding_mode: str = "zeros",
    groups: Any = None,
    lengths: Any = None,
    cu_seqlens: Any = None,
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """The indices ``(output, input)`` of every output element of ``(..., L, D)`` that reads an input element.

    The ends of the sequences are clamped to ``[0, L]``.
    """
    *batch, length, channels = shape
    steps = frames_of_channels(channels, n_div, stride, bidirectional, groups)
    for b in np.ndindex(*batch):
        if cu_seqlens is not None:
            ends = [min(max(int(end), 0), length) for end in cu_seqlens]
        elif lengths is not None:
            ends = [0, min(max(int(lengths[b[: lengths.ndim]]), 0), length)]
        else:
            ends = [0, length]
        for begin, end in itertools.pairwise(ends):
            for t in range(begin, end):
                for c in range(channels):
                    source = source_of(t, steps[c], begin, end, padding_mode)
                    if source is not None:
                        yield (*b, t, c), (*b, source, c)


def temporal_shift(x: np.ndarray, time_dim: int = -2, channel_dim: int = -1, **arguments: Any) -> np.ndarray:
    """The shift: each output element is the input element that it reads, or zero."""
    moved = np.moveaxis(x, (time_dim, channel_dim), (-2, -1))
    y = np.zeros_like(moved)
    for output, source in reads(moved.shape, **arguments):
        y[output] = moved[source]
    return np.moveaxis(y, (-2, -1), (time_dim, channel_dim))


def temporal_shift_gradient(
    grad: np.ndarray, time_dim: int = -2, channel_dim: int = -1, **arguments: Any
) -> np.ndarray:
    """The gradient of the shift: each output gradient is added to the gradient of the element that the output reads."""
    moved = np.moveaxis(grad, (time_dim, channel_dim), (-2, -1))
    back = np.zeros_like(moved)
    for output, source in reads(moved.shape, **arguments):
        back[source] += moved[output]
    return np.moveaxis(back, (-2, -1), (time_dim, channel_dim))
