"""Other implementations of the shift and its layers, to compare outputs and times with ours.

Every shift takes ``(B, L, D)``, pads with zeros, and moves ``groups``, a list of ``(channels, frames)`` over all
channels. x-transformers is called if it is installed. The published implementations are rewritten here from the code of
their papers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Groups = list[tuple[int, int]]


def slice_assignment(x: Tensor, groups: Groups) -> Tensor:
    """Zeros, then one assignment per group: TSM (Lin et al., ICCV 2019, out of place) and ShiftSER (ICASSP 2023)."""
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
    """As ShiftTokens of x-transformers: its ``shift`` (pads one end, crops the other) of each split, then ``cat``."""
    shift = _shift_of_x_transformers()
    parts = x.split([channels for channels, _ in groups], dim=-1)
    return torch.cat([shift(part, frames) for part, (_, frames) in zip(parts, groups, strict=True)], dim=-1)


@cache
def _shift_of_x_transformers() -> Callable[[Tensor, int], Tensor]:
    try:
        from x_transformers.x_transformers import shift
    except ImportError:  # the same padding, for machines without x-transformers
        return lambda part, frames: F.pad(part, (0, 0, frames, -frames)) if frames else part
    return shift


def gather(x: Tensor, groups: Groups) -> Tensor:
    """``torch.gather`` with an index for each element, and a mask. Each call builds the index."""
    frames = torch.cat([torch.full((channels,), step, device=x.device) for channels, step in groups])
    source = torch.arange(x.shape[1], device=x.device)[:, None] - frames  # (L, D)
    inside = (source >= 0) & (source < x.shape[1])
    index = source.clamp(0, x.shape[1] - 1).expand(x.shape)
    return torch.where(inside, x.gather(1, index), 0)


class PublishedConvBlock(nn.Module):
    """The published block of ShiftCNN, ``(B, L, D)``: 1x1 convolutions, and an out-of-place shift of the residual."""

    def __init__(self, dim: int, n_div: int) -> None:
        super().__init__()
        self.n_div = n_div
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Conv1d(dim, 4 * dim, 1)
        self.contract = nn.Conv1d(4 * dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.depthwise(x.transpose(1, 2))
        h = self.norm(h.transpose(1, 2))
        h = self.contract(F.gelu(self.expand(h.transpose(1, 2)))).transpose(1, 2)
        width = x.shape[-1] // self.n_div
        return slice_assignment(x, [(width, 1), (x.shape[-1] - width, 0)]) + h


def published_attention(q: Tensor, k: Tensor, v: Tensor, table: Tensor) -> Tensor:
    """Attention of ``(B, H, L, d)`` with Hugging Face's ``relative_key_query``: einsums over ``(L, L, d)``."""
    steps = torch.arange(q.shape[2], device=q.device)
    relative = F.embedding(steps[:, None] - steps[None, :] + len(steps) - 1, table)
    scores = q @ k.transpose(-1, -2)
    of_query = torch.einsum("bhld,lrd->bhlr", q, relative)
    of_key = torch.einsum("bhrd,lrd->bhlr", k, relative)
    return ((scores + of_query + of_key) / math.sqrt(q.shape[-1])).softmax(dim=-1) @ v


class PublishedRelativeLayer(nn.Module):
    """The Transformer layer of ShiftSER's baseline, ``(B, L, D)``: post-norm, no output projection, GELU."""

    def __init__(self, dim: int, heads: int, frames: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.distance_embedding = nn.Embedding(2 * frames - 1, dim // heads)
        nn.init.normal_(self.distance_embedding.weight, std=0.02)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = published_attention(q, k, v, self.distance_embedding.weight)
        h = self.norm1(x + mixed.transpose(1, 2).flatten(2))
        return self.norm2(h + self.linear2(F.gelu(self.linear1(h))))
