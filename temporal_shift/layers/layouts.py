"""Arguments that several layers share: checks, and the layout that a module expects."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..core import arguments

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


def check_placement(placement: str, allowed: tuple[str, ...]) -> str:
    """Return ``placement`` if it is one of ``allowed``, else raise a ``ValueError``."""
    if placement not in allowed:
        raise ValueError(f"placement must be one of {', '.join(map(repr, allowed))}, got {placement!r}")
    return placement


def check_shift(
    channels: int, n_div: int, stride: int, bidirectional: bool, *, bidirectional_name: str = "bidirectional"
) -> None:
    """Check the shift of a layer with ``channels`` channels. With ``stride=0`` the layer ignores ``n_div``."""
    arguments.check_whole("n_div", n_div)
    arguments.check_whole("stride", stride)
    arguments.check_flag(bidirectional_name, bidirectional)
    if stride != 0:
        arguments.check_layer(channels, n_div, stride, bidirectional)


def layout_of(net: nn.Module | None) -> tuple[int, int]:
    """The time and the channel dim that ``net`` expects, by its class, or by the class of a stack's first module."""
    if isinstance(net, nn.Sequential) and len(net) > 0:
        return layout_of(net[0])
    if isinstance(net, (nn.TransformerEncoder, nn.TransformerDecoder)):
        return layout_of(net.layers[0])
    if isinstance(net, (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
        return (-2, -1) if net.self_attn.batch_first else (0, -1)
    if isinstance(net, _CHANNELS_FIRST):
        return -1, -2
    if isinstance(net, (nn.RNNBase, nn.MultiheadAttention)) and not net.batch_first:
        return 0, -1
    return -2, -1


def check_sequences(name: str, x: Any) -> None:
    """Raise unless ``x`` is nested or has the dims of one sequence or of a batch of them."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    if not x.is_nested and x.dim() not in (2, 3):
        raise ValueError(f"{name} must have 2 or 3 dims, got {x.dim()}")


def time_dim_of(x: Tensor, batch_first: bool) -> int:
    """The time dim of the input of torch's sequence layers: ``(L, D)``, ``(B, L, D)`` or ``(L, B, D)``."""
    return 1 if batch_first and x.dim() == 3 else 0
