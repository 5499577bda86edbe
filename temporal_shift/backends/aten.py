"""Slice copies: the shift on the CPU, and on any device that Triton does not reach."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import ShiftGeometry


def shift(x: Tensor, geometry: ShiftGeometry) -> Tensor:
    """Write each frame of the output once: copied from where its channels read, or zero."""
    time = geometry.time_dim
    frames = x.shape[time]
    y = torch.empty_like(x)
    for group in geometry.groups:
        source = x.narrow(geometry.channel_dim, group.start, group.channels)
        target = y.narrow(geometry.channel_dim, group.start, group.channels)
        empty = min(abs(group.frames), frames)
        kept = frames - empty
        if group.frames >= 0:
            target.narrow(time, empty, kept).copy_(source.narrow(time, 0, kept))
            target.narrow(time, 0, empty).zero_()
        else:
            target.narrow(time, 0, kept).copy_(source.narrow(time, empty, kept))
            target.narrow(time, kept, empty).zero_()
    return y
