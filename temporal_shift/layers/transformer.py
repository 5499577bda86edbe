"""The block of Shiftformer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional import temporal_shift
from .arguments import check_placement, time_dim_of


class ShiftTransformerLayer(nn.TransformerEncoderLayer):
    r"""An ``nn.TransformerEncoderLayer`` with a shift instead of its self-attention, beside it, or before it.

    With :math:`\text{FF}` = linear, activation, linear, and with the norms after the sums (``norm_first=False``):

    - ``placement="replace"``: :math:`x' = \text{shift}(x),\; y = \text{norm}_2(x' + \text{FF}(x'))` - the shift takes
      the place of self-attention, of ``norm1`` and of their skip, and frames mix without a parameter;
    - ``placement="residual"``: :math:`h = \text{norm}_1(\text{shift}(x) + \text{attn}(x)),\;
      y = \text{norm}_2(h + \text{FF}(h))`;
    - ``placement="inplace"``: the ordinary layer on :math:`\text{shift}(x)`.

    With ``norm_first`` the norms stand where torch's stand: inside the branches. The arguments up to ``dtype`` are
    those of ``nn.TransformerEncoderLayer`` with its defaults; the paper's block is
    ``ShiftTransformerLayer(768, 12, 3072, 0.0, "gelu", batch_first=True)``. The parts that stay keep their names in
    the ``state_dict``.

    Args:
        d_model: The channels, ``D``.
        nhead: Heads of the self-attention; with ``"replace"`` there are none, and it is only checked.
        placement: ``"replace"`` (default, the paper's best), ``"residual"`` or ``"inplace"``.
        n_div: One in ``n_div`` channels moves, per direction. Default: 4 (the paper's best).
        stride: How many frames they move; with 0 and ``"inplace"`` or ``"residual"`` this is torch's layer. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: yes (the paper's best).

    Shape:
        ``src`` is ``(L, B, D)``, ``(B, L, D)`` with ``batch_first``, or ``(L, D)``; the output is the same. Frames
        that ``src_key_padding_mask`` marks as padding are shifted as zeros, so that they reach no other frame. A
        ``src_mask`` limits the attention only; with ``"replace"`` there is none, and a mask is a ``ValueError``.

    Raises:
        ValueError: If ``placement`` is not known, or ``"replace"`` is given a ``src_mask``; as
            :func:`temporal_shift.temporal_shift`, when called.

    Example:
        >>> layer = ShiftTransformerLayer(32, 4, batch_first=True)
        >>> layer(torch.randn(2, 50, 32)).shape
        torch.Size([2, 50, 32])

    Source: Shen, Liu, Zhou, ICASSP 2023.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        placement: str = "replace",
        n_div: int = 4,
        stride: int = 1,
        bidirectional: bool = True,
    ) -> None:
        super().__init__(
            d_model,
            nhead,
            dim_feedforward,
            dropout,
            activation,
            layer_norm_eps,
            batch_first,
            norm_first,
            bias,
            device=device,
            dtype=dtype,
        )
        self.placement = check_placement(placement, ("replace", "residual", "inplace"))
        self.n_div = n_div
        self.stride = stride
        self.bidirectional = bidirectional
        self.batch_first = batch_first
        if placement == "replace":
            del self.norm1, self.dropout1
            self.self_attn = _NoAttention(batch_first)  # type: ignore[assignment]

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        if self.placement == "replace":
            if src_mask is not None:
                raise ValueError('src_mask limits attention, and placement="replace" has none: it must be None')
            return self._instead_of_attention(self._shift(src, src_key_padding_mask))
        if self.placement == "residual" and self.stride != 0:
            return self._beside_attention(src, src_mask, src_key_padding_mask, is_causal)
        return super().forward(self._shift(src, src_key_padding_mask), src_mask, src_key_padding_mask, is_causal)

    def _instead_of_attention(self, shifted: Tensor) -> Tensor:
        if self.norm_first:
            return shifted + self._ff_block(self.norm2(shifted))
        return self.norm2(shifted + self._ff_block(shifted))  # type: ignore[no-any-return]

    def _beside_attention(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        skip = self._shift(x, padding)
        if self.norm_first:
            h = skip + self._sa_block(self.norm1(x), mask, padding, is_causal=is_causal)
            return h + self._ff_block(self.norm2(h))
        h = self.norm1(skip + self._sa_block(x, mask, padding, is_causal=is_causal))
        return self.norm2(h + self._ff_block(h))  # type: ignore[no-any-return]

    def _shift(self, src: Tensor, padding: Tensor | None) -> Tensor:
        if self.stride == 0:
            return src
        if src.is_nested:  # nn.TransformerEncoder nests a padded batch in eval mode
            return torch.nested.as_nested_tensor([self._shift(sequence, None) for sequence in src.unbind()])
        time_dim = time_dim_of(src, self.batch_first)
        if padding is not None:
            src = src.masked_fill(_is_padding(padding, time_dim, src.dim()), 0.0)
        return temporal_shift(
            src, n_div=self.n_div, stride=self.stride, bidirectional=self.bidirectional, time_dim=time_dim
        )

    def extra_repr(self) -> str:
        return (
            f"placement={self.placement!r}, n_div={self.n_div}, stride={self.stride}, "
            f"bidirectional={self.bidirectional}"
        )


class _NoAttention(nn.Module):
    """Stands where self-attention stood: ``nn.TransformerEncoder`` reads these two attributes of it."""

    _qkv_same_embed_dim = False  # keeps it from the fused path, which would compute attention

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first


def _is_padding(mask: Tensor, time_dim: int, dims: int) -> Tensor:
    """The key padding mask, ``(B, L)`` or ``(L,)``, bool or added to scores, as a bool that fits ``src``."""
    padded = mask if mask.dtype == torch.bool else mask == float("-inf")
    if dims == 3 and time_dim == 0:
        padded = padded.transpose(0, 1)  # (L, B)
    return padded.unsqueeze(-1)
