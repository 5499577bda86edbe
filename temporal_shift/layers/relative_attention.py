"""Self-attention with learned relative positions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ragged import zero_padding


class RelativeSelfAttention(nn.Module):
    r"""Self-attention with scores :math:`(q_i k_j + q_i E_{i-j} + k_j E_{i-j}) / \sqrt{d}`, and no output projection.

    ``E`` is one learned table of ``2 * max_frames - 1`` relative positions, shared by the heads and initialised from
    N(0, 1): Hugging Face's ``relative_key_query``, after Huang et al., "Improve Transformer Models with Better Relative
    Position Embeddings". No tensor of ``L x L x d`` is built.

    Args:
        d_model: Channels, ``D``.
        nhead: Attention heads, with ``d = D / nhead`` channels each.
        max_frames: Maximum length of a sequence, in frames.
        dropout: Dropout probability of the attention weights. Default: 0.
        bias: Whether queries, keys and values have a bias. Default: ``True``.
        batch_first: Whether a batch is ``(B, L, D)`` rather than ``(L, B, D)``. Default: ``False``.
        device: As in ``nn.Linear``.
        dtype: As in ``nn.Linear``.

    Shape:
        Input and output: ``(B, L, D)``, ``(L, B, D)`` or ``(L, D)``. ``attn_mask`` is ``(L, L)`` or
        ``(B * nhead, L, L)``, ``key_padding_mask`` ``(B, L)`` or ``(L,)``. As in ``nn.MultiheadAttention``, masks are
        bool, with true for masked positions, or are added to the scores. A frame that ``key_padding_mask`` masks (true,
        or -10,000 or less) counts as zeros.

    Raises:
        TypeError: When called, if ``key_padding_mask`` is not a tensor, or neither bool nor floating point.
        ValueError: If ``nhead`` is less than 1 or does not divide ``d_model``, or ``max_frames`` is less than 1; when
            called, if a sequence is longer than ``max_frames``, or ``key_padding_mask`` does not fit ``x``.

    Example:
        >>> RelativeSelfAttention(32, 4, max_frames=50, batch_first=True)(torch.randn(2, 50, 32)).shape
        torch.Size([2, 50, 32])
    """

    # torch's Transformer layers read these attributes and then do not use their fused path.
    in_proj_bias = None
    _qkv_same_embed_dim = False

    def __init__(
        self,
        d_model: int,
        nhead: int,
        max_frames: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if nhead < 1 or d_model % nhead:
            raise ValueError(f"nhead must be at least 1 and divide d_model={d_model}, got {nhead}")
        if max_frames < 1:
            raise ValueError(f"max_frames must be at least 1, got {max_frames}")
        self.num_heads = nhead
        self.max_frames = max_frames
        self.dropout = dropout
        self.batch_first = batch_first
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=bias, device=device, dtype=dtype)
        self.distance_embedding = nn.Embedding(2 * max_frames - 1, d_model // nhead, device=device, dtype=dtype)

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        if x.dim() == 2:
            padding = None if key_padding_mask is None else key_padding_mask[None]
            return self._attended(x[None], attn_mask, padding)[0]
        if self.batch_first:
            return self._attended(x, attn_mask, key_padding_mask)
        return self._attended(x.transpose(0, 1), attn_mask, key_padding_mask).transpose(0, 1)

    def _attended(self, x: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor:
        batch, length, dim = x.shape
        if length > self.max_frames:
            raise ValueError(f"x must have at most max_frames={self.max_frames} frames, got {length}")
        if padding is not None:
            x = zero_padding(x, padding, time_dim=1)  # a NaN spreads even with a weight of zero
        # (3, B, H, L, d)
        q, k, v = self.qkv(x).view(batch, length, 3, self.num_heads, dim // self.num_heads).permute(2, 0, 3, 1, 4)
        table = self.distance_embedding.weight[self.max_frames - length : self.max_frames + length - 1]
        bias = _bias(mask, padding, q)
        dropout = self.dropout if self.training else 0.0
        return relative_attention(q, k, v, table.to(q.dtype), bias, dropout).transpose(1, 2).flatten(2)  # (B, L, D)

    def extra_repr(self) -> str:
        return f"nhead={self.num_heads}, max_frames={self.max_frames}, dropout={self.dropout}"


def relative_attention(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor, bias: Tensor | None = None, dropout: float = 0.0
) -> Tensor:
    """Return attention with relative positions, ``(B, H, L, d)``.

    Args:
        q: Queries, ``(B, H, L, d)``.
        k: Keys, likewise.
        v: Values, likewise.
        table: Relative positions, ``(2L - 1, d)``: row ``i - j + L - 1`` belongs to query ``i`` and key ``j``.
        bias: Added to the scores, ``(B or 1, H or 1, L or 1, L)``. Default: ``None``.
        dropout: Probability of setting a weight to zero. Default: 0.
    """
    # Queries are in reverse order, so that query L - 1 - n and key j need row n + j of the flipped table.
    q, scaled_k = q.flip(-2) / math.sqrt(q.shape[-1]), k / math.sqrt(q.shape[-1])
    positions = table.flip(0).mT  # (d, 2L - 1)
    scores = q @ k.mT + _skewed(q @ positions) + _skewed(scaled_k @ positions).mT
    if bias is not None:
        scores = scores + bias.flip(-2)
    return (F.dropout(scores.softmax(dim=-1), dropout) @ v).flip(-2)


def _skewed(products: Tensor) -> Tensor:
    """A view of ``(..., L, 2L - 1)`` with ``[n, n + j]`` at ``[n, j]``: windows of ``L`` values begin ``2L`` apart."""
    length, positions = products.shape[-2:]
    return products.flatten(-2).unflatten(-1, (positions, length))[..., ::2, :]  # type: ignore[no-any-return]


def _bias(mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
    """Both masks as one bias for the scores, if any. It is finite, so that a fully masked row does not become NaN."""
    heads, length = q.shape[1:3]
    bias = None
    if mask is not None:
        bias = _additive(mask, q).view(-1, heads, length, length) if mask.dim() == 3 else _additive(mask, q)[None, None]
    if padding is not None:
        of_keys = _additive(padding, q)[:, None, None, :]
        bias = of_keys if bias is None else bias + of_keys
    return bias


def _additive(mask: Tensor, q: Tensor) -> Tensor:
    hidden = torch.finfo(q.dtype).min / 4  # so that the sum of two masks and a score is finite
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, hidden)
    return mask.to(q.dtype).clamp(min=hidden)
