"""The oracle: what the package means, in plain loops that nobody has to trust."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def frames_of_channel(channel: int, channels: int, n_div: int, stride: int, bidirectional: bool) -> int:
    """How many frames earlier a channel reads."""
    width = channels // n_div
    if channel < width:
        return stride
    if bidirectional and channel < 2 * width:
        return -stride
    return 0


def reads(frames: int, channels: int, n_div: int, stride: int, bidirectional: bool) -> Iterator[tuple[int, int, int]]:
    """``(t, source, c)`` for every output that is read from a frame inside the sequence."""
    for c in range(channels):
        for t in range(frames):
            source = t - frames_of_channel(c, channels, n_div, stride, bidirectional)
            if 0 <= source < frames:
                yield t, source, c


def temporal_shift(
    x: np.ndarray, n_div: int, stride: int, bidirectional: bool = False, time_dim: int = -2, channel_dim: int = -1
) -> np.ndarray:
    """Each output is the input that it reads, or zero."""
    moved = np.moveaxis(x, (time_dim, channel_dim), (-2, -1))
    y = np.zeros_like(moved)
    for t, source, c in reads(*moved.shape[-2:], n_div, stride, bidirectional):
        y[..., t, c] = moved[..., source, c]
    return np.moveaxis(y, (-2, -1), (time_dim, channel_dim))


def temporal_shift_gradient(
    grad: np.ndarray, n_div: int, stride: int, bidirectional: bool = False, time_dim: int = -2, channel_dim: int = -1
) -> np.ndarray:
    """Each output's gradient goes back to the input that it was read from."""
    moved = np.moveaxis(grad, (time_dim, channel_dim), (-2, -1))
    back = np.zeros_like(moved)
    for t, source, c in reads(*moved.shape[-2:], n_div, stride, bidirectional):
        back[..., source, c] += moved[..., t, c]
    return np.moveaxis(back, (-2, -1), (time_dim, channel_dim))
