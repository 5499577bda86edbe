"""The shift as a module, alone or before another module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ..core import arguments
from ..streaming import ChainedStream, ShiftStream
from ..streaming.checks import check_streamable
from ..streaming.nets import chained, stages_of
from .layouts import layout_for
from .ragged import shift_sequences


class TemporalShift(nn.Module):
    r"""Shift the input in time, then apply ``net``: :math:`y = \text{net}(\text{shift}(x))`.

    Args:
        net: The module that gets the shifted input as its first argument; other arguments are passed on. Default:
            ``None``, the shift alone.
        n_div: One in ``n_div`` channels moves, per direction. Default: 8, as in the Temporal Shift Module.
        stride: Frames by which they move. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: ``False``.
        padding_mode: What is read outside a sequence: ``"zeros"`` (default), ``"replicate"`` or ``"circular"``.
        groups: ``[(channels, frames), ...]`` in place of ``n_div``, ``stride`` and ``bidirectional``. Default:
            ``None``.
        time_dim: The dim of the frames. Default: -1 for ``nn.Conv1d``, ``nn.ConvTranspose1d``, ``nn.BatchNorm1d``,
            ``nn.InstanceNorm1d``, ``nn.GroupNorm``, and (adaptive) max and average pooling in one dimension; 0 for
            ``nn.RNN``, ``nn.LSTM``, ``nn.GRU``, ``nn.MultiheadAttention``, ``nn.Transformer``,
            ``nn.TransformerEncoderLayer`` and ``nn.TransformerDecoderLayer`` without ``batch_first``; the default of
            the first module of an ``nn.Sequential``, ``nn.TransformerEncoder`` or ``nn.TransformerDecoder``; otherwise
            -2. Both dims must be given for convolutions (also transposed) and batch norms in two or three dimensions,
            and for an ``nn.Sequential`` that overrides ``forward`` if its first module expects another layout than
            ``(..., L, D)``.
        channel_dim: The dim of the channels. Default: -2 for the modules with the default ``time_dim`` of -1,
            otherwise -1.
        inplace: Whether to write the shift to the input, as in :func:`temporal_shift.temporal_shift`. Streams ignore
            ``inplace`` and do not write to a chunk. Default: ``False``.

    Shape:
        The input is ``(..., L, D)`` or the layout given by ``time_dim`` and ``channel_dim``; the output is what ``net``
        returns. The keyword arguments ``lengths`` and ``cu_seqlens`` mean the same as in
        :func:`temporal_shift.temporal_shift`; they are not passed to ``net``. In a ``PackedSequence`` or a nested
        tensor, each sequence is shifted on its own.

    Raises:
        TypeError: If an argument has the wrong type; when called with arguments for ``net``, if ``net`` is ``None``.
        ValueError: If a dim must be given and is ``None``. As :func:`temporal_shift.temporal_shift`, at construction if
            possible, otherwise when called. When called with a ``PackedSequence`` or a nested tensor, if ``inplace``,
            or if ``lengths`` or ``cu_seqlens`` is passed; with a ``PackedSequence``, if ``channel_dim`` is not the last
            dim.

    Example:
        >>> layer = TemporalShift(nn.Conv1d(16, 32, 3, padding=1), n_div=4)
        >>> layer(torch.randn(2, 16, 50)).shape
        torch.Size([2, 32, 50])
    """

    def __init__(
        self,
        net: nn.Module | None = None,
        *,
        n_div: int | None = None,
        stride: int | None = None,
        bidirectional: bool | None = None,
        padding_mode: str = "zeros",
        groups: Sequence[tuple[int, int]] | None = None,
        time_dim: int | None = None,
        channel_dim: int | None = None,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.padding_mode = padding_mode
        self.groups = groups
        self.time_dim, self.channel_dim = layout_for([net], time_dim, channel_dim)
        self.n_div: int | None
        self.stride: int | None
        self.bidirectional: bool | None
        self.n_div, self.stride, self.bidirectional = arguments.check_layer(
            None,
            n_div,
            stride,
            bidirectional,
            padding_mode=padding_mode,
            groups=groups,
            time_dim=self.time_dim,
            channel_dim=self.channel_dim,
        )
        arguments.check_flag("inplace", inplace)
        self.inplace = inplace

    def forward(
        self, x: Tensor, *args: Any, lengths: Tensor | None = None, cu_seqlens: Tensor | None = None, **kwargs: Any
    ) -> Any:
        if self.net is None and (args or kwargs):
            given = ", ".join([*(type(each).__name__ for each in args), *kwargs])
            raise TypeError(f"arguments must be x, lengths and cu_seqlens if net is None, got also {given}")
        shifted = shift_sequences(x, **self._arguments(), lengths=lengths, cu_seqlens=cu_seqlens, inplace=self.inplace)
        return shifted if self.net is None else self.net(shifted, *args, **kwargs)

    def stream(self, state: Any = None) -> ShiftStream | ChainedStream:
        """Create a stream of this module.

        Call it with chunks that have the layout of the input and any number of frames. Call its ``flush()`` at the end
        of the sequence. The concatenated outputs equal the output for the whole sequence: bit for bit without ``net``,
        otherwise up to rounding (in eval mode, if there is dropout). They are late by ``delay`` frames, as many as the
        shifts read ahead in all, and ``flush()`` returns the last frames.

        Args:
            state: The ``state`` of another stream of this module, to continue from. Default: ``None``, a new sequence.

        Returns:
            A :class:`.ShiftStream` if ``net`` is ``None``, otherwise a :class:`.ChainedStream`.

        Raises:
            ValueError: If ``padding_mode`` is ``"circular"``, which reads the other end of the sequence. If ``net`` may
                read other frames or expects another ``time_dim`` (see :func:`temporal_shift.streaming.stream`), or if
                ``net`` is given and ``time_dim`` is -1. If a module has hooks, or its class overrides ``forward``
                without ``stream``. If ``net`` is given and ``state`` does not have one part for each stage.
        """
        check_streamable(self)
        if self.net is None:
            return ShiftStream(**self._arguments(), state=state)
        return chained([ShiftStream(**self._arguments()), *stages_of(self.net)], state)

    def _arguments(self) -> dict[str, Any]:
        names = ("n_div", "stride", "bidirectional", "padding_mode", "groups", "time_dim", "channel_dim")
        return {name: getattr(self, name) for name in names}

    def extra_repr(self) -> str:
        defaults = {"padding_mode": "zeros", "time_dim": -2, "channel_dim": -1}
        shown = {name: value for name, value in self._arguments().items() if value != defaults.get(name)}
        if self.inplace:
            shown["inplace"] = True
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())
