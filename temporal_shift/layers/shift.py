"""The shift as a module, alone or in front of another."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..functional import temporal_shift

_CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d)


class TemporalShift(nn.Module):
    r"""Shift the input in time, then apply ``net``: :math:`y = \text{net}(\text{shift}(x))`.

    Args:
        net: What follows the shift; ``None`` for the shift alone. It may be any module whose first argument is the
            sequence; other arguments are passed on.
        n_div: One in ``n_div`` channels moves, per direction. Default: 8.
        stride: How many frames they move. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: no.
        time_dim: The dim of the frames. Default: what ``net`` expects - the last for ``nn.Conv1d`` and its kin, the
            first for an ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN`` without ``batch_first``, else -2.
        channel_dim: The dim of the channels. Default: -2 for ``nn.Conv1d`` and its kin, else -1.

    Shape:
        ``(B, L, D)``, or the layout that ``net`` takes, to what ``net`` gives.

    Raises:
        ValueError: As :func:`temporal_shift.temporal_shift`, when called.

    Example:
        >>> layer = TemporalShift(nn.Conv1d(16, 32, 3, padding=1), n_div=4)
        >>> layer(torch.randn(2, 16, 50)).shape
        torch.Size([2, 32, 50])
    """

    def __init__(
        self,
        net: nn.Module | None = None,
        *,
        n_div: int = 8,
        stride: int = 1,
        bidirectional: bool = False,
        time_dim: int | None = None,
        channel_dim: int | None = None,
    ) -> None:
        super().__init__()
        time_of_net, channel_of_net = _dims_of(net)
        self.net = net
        self.n_div = n_div
        self.stride = stride
        self.bidirectional = bidirectional
        self.time_dim = time_of_net if time_dim is None else time_dim
        self.channel_dim = channel_of_net if channel_dim is None else channel_dim

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        shifted = temporal_shift(
            x,
            n_div=self.n_div,
            stride=self.stride,
            bidirectional=self.bidirectional,
            time_dim=self.time_dim,
            channel_dim=self.channel_dim,
        )
        return shifted if self.net is None else self.net(shifted, *args, **kwargs)

    def extra_repr(self) -> str:
        described = f"n_div={self.n_div}, stride={self.stride}, bidirectional={self.bidirectional}"
        if (self.time_dim, self.channel_dim) != (-2, -1):
            described += f", time_dim={self.time_dim}, channel_dim={self.channel_dim}"
        return described


def _dims_of(net: nn.Module | None) -> tuple[int, int]:
    if isinstance(net, _CHANNELS_FIRST):
        return -1, -2
    if isinstance(net, nn.RNNBase) and not net.batch_first:
        return 0, -1
    return -2, -1
