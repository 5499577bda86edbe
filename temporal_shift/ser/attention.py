"""The Transformer layer of the paper's baseline: post-norm, with learned relative positions in the scores."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from temporal_shift import temporal_shift

from .config import Shift


class RelativeTransformerLayer(nn.Module):
    r"""Post-norm: :math:`h = \text{norm}_1(x + \text{attn}(x)),\; y = \text{norm}_2(h + \text{FF}(h))`.

    With a ``shift`` of placement ``"residual"`` the first skip is :math:`\text{shift}(x)`; with ``"inplace"`` the whole
    layer sees :math:`\text{shift}(x)`.

    Args:
        dim: The channels, ``D``.
        heads: Attention heads; they divide ``D``.
        frames: The longest sequence, in frames.
        shift: Where a shift sits, or ``None``.

    Shape:
        ``(B, L, D)`` to the same.
    """

    def __init__(self, dim: int, heads: int, frames: int, shift: Shift | None = None) -> None:
        super().__init__()
        self.shift = shift
        self.attention = RelativeSelfAttention(dim, heads, frames)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.shift is None else _shifted(x, self.shift)
        seen = skip if self.shift is not None and self.shift.placement == "inplace" else x
        h = self.norm1(skip + self.attention(seen))
        return self.norm2(h + self.linear2(F.gelu(self.linear1(h))))  # type: ignore[no-any-return]


class RelativeSelfAttention(nn.Module):
    r"""Self-attention with scores :math:`(q_i k_j + q_i E_{i-j} + k_j E_{i-j}) / \sqrt{d}`, and no output projection.

    ``E`` is one learned table of ``2 * frames - 1`` relative positions, shared by the heads: Hugging Face's
    ``relative_key_query``, after Huang et al., "Improve Transformer Models with Better Relative Position Embeddings".
    """

    def __init__(self, dim: int, heads: int, frames: int) -> None:
        super().__init__()
        self.heads = heads
        self.frames = frames
        self.qkv = nn.Linear(dim, 3 * dim)
        self.distance_embedding = nn.Embedding(2 * frames - 1, dim // heads)
        nn.init.normal_(self.distance_embedding.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        # (3, B, H, L, d)
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2) + self._relative(q, k)) / math.sqrt(q.shape[-1])  # (B, H, L, L)
        mixed: Tensor = scores.softmax(dim=-1) @ v
        return mixed.transpose(1, 2).reshape(batch, length, dim)

    def _relative(self, q: Tensor, k: Tensor) -> Tensor:
        length = q.shape[-2]
        # Rows E[i - j] for i - j from 1 - L to L - 1; products with all of them, then the diagonals that are wanted:
        # no (L, L, d) tensor is built.
        table: Tensor = self.distance_embedding.weight[self.frames - length : self.frames + length - 1]
        steps = torch.arange(length, device=q.device)
        distance = (steps[:, None] - steps[None, :] + length - 1).expand(*q.shape[:2], -1, -1)  # [i, j] -> row
        of_query = (q @ table.T).gather(-1, distance)
        of_key = (k @ table.T).gather(-1, distance.transpose(-1, -2)).transpose(-1, -2)
        return of_query + of_key


def _shifted(x: Tensor, shift: Shift) -> Tensor:
    return temporal_shift(x, n_div=shift.n_div, stride=shift.stride, bidirectional=shift.bidirectional)
