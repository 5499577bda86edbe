"""ShiftLSTM, after the model of this name by Shen et al. (ICASSP 2023), and ShiftGRU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..core.arguments import check_flag
from ..streaming import ChainedStream, RecurrentStream, Stage
from ..streaming.checks import check_streamable
from .layouts import check_shift, time_dim_of
from .ragged import Sequences, shift_sequences, shift_stream

_COMPUTE: dict[str, Any] = {"LSTM": torch.lstm, "GRU": torch.gru}  # the functions that nn.LSTM and nn.GRU call


class _ShiftRNN(nn.RNNBase):
    """The common part of ShiftLSTM and ShiftGRU."""

    n_div: int
    stride: int
    bidirectional_shift: bool
    shift_every_layer: bool

    def _set_shift(self, n_div: int, stride: int, bidirectional_shift: bool, shift_every_layer: bool) -> None:
        check_flag("shift_every_layer", shift_every_layer)
        widths = [self.input_size]
        if shift_every_layer and self.num_layers > 1:
            widths.append((self.proj_size or self.hidden_size) * (2 if self.bidirectional else 1))
        for width in widths:
            check_shift(width, n_div, stride, bidirectional_shift, bidirectional_name="bidirectional_shift")
        self.n_div = n_div
        self.stride = stride
        self.bidirectional_shift = bidirectional_shift
        self.shift_every_layer = shift_every_layer

    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, Tensor) and input.is_nested:
            raise TypeError(
                "input must be dense or a PackedSequence, got a nested tensor: pass "
                "torch.nn.utils.rnn.pack_sequence(input.unbind(), enforce_sorted=False)"
            )
        if self.shift_every_layer and self.num_layers > 1 and self.stride != 0:
            return self._layer_by_layer(input, hx)
        return self._unshifted(self._shift(input), hx)

    def extra_repr(self) -> str:
        shift = f"n_div={self.n_div}, stride={self.stride}, bidirectional_shift={self.bidirectional_shift}"
        every = ", shift_every_layer=True" if self.shift_every_layer else ""
        return f"{super().extra_repr()}, {shift}{every}"

    def stream(self, state: Any = None) -> ChainedStream:
        """Create a stream of this layer, which returns the output without the last hidden state.

        Call it with chunks ``(l, B, D)``, ``(B, l, D)`` with ``batch_first``, or ``(l, D)``, for any ``l``. Call its
        ``flush()`` at the end of the sequence. The concatenated outputs equal the output for the whole sequence up to
        rounding (in eval mode, if there is dropout between layers). They are late by ``delay`` frames, as many as the
        shifts read ahead in all, and ``flush()`` returns the last frames.

        Args:
            state: The ``state`` of another stream of this layer, to continue from. Default: ``None``, a new sequence.

        Raises:
            ValueError: If the layer is ``bidirectional``: its backward direction begins with the last frame. If it has
                hooks, or its class overrides ``forward`` without ``stream``. If ``state`` does not have one part for
                each stage.
        """
        check_streamable(self)
        if self.bidirectional:
            raise ValueError(
                f"bidirectional must be False to stream, got True: the backward direction of the {self.mode} begins "
                "with the last frame"
            )
        steps: list[Callable[[Tensor, Any], tuple[Tensor, Any]]] = [self._unshifted]
        if self.shift_every_layer and self.num_layers > 1:
            steps = [partial(self._one_layer, layer) for layer in range(self.num_layers)]
        time_dim = -2 if self.batch_first else 0
        width = self.proj_size or self.hidden_size
        stages: list[Stage] = []
        for step in steps:
            shift = shift_stream(self.n_div, self.stride, self.bidirectional_shift, time_dim)
            stages += [shift, RecurrentStream(step, width, time_dim)]
        return ChainedStream(stages, time_dim, state)

    def _unshifted(self, x: Any, hx: Any) -> Any:
        return super().forward(x, hx)

    def _shift(self, x: Sequences) -> Sequences:
        if self.stride == 0:
            return x
        time_dim = time_dim_of(x, self.batch_first) if isinstance(x, Tensor) else 0
        return shift_sequences(
            x, n_div=self.n_div, stride=self.stride, bidirectional=self.bidirectional_shift, time_dim=time_dim
        )

    def _layer_by_layer(self, x: Any, hx: Any) -> Any:
        """Run the layers one by one, each on shifted input."""
        if isinstance(x, Tensor) and x.dim() == 2:
            return self._as_a_batch(self._layer_by_layer, x, hx)
        packed = isinstance(x, PackedSequence)
        if hx is not None:
            self.check_forward_args(_data(x), hx, x.batch_sizes if packed else None)
            hx = self.permute_hidden(hx, x.sorted_indices if packed else None)
        directions = 2 if self.bidirectional else 1
        last = []
        for layer in range(self.num_layers):
            own = _each(hx, itemgetter(slice(layer * directions, (layer + 1) * directions)))
            x, state = self._one_layer(layer, self._shift(x), own)
            last.append(state)
            if layer + 1 < self.num_layers:
                x = _with_data(x, F.dropout(_data(x), self.dropout, self.training))
        hidden = torch.cat(last) if self.mode == "GRU" else tuple(map(torch.cat, zip(*last, strict=True)))
        return x, self.permute_hidden(hidden, x.unsorted_indices if packed else None)  # type: ignore[arg-type]

    def _one_layer(self, layer: int, x: Any, hx: Any) -> tuple[Any, Any]:
        """The output and the last state of one layer, for an input that is already shifted."""
        if isinstance(x, Tensor) and x.dim() == 2:
            return self._as_a_batch(partial(self._one_layer, layer), x, hx)
        packed = isinstance(x, PackedSequence)
        if layer == 0:
            self.check_input(_data(x), x.batch_sizes if packed else None)
        directions = 2 if self.bidirectional else 1
        of_layer = self.all_weights[layer * directions : (layer + 1) * directions]
        weights = [weight for direction in of_layer for weight in direction]
        settings = weights, self.bias, 1, 0.0, self.training, self.bidirectional
        hx = self._first_state(x) if hx is None else hx
        if packed:
            y, *state = _COMPUTE[self.mode](x.data, x.batch_sizes, hx, *settings)
        else:
            y, *state = _COMPUTE[self.mode](x, hx, *settings, self.batch_first)
        return _with_data(x, y), state[0] if self.mode == "GRU" else tuple(state)

    def _as_a_batch(self, function: Callable[..., tuple[Any, Any]], x: Tensor, hx: Any) -> tuple[Any, Any]:
        """Call ``function`` with one sequence, ``(L, D)``, as a batch of one."""
        batch_dim = 0 if self.batch_first else 1
        y, state = function(x.unsqueeze(batch_dim), _each(hx, lambda part: part.unsqueeze(1)))
        return y.squeeze(batch_dim), _each(state, lambda part: part.squeeze(1))

    def _first_state(self, x: Any) -> Any:
        directions = 2 if self.bidirectional else 1
        batch = int(x.batch_sizes[0]) if isinstance(x, PackedSequence) else x.shape[0 if self.batch_first else 1]
        h = _data(x).new_zeros(directions, batch, self.proj_size or self.hidden_size)
        return h if self.mode == "GRU" else (h, _data(x).new_zeros(directions, batch, self.hidden_size))


class ShiftLSTM(_ShiftRNN, nn.LSTM):
    r"""An ``nn.LSTM`` with an input that is shifted in time: :math:`y = \text{LSTM}(\text{shift}(x))`.

    ``ShiftLSTM`` is a subclass of ``nn.LSTM`` with the same parameters and ``state_dict``, so each loads the
    checkpoints of the other. ``bidirectional`` applies to the LSTM, not to the shift. With ``stride=0``, the output
    equals the output of ``nn.LSTM`` bit for bit. Dynamo traces ``ShiftLSTM``, like ``nn.LSTM``, only with
    ``torch._dynamo.config.allow_rnn``.

    Args:
        input_size: Channels, ``D``. This and the other arguments up to ``dtype`` mean the same as in ``nn.LSTM``.
        n_div: One in ``n_div`` channels moves, per direction. Default: 4 (the best in Shen et al.).
        stride: Frames by which they move; with 0 nothing moves. Default: 1.
        bidirectional_shift: Whether a second group of channels reads the future. Default: ``False`` (the best in Shen
            et al.).
        shift_every_layer: Whether the input of every layer is shifted, not only of the first. Default: ``False``.

    Shape:
        As in ``nn.LSTM``: the input is ``(L, B, D)``, ``(B, L, D)`` with ``batch_first``, ``(L, D)``, or a
        ``PackedSequence``, in which each sequence is shifted on its own.

    Raises:
        TypeError: If an argument has the wrong type; when called, if the input is a nested tensor.
        ValueError: Unless ``stride`` is 0, if ``n_div`` does not fit ``input_size`` or, with ``shift_every_layer``,
            the input of a later layer; or as ``nn.LSTM``, also when called.
        RuntimeError: As ``nn.LSTM``, when called.

    Example:
        >>> layer = ShiftLSTM(32, 64, batch_first=True, bidirectional=True)
        >>> output, (h_n, c_n) = layer(torch.randn(2, 50, 32))
        >>> output.shape
        torch.Size([2, 50, 128])

    Source: Shen, Liu, Zhou, ICASSP 2023.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        n_div: int = 4,
        stride: int = 1,
        bidirectional_shift: bool = False,
        shift_every_layer: bool = False,
    ) -> None:
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype
        )
        self._set_shift(n_div, stride, bidirectional_shift, shift_every_layer)


