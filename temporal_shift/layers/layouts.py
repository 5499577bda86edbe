"""What the arguments of several layers mean."""

from __future__ import annotations

from torch import Tensor, nn

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
    """Return ``placement``, or raise a ``ValueError`` that names the ones allowed."""
    if placement not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise ValueError(f"placement={placement!r} is not known here: it must be one of {names}")
    return placement


def layout_of(net: nn.Module | None) -> tuple[int, int]:
    """The time and the channel dim of what ``net`` takes, by its class; for a stack, by its first module's."""
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


def time_dim_of(x: Tensor, batch_first: bool) -> int:
    """Where torch's sequence layers expect the frames: unbatched ``(L, D)``, ``(B, L, D)`` or ``(L, B, D)``."""
    return 1 if batch_first and x.dim() == 3 else 0
