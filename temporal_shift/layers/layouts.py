"""Checks of arguments that several layers share, and the layout that a module expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..core import arguments
from ..streaming.checks import inherits_forward

_CHANNELS_FIRST = (
    nn.Conv1d,
    nn.ConvTranspose1d,
    nn.BatchNorm1d,
    nn.InstanceNorm1d,
    nn.GroupNorm,
    nn.MaxPool1d,
    nn.AvgPool1d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveAvgPool1d,
)
# Modules for images and videos: the channels are dim 1 of a batch, but the frames may be any other dim.
_OF_IMAGES = (
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
)


def check_placement(placement: str, allowed: tuple[str, ...]) -> str:
    """Return ``placement`` if it is one of ``allowed``, else raise a ``ValueError``."""
    if placement not in allowed:
        raise ValueError(f"placement must be one of {', '.join(map(repr, allowed))}, got {placement!r}")
    return placement


def check_shift(
    channels: int, n_div: int, stride: int, bidirectional: bool, *, bidirectional_name: str = "bidirectional"
) -> None:
    """Check the shift of a layer with ``channels`` channels. With ``stride=0``, only types are checked."""
    arguments.check_whole("n_div", n_div)
    arguments.check_whole("stride", stride)
    arguments.check_flag(bidirectional_name, bidirectional)
    if stride != 0:
        arguments.check_layer(channels, n_div, stride, bidirectional)


def layout_for(nets: Sequence[nn.Module | None], time_dim: int | None, channel_dim: int | None) -> tuple[int, int]:
    """The time and the channel dim: as passed, or from the first of ``nets`` with another layout than ``(..., L, D)``.

    Without such a net, they are -2 and -1.

    Raises:
        ValueError: If a dim is ``None``, and the class of a module is ambiguous (see :func:`layout_of`).
    """
    if time_dim is not None and channel_dim is not None:
        return time_dim, channel_dim
    unknown = layout_of(None)
    layout = next((layout for net in nets if (layout := layout_of(net)) != unknown), unknown)
    return layout[0] if time_dim is None else time_dim, layout[1] if channel_dim is None else channel_dim


def layout_of(net: nn.Module | None) -> tuple[int, int]:
    """The time and the channel dim that ``net`` expects, from its class or, for a stack, from its first module.

    They are -2 and -1 if the class is unknown.

    Raises:
        ValueError: If the class is ambiguous: one of ``_OF_IMAGES``, or an ``nn.Sequential`` that overrides ``forward``
            and has a first module that does not expect ``(..., L, D)``.
    """
    if isinstance(net, nn.Sequential) and len(net) > 0:
        layout = layout_of(net[0])
        if layout != layout_of(None) and not inherits_forward(net, nn.Sequential):
            raise ValueError(
                f"time_dim and channel_dim must be given for {type(net).__name__}, an nn.Sequential that overrides "
                "forward, got None"
            )
        return layout
    if isinstance(net, _OF_IMAGES):
        raise ValueError(f"time_dim and channel_dim must be given for {type(net).__name__}, got None")
    if isinstance(net, (nn.TransformerEncoder, nn.TransformerDecoder)):
        return layout_of(net.layers[0])
    if isinstance(net, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return (-2, -1) if net.self_attn.batch_first else (0, -1)
    if isinstance(net, _CHANNELS_FIRST):
        return -1, -2
    if isinstance(net, (nn.RNNBase, nn.MultiheadAttention, nn.Transformer)) and not net.batch_first:
        return 0, -1
    return -2, -1


def check_sequences(name: str, x: Any) -> None:
    """Raise unless ``x`` is a nested tensor or a tensor with 2 dims (a sequence) or 3 dims (a batch)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if not x.is_nested and x.dim() not in (2, 3):
        raise ValueError(f"{name} must have 2 or 3 dims, got {x.dim()}")


def time_dim_of(x: Tensor, batch_first: bool) -> int:
    """The time dim of ``x``, the input of a torch layer: ``(L, D)``, ``(L, B, D)``, or ``(B, L, D)`` if batch first."""
    return 1 if batch_first and x.dim() == 3 else 0
