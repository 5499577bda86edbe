"""The layers of Shiftformer and of the Transformer baseline of Shen et al., ICASSP 2023."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional import temporal_shift_add
from ..streaming import ChainedStream, FramewiseStream
from ..streaming.checks import check_streamable
from .layouts import check_placement, check_sequences, check_shift, time_dim_of
from .ragged import apply_padded, shift_sequences, shift_stream, zero_padding
from .relative_attention import RelativeSelfAttention


class ShiftTransformerLayer(nn.TransformerEncoderLayer):
    r"""An ``nn.TransformerEncoderLayer`` with a shift in place of its self-attention, beside it, or before it.

    With :math:`\text{FF}` = linear, activation, linear, and post-norm (``norm_first=False``):

    - ``placement="replace"``: :math:`x' = \text{shift}(x),\; y = \text{norm}_2(x' + \text{FF}(x'))`. The shift replaces
      self-attention, ``norm1`` and their skip connection, and mixes frames without a parameter;
    - ``placement="residual"``: :math:`h = \text{norm}_1(\text{shift}(x) + \text{attn}(x)),\;
      y = \text{norm}_2(h + \text{FF}(h))`;
    - ``placement="inplace"``: the ordinary layer on :math:`\text{shift}(x)`.

    With ``norm_first``, the norms are inside the branches, as in torch. The layer is called like
    ``nn.TransformerEncoderLayer``. With ``"residual"`` and ``"inplace"``, it has the same parameters, and with
    ``stride=0`` its output equals the output of torch's layer bit for bit, except in the padding, where it is zero.
    With ``"replace"``, the ``state_dict`` contains only the feed-forward part and ``norm2``. Shen et al. use
    ``ShiftTransformerLayer(768, 12, 3072, 0.0, "gelu", batch_first=True)``.

    Args:
        d_model: Channels, ``D``. This and the other arguments up to ``dtype`` mean the same as in
            ``nn.TransformerEncoderLayer``.
        nhead: Attention heads. With ``"replace"``, it must divide ``d_model`` but has no effect.
        placement: ``"replace"`` (default, the best in Shen et al.), ``"residual"`` or ``"inplace"``.
        n_div: One in ``n_div`` channels moves, per direction. Default: 4 (the best in Shen et al.).
        stride: Frames by which they move; with 0 nothing moves. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: ``True`` (the best in Shen
            et al.).

    Shape:
        ``src`` is ``(L, B, D)``, ``(B, L, D)`` with ``batch_first``, ``(L, D)``, or nested; the output has its shape.
        Frames that ``src_key_padding_mask`` marks (true, or -10,000 or less) count as zeros: no other frame reads them,
        and the output and the gradient of ``src`` are zero there. ``src_mask`` limits the attention. ``"replace"`` has
        no attention, and accepts a ``src_mask`` only with ``is_causal=True``, if the shift does not read the future.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: At construction, if ``placement`` is unknown or, unless ``stride`` is 0, ``n_div`` does not fit
            ``d_model``. When called, if ``"replace"`` gets a ``src_mask`` without ``is_causal``; if ``is_causal`` and
            the shift reads the future; if ``src`` does not have 2 or 3 dims; if ``src_key_padding_mask`` has the wrong
            shape, is on another device, or is passed with a nested ``src``; or as ``nn.TransformerEncoderLayer``.
        AssertionError: At construction, if ``nhead`` does not divide ``d_model``; or as ``nn.TransformerEncoderLayer``.
        RuntimeError: As ``nn.TransformerEncoderLayer``.

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
        check_shift(d_model, n_div, stride, bidirectional)
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
        if is_causal and self._reads_the_future():
            raise ValueError(
                "is_causal must be False for a shift that reads the future, got True with "
                f"stride={self.stride}, bidirectional={self.bidirectional}"
            )
        if self.placement == "replace" and src_mask is not None and not is_causal:
            raise ValueError(
                'src_mask must be None with placement="replace", which has no attention, unless is_causal=True, got a '
                f"{type(src_mask).__name__}"
            )
        check_sequences("src", src)
        if src.is_nested:
            return self._of_nested(src, src_mask, src_key_padding_mask, is_causal)
        if src_key_padding_mask is None:
            return self._of_dense(src, src_mask, None, is_causal)
        # also with stride=0: zero attention weights and zero gradients do not stop a NaN
        time_dim = time_dim_of(src, self.batch_first)
        y = self._of_dense(zero_padding(src, src_key_padding_mask, time_dim), src_mask, src_key_padding_mask, is_causal)
        return zero_padding(y, src_key_padding_mask, time_dim)

    def stream(self, state: Any = None) -> ChainedStream:
        """Create a stream of this layer.

        Call it with chunks ``(l, B, D)``, ``(B, l, D)`` with ``batch_first``, or ``(l, D)``, for any ``l``. Call its
        ``flush()`` at the end of the sequence. The concatenated outputs equal the output for the whole sequence up to
        rounding (in eval mode, if there is dropout). They are late by ``delay`` frames, as many as the shift reads
        ahead, and ``flush()`` returns the last frames.

        Args:
            state: The ``state`` of another stream of this layer, to continue from. Default: ``None``, a new sequence.

        Raises:
            ValueError: If ``placement`` is not ``"replace"``: attention reads all frames. If the layer has hooks, or
                its class overrides ``forward`` without ``stream``. If ``state`` does not have one part for each stage.
        """
        check_streamable(self)
        if self.placement != "replace":
            raise ValueError(
                f"placement must be 'replace' to stream, got {self.placement!r}: attention reads all frames"
            )
        time_dim = -2 if self.batch_first else 0
        shift = shift_stream(self.n_div, self.stride, self.bidirectional, time_dim)
        return ChainedStream([shift, FramewiseStream(self._feed_forward)], time_dim, state)

    def _feed_forward(self, shifted: Tensor) -> Tensor:
        if self.norm_first:
            return shifted + self._ff_block(self.norm2(shifted))
        return self.norm2(shifted + self._ff_block(shifted))  # type: ignore[no-any-return]

    def _of_dense(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        if self.placement == "replace":
            return self._feed_forward(self._shift(x))
        if self.placement == "inplace" or self.stride == 0:
            return super().forward(self._shift(x), mask, padding, is_causal)
        if self.norm_first:
            h = self._shift_plus(x, self._sa_block(self.norm1(x), mask, padding, is_causal=is_causal))
            return h + self._ff_block(self.norm2(h))
        h = self.norm1(self._shift_plus(x, self._sa_block(x, mask, padding, is_causal=is_causal)))
        return self.norm2(h + self._ff_block(h))  # type: ignore[no-any-return]

    def _of_nested(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        if padding is not None:
            raise ValueError("src_key_padding_mask must be None for a nested src, which contains the lengths")
        if self.placement == "replace":
            return self._feed_forward(self._shift(x))
        like_torch = self.placement == "inplace" or self.stride == 0
        if like_torch and x.layout == torch.strided and not (self.training or torch.is_grad_enabled()):
            with suppress(AssertionError, RuntimeError):  # only torch's fused path takes nested tensors
                return super().forward(self._shift(x), mask, None, is_causal)
        return apply_padded(x, self.batch_first, lambda src, pad: self.forward(src, mask, pad, is_causal))

    def _shift(self, x: Tensor) -> Tensor:
        return x if self.stride == 0 else shift_sequences(x, **self._arguments(x))

    def _shift_plus(self, x: Tensor, branch: Tensor) -> Tensor:
        return temporal_shift_add(x, branch, **self._arguments(x))

    def _arguments(self, x: Tensor) -> dict[str, Any]:
        return {
            "n_div": self.n_div,
            "stride": self.stride,
            "bidirectional": self.bidirectional,
            "time_dim": time_dim_of(x, self.batch_first),
        }

    def _reads_the_future(self) -> bool:
        return self.stride < 0 or (self.bidirectional and self.stride != 0)

    def extra_repr(self) -> str:
        return (
            f"placement={self.placement!r}, n_div={self.n_div}, stride={self.stride}, "
            f"bidirectional={self.bidirectional}"
        )


class RelativeTransformerLayer(ShiftTransformerLayer):
    r"""The Transformer layer of the baseline of Shen et al.: relative positions in the scores, no output projection.

    With post-norm and ``stride=0``: :math:`h = \text{norm}_1(x + \text{attn}(x)),\; y = \text{norm}_2(h +
    \text{FF}(h))`, with :class:`RelativeSelfAttention` for :math:`\text{attn}`. Shen et al. use
    ``RelativeTransformerLayer(768, 12, 3072, 0.0, "gelu", batch_first=True, max_frames=374)``.

    Args:
        d_model: Channels, ``D``. This and the other arguments up to ``dtype`` mean the same as in
            :class:`ShiftTransformerLayer`.
        max_frames: Maximum length of a sequence, in frames. The table of relative positions has
            ``2 * max_frames - 1`` rows.
        placement: ``"inplace"`` (default), the shift before the attention, or ``"residual"``, the shift beside it.
        n_div: As in :class:`ShiftTransformerLayer`. Default: 4.
        stride: Frames by which the channels move. Default: 0, nothing moves.
        bidirectional: As in :class:`ShiftTransformerLayer`. Default: ``True``.

    Shape:
        As in :class:`ShiftTransformerLayer`. The layer works in ``nn.TransformerEncoder``.

    Raises:
        TypeError: As :class:`ShiftTransformerLayer`.
        ValueError: As :class:`ShiftTransformerLayer`, and if ``max_frames`` is less than 1; when called, if a sequence
            is longer than ``max_frames``, or if ``is_causal`` without a ``src_mask``.
        AssertionError: As :class:`ShiftTransformerLayer`.
        RuntimeError: As :class:`ShiftTransformerLayer`.

    Example:
        >>> layer = RelativeTransformerLayer(32, 4, batch_first=True, max_frames=50)
        >>> layer(torch.randn(2, 50, 32)).shape
        torch.Size([2, 50, 32])

    Source: Shen, Liu, Zhou, ICASSP 2023; the scores are Hugging Face's ``relative_key_query``.
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
        max_frames: int,
        placement: str = "inplace",
        n_div: int = 4,
        stride: int = 0,
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
            device,
            dtype,
            placement=check_placement(placement, ("residual", "inplace")),
            n_div=n_div,
            stride=stride,
            bidirectional=bidirectional,
        )
        self.self_attn = RelativeSelfAttention(  # type: ignore[assignment]
            d_model, nhead, max_frames, dropout, bias, batch_first, device, dtype
        )

    def _sa_block(
        self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False
    ) -> Tensor:
        if is_causal and attn_mask is None:
            raise ValueError("src_mask must be given with is_causal=True, got None")
        return self.dropout1(self.self_attn(x, attn_mask, key_padding_mask))  # type: ignore[no-any-return]


class _NoAttention(nn.Module):
    """A placeholder for self-attention with the attributes that ``nn.TransformerEncoder`` reads."""

    _qkv_same_embed_dim = False  # then torch does not use its fused path, which computes attention

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
