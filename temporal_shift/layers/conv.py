"""ShiftConv, the block of ShiftCNN (Shen et al., ICASSP 2023)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.arguments import check_whole
from ..functional import temporal_shift, temporal_shift_add
from .layouts import check_placement, check_sequences, check_shift


class ShiftConv(nn.Module):
    r"""A ConvNeXt-like block over time, with a shift on its skip connection or on its input.

    With :math:`f` = depthwise convolution, LayerNorm, linear ``D -> expansion * D``, GELU, linear back to ``D``:

    - ``placement="residual"``: :math:`y = \text{shift}(x) + f(x)`: only the skip connection is shifted;
    - ``placement="inplace"``: :math:`x' = \text{shift}(x),\; y = x' + f(x')`.

    torch has no such layer, so ``ShiftConv`` is not a drop-in replacement.

    Args:
        dim: Channels, ``D``.
        kernel_size: Frames of the depthwise convolution. It must be odd, so that the length does not change. Default:
            7.
        expansion: Width of the hidden layer, divided by ``D``. Default: 4.
        placement: ``"residual"`` (default, the best in Shen et al.) or ``"inplace"``.
        n_div: One in ``n_div`` channels moves, per direction. Default: 16 (the best in Shen et al.).
        stride: Frames by which they move. It is not the stride of the convolution, which is always 1. With 0 nothing
            moves. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: ``False`` (the best in
            Shen et al.).
        device: As in ``nn.Linear``.
        dtype: As in ``nn.Linear``.

    Shape:
        Input and output: ``(B, L, D)`` or ``(L, D)``. With the keyword argument ``lengths``, ``(B,)``, frames at or
        past the length of a sequence are padding: no other frame reads them, and they are zero in the output. For
        ``(L, D)``, ``lengths`` has the shape ``()``.

    Raises:
        TypeError: If an argument has the wrong type; when called, if ``x`` is not a dense tensor.
        ValueError: If ``placement`` is unknown, ``kernel_size`` is even or less than 1, or, unless ``stride`` is 0,
            ``n_div`` does not fit ``dim``; when called, if ``x`` does not have 2 or 3 dims, and as
            :func:`temporal_shift.temporal_shift`.
        RuntimeError: When called, if ``x`` does not have ``D`` channels.

    Example:
        >>> ShiftConv(32)(torch.randn(2, 50, 32)).shape
        torch.Size([2, 50, 32])

    Source: Shen, Liu, Zhou, ICASSP 2023; the block follows Liu et al., "A ConvNet for the 2020s", CVPR 2022.
    """

    def __init__(
        self,
        dim: int,
        kernel_size: int = 7,
        *,
        expansion: int = 4,
        placement: str = "residual",
        n_div: int = 16,
        stride: int = 1,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_whole("kernel_size", kernel_size)
        check_whole("expansion", expansion)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
        check_shift(dim, n_div, stride, bidirectional)
        self.placement = check_placement(placement, ("residual", "inplace"))
        self.n_div = n_div
        self.stride = stride
        self.bidirectional = bidirectional
        self.depthwise = _DepthwiseConv(
            dim, dim, kernel_size, padding=kernel_size // 2, groups=dim, device=device, dtype=dtype
        )
        self.norm = nn.LayerNorm(dim, device=device, dtype=dtype)
        self.expand = nn.Linear(dim, expansion * dim, device=device, dtype=dtype)
        self.contract = nn.Linear(expansion * dim, dim, device=device, dtype=dtype)

    def forward(self, x: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        check_sequences("x", x)
        if x.is_nested:
            raise TypeError("x must be dense, got a nested tensor: pass x.to_padded_tensor(0.0) and its lengths")
        shift: dict[str, Any] = {"n_div": self.n_div, "stride": self.stride, "bidirectional": self.bidirectional}
        if lengths is not None:
            x = _zero_padding(x, lengths)
        if self.placement == "inplace" and self.stride != 0:
            x = temporal_shift(x, **shift, lengths=lengths)
        branch = self._branch(x)
        if self.placement == "residual" and self.stride != 0:
            y = temporal_shift_add(x, branch, **shift, lengths=lengths)
        else:
            y = x + branch
        return y if lengths is None else _zero_padding(y, lengths)

    def _branch(self, x: Tensor) -> Tensor:
        x = self.depthwise(x.transpose(-1, -2)).transpose(-1, -2)  # (B, L, D), as the linear layers expect
        return self.contract(F.gelu(self.expand(self.norm(x))))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return (
            f"placement={self.placement!r}, n_div={self.n_div}, stride={self.stride} (frames shifted), "
            f"bidirectional={self.bidirectional}"
        )


class _DepthwiseConv(nn.Conv1d):
    """An ``nn.Conv1d`` that does not copy a channels-last input.

    torch keeps this memory format for images only, so the sequence is passed as an image of one row.
    """

    def forward(self, input: Tensor) -> Tensor:
        row, weight = input.unsqueeze(-2), self.weight.unsqueeze(-2)
        return F.conv2d(row, weight, self.bias, padding=(0, int(self.padding[0])), groups=self.groups).squeeze(-2)


def _zero_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """Set the padding to zero, with a shift that moves no channel."""
    return temporal_shift(x, groups=[], lengths=lengths)