class ShiftGRU(_ShiftRNN, nn.GRU):
    r"""An ``nn.GRU`` with an input that is shifted in time: :math:`y = \text{GRU}(\text{shift}(x))`.

    ``ShiftGRU`` is a subclass of ``nn.GRU`` with the same parameters and ``state_dict``.

    Args:
        input_size: Channels, ``D``. This and the other arguments up to ``dtype`` mean the same as in ``nn.GRU``.
        n_div: As in :class:`ShiftLSTM`. Default: 4.
        stride: As in :class:`ShiftLSTM`. Default: 1.
        bidirectional_shift: As in :class:`ShiftLSTM`. Default: ``False``.
        shift_every_layer: As in :class:`ShiftLSTM`. Default: ``False``.
        unsupported: Passed to ``nn.GRU``, which raises an error.

    Shape:
        As in ``nn.GRU``. In a ``PackedSequence``, each sequence is shifted on its own.

    Raises:
        TypeError: As :class:`ShiftLSTM`, and for an unknown argument.
        ValueError: As :class:`ShiftLSTM`, and if ``proj_size`` is given.
        RuntimeError: As ``nn.GRU``, when called.

    Example:
        >>> output, h_n = ShiftGRU(32, 64, batch_first=True)(torch.randn(2, 50, 32))
        >>> output.shape
        torch.Size([2, 50, 64])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        n_div: int = 4,
        stride: int = 1,
        bidirectional_shift: bool = False,
        shift_every_layer: bool = False,
        **unsupported: Any,
    ) -> None:
        # device and dtype by name: the next positional argument would be proj_size, which nn.GRU rejects
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
            **unsupported,
        )
        self._set_shift(n_div, stride, bidirectional_shift, shift_every_layer)


def _each(states: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply ``function`` to the state of a GRU or to both states of an LSTM."""
    if states is None or isinstance(states, Tensor):
        return None if states is None else function(states)
    return tuple(map(function, states))


def _data(x: Any) -> Tensor:
    return x.data if isinstance(x, PackedSequence) else x


def _with_data(x: Any, data: Tensor) -> Any:
    """``data`` as a ``PackedSequence`` like ``x``, or ``data`` itself if ``x`` is a tensor."""
    return x._replace(data=data) if isinstance(x, PackedSequence) else data
