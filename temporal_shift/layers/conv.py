"""The block of ShiftCNN."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..functional import temporal_shift, temporal_shift_add
from .layouts import check_placement


class ShiftConv(nn.Module):
    r"""A ConvNeXt-like block over time, with a shift on its skip connection or on its input.

    With :math:`f` = depthwise convolution, LayerNorm, linear ``D -> expansion * D``, GELU, linear back to ``D``:

    - ``placement="residual"``: :math:`y = \text{shift}(x) + f(x)` - the skip mingles frames, the block sees its own;
    - ``placement="inplace"``: :math:`x' = \text{shift}(x),\; y = x' + f(x')`.

    Args:
        dim: The channels, ``D``.
        kernel_size: Frames under the depthwise convolution; odd, so that the length stays. Default: 7 (the paper's).
        expansion: Width of the hidden layer over ``D``. Default: 4 (the paper's).
        placement: ``"residual"`` (default, the paper's best) or ``"inplace"``.
        n_div: One in ``n_div`` channels moves, per direction. Default: 16 (the paper's best).
        stride: How many frames they move; with 0 this is the plain block. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: no.
        device: As in ``nn.Linear``.
        dtype: As in ``nn.Linear``.

    Shape:
        ``(B, L, D)`` or ``(L, D)``, to the same. With ``lengths``, ``(B,)``, frames at or past a sequence's length are
        padding: no other frame sees them, and they are zero in the output.

    Raises:
        ValueError: If ``placement`` is not known or ``kernel_size`` is even; as
            :func:`temporal_shift.temporal_shift`, when called.

    Example:
        >>> ShiftConv(32)(torch.randn(2, 50, 32)).shape
        torch.Size([2, 50, 32])

    Source: Shen, Liu, Zhou, ICASSP 2023; the block is that of Liu et al., "A ConvNet for the 2020s", CVPR 2022.
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
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size} would change the length: it must be odd and at least 1")
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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        shift: dict[str, Any] = {"n_div": self.n_div, "stride": self.stride, "bidirectional": self.bidirectional}
        if lengths is not None:
            x = _silenced(x, lengths)
        if self.placement == "inplace" and self.stride != 0:
            x = temporal_shift(x, **shift, lengths=lengths)
        branch = self._branch(x)
        if self.placement == "residual" and self.stride != 0:
            y = temporal_shift_add(x, branch, **shift, lengths=lengths)
        else:
            y = x + branch
        return y if lengths is None else _silenced(y, lengths)

    def _branch(self, x: Tensor) -> Tensor:
        x = self.depthwise(x.transpose(-1, -2)).transpose(-1, -2)  # (B, L, D): a linear layer is a 1x1 convolution
        return self.contract(F.gelu(self.expand(self.norm(x))))  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return (
            f"placement={self.placement!r}, n_div={self.n_div}, stride={self.stride}, "
            f"bidirectional={self.bidirectional}"
        )


class _DepthwiseConv(nn.Conv1d):
    """An ``nn.Conv1d`` that makes no copy of ``(B, D, L)`` whose channels are neighbours in memory.

    torch leaves only images in that order: so the sequence is an image of one row.
    """

    def forward(self, input: Tensor) -> Tensor:
        row, weight = input.unsqueeze(-2), self.weight.unsqueeze(-2)
        return F.conv2d(row, weight, self.bias, padding=(0, int(self.padding[0])), groups=self.groups).squeeze(-2)


def _silenced(x: Tensor, lengths: Tensor) -> Tensor:
    """With zeros where there is padding, which is what a shift of no channel leaves there."""
    return temporal_shift(x, groups=[], lengths=lengths)
