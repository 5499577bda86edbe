"""The oracle: what the package means, in plain loops that nobody has to trust."""

from __future__ import annotations

import numpy as np


def frames_of_channel(channel: int, channels: int, n_div: int, stride: int, bidirectional: bool) -> int:
    """How many frames earlier a channel reads."""
    width = channels // n_div
    if channel < width:
        return stride
    if bidirectional and channel < 2 * width:
        return -stride
    return 0


def temporal_shift(
    x: np.ndarray, n_div: int, stride: int, bidirectional: bool = False, time_dim: int = -2, channel_dim: int = -1
) -> np.ndarray:
    """``y[..., t, c] = x[..., t - frames, c]``, zero where that is outside."""
    moved = np.moveaxis(x, (time_dim, channel_dim), (-2, -1))
    y = np.zeros_like(moved)
    frames, channels = moved.shape[-2:]
    for c in range(channels):
        step = frames_of_channel(c, channels, n_div, stride, bidirectional)
        for t in range(frames):
            if 0 <= t - step < frames:
                y[..., t, c] = moved[..., t - step, c]
    return np.moveaxis(y, (-2, -1), (time_dim, channel_dim))


def temporal_shift_gradient(
    grad: np.ndarray, n_div: int, stride: int, bidirectional: bool = False, time_dim: int = -2, channel_dim: int = -1
) -> np.ndarray:
    """Each output's gradient goes back to the one input that it was read from."""
    moved = np.moveaxis(grad, (time_dim, channel_dim), (-2, -1))
    back = np.zeros_like(moved)
    frames, channels = moved.shape[-2:]
    for c in range(channels):
        step = frames_of_channel(c, channels, n_div, stride, bidirectional)
        for t in range(frames):
            if 0 <= t - step < frames:
                back[..., t - step, c] += moved[..., t, c]
    return np.moveaxis(back, (-2, -1), (time_dim, channel_dim))
