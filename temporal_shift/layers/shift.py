"""The shift as a module, alone or in front of another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..streaming import ChainedStream, ShiftStream
from ..streaming.nets import chained, refuse_surgery, stages_of
from .layouts import layout_of
from .ragged import shift_sequences


class TemporalShift(nn.Module):
    r"""Shift the input in time, then apply ``net``: :math:`y = \text{net}(\text{shift}(x))`.

    Args:
        net: What follows the shift; ``None`` for the shift alone. It may be any module whose first argument is the
            sequence; other arguments are passed on.
        n_div: One in ``n_div`` channels moves, per direction. Default: 8.
        stride: How many frames they move. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: no.
        padding_mode: What is read outside a sequence: ``"zeros"`` (default), ``"replicate"`` or ``"circular"``.
        groups: ``[(channels, frames), ...]`` instead of the three above ``padding_mode``.
        time_dim: The dim of the frames. Default: what ``net`` expects - the last for ``nn.Conv1d``, its kin and the
            norms and pools that go with it; the first for torch's recurrent, attention and Transformer layers without
            ``batch_first``; else -2. An ``nn.Sequential`` expects what its first module does.
        channel_dim: The dim of the channels. Default: -2 for ``nn.Conv1d`` and its kin, else -1.
        inplace: Whether the input is overwritten. Default: no.

    Shape:
        ``(B, L, D)``, or the layout that ``net`` takes, to what ``net`` gives. ``lengths`` or ``cu_seqlens``, given by
        name, say where sequences end; they are the shift's and are not passed on. Of a ``PackedSequence`` or a nested
        tensor each sequence is shifted as if alone, into new memory.

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
        padding_mode: str = "zeros",
        groups: Sequence[tuple[int, int]] | None = None,
        time_dim: int | None = None,
        channel_dim: int | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        time_of_net, channel_of_net = layout_of(net)
        self.net = net
        self.n_div = n_div
        self.stride = stride
        self.bidirectional = bidirectional
        self.padding_mode = padding_mode
        self.groups = groups
        self.time_dim = time_of_net if time_dim is None else time_dim
        self.channel_dim = channel_of_net if channel_dim is None else channel_dim
        self.inplace = inplace

    def forward(
        self, x: Tensor, *args: Any, lengths: Tensor | None = None, cu_seqlens: Tensor | None = None, **kwargs: Any
    ) -> Any:
        shifted = shift_sequences(x, **self._arguments(), lengths=lengths, cu_seqlens=cu_seqlens, inplace=self.inplace)
        return shifted if self.net is None else self.net(shifted, *args, **kwargs)

    def stream(self, state: Any = None) -> ShiftStream | ChainedStream:
        """The same on a sequence that comes in chunks, from its beginning or from the ``state`` of a stream.

        Raises:
            ValueError: If ``padding_mode`` is ``"circular"``, whose first frame reads the last, or ``net`` may look at
                other frames (see :func:`temporal_shift.streaming.stream`).
        """
        refuse_surgery(self)
        if self.net is None:
            return ShiftStream(**self._arguments(), state=state)
        return chained([ShiftStream(**self._arguments()), *stages_of(self.net)], state)

    def _arguments(self) -> dict[str, Any]:
        names = ("n_div", "stride", "bidirectional", "padding_mode", "groups", "time_dim", "channel_dim")
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        usual = {"padding_mode": "zeros", "groups": None, "time_dim": -2, "channel_dim": -1}
        said = {name: value for name, value in self._arguments().items() if name not in usual or value != usual[name]}
        if self.groups is not None:
            said = {name: value for name, value in said.items() if name not in ("n_div", "stride", "bidirectional")}
        if self.inplace:
            said["inplace"] = True
        return ", ".join(f"{name}={value!r}" for name, value in said.items())
