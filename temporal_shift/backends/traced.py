"""Pad and cat: what torch.compile, torch.export and ONNX see.

Inductor fuses this form into its neighbours; a custom op or an ``autograd.Function`` would stand in the way.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..geometry import ShiftGeometry


def shift(x: Tensor, geometry: ShiftGeometry) -> Tensor:
    """The shift as one expression without mutation."""
    parts = [
        _moved(x.narrow(geometry.channel_dim, group.start, group.channels), geometry.time_dim, group.frames)
        for group in geometry.groups
    ]
    return torch.cat(parts, dim=geometry.channel_dim)


def _moved(x: Tensor, time_dim: int, frames: int) -> Tensor:
    if frames == 0:
        return x
    if abs(frames) >= x.shape[time_dim]:
        return torch.zeros_like(x)
    pad = [0, 0] * (x.dim() - time_dim)  # F.pad counts dims from the last
    pad[-2:] = [frames, -frames]  # what is padded at one end is cut off at the other
    return F.pad(x, pad)
