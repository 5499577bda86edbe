"""The shift as others write it: what ours is compared with, first in its output, then in time.

Each does the same job, ``(B, L, D)`` with zeros around a sequence: ``groups`` is ``[(channels, frames), ...]`` over all
channels. Where PyPI has the peer itself, that is called; the published forms are written anew.
"""

from __future__ import annotations

import torch
from torch import Tensor

Groups = list[tuple[int, int]]


def slice_assignment(x: Tensor, groups: Groups) -> Tensor:
    """Zeros, then an assignment a group: TSM (Lin et al., ICCV 2019, out of place) and ShiftSER (ICASSP 2023)."""
    y = torch.zeros_like(x)
    start = 0
    for channels, frames in groups:
        part = slice(start, start + channels)
        if frames > 0:
            y[:, frames:, part] = x[:, :-frames, part]
        elif frames < 0:
            y[:, :frames, part] = x[:, -frames:, part]
        else:
            y[:, :, part] = x[:, :, part]
        start += channels
    return y


def pad_and_cat(x: Tensor, groups: Groups) -> Tensor:
    """x-transformers' own ``shift`` (pads an end, crops the other) of each split, then ``cat``, as its ShiftTokens."""
    from x_transformers.x_transformers import shift

    parts = x.split([channels for channels, _ in groups], dim=-1)
    return torch.cat([shift(part, frames) for part, (_, frames) in zip(parts, groups, strict=True)], dim=-1)


def gather(x: Tensor, groups: Groups) -> Tensor:
    """An index for each element, and a mask: how ``torch.gather`` would be used. The index is built for each call."""
    frames = torch.cat([torch.full((channels,), step, device=x.device) for channels, step in groups])
    source = torch.arange(x.shape[1], device=x.device)[:, None] - frames  # (L, D)
    inside = (source >= 0) & (source < x.shape[1])
    index = source.clamp(0, x.shape[1] - 1).expand(x.shape)
    return torch.where(inside, x.gather(1, index), 0)
