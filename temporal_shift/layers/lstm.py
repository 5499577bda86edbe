"""The block of ShiftLSTM."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..functional import temporal_shift
from .arguments import time_dim_of


class ShiftLSTM(nn.LSTM):
    r"""An ``nn.LSTM`` whose input is shifted in time: :math:`y = \text{LSTM}(\text{shift}(x))`.

    Every argument of ``nn.LSTM`` means what it means there, ``bidirectional`` included: it is the LSTM that runs both
    ways. The parameters and the ``state_dict`` are those of ``nn.LSTM``.

    Args:
        input_size: The channels, ``D``.
        hidden_size: As in ``nn.LSTM``, and so the other arguments up to ``dtype``.
        n_div: One in ``n_div`` channels moves, per direction. Default: 4 (the paper's best).
        stride: How many frames they move; with 0 this is ``nn.LSTM``. Default: 1.
        bidirectional_shift: Whether a second group of channels reads the future. Default: no (the paper's best).

    Shape:
        Those of ``nn.LSTM``: ``(L, B, D)``, ``(B, L, D)`` with ``batch_first``, ``(L, D)``, or a ``PackedSequence``,
        which is shifted within each of its sequences.

    Raises:
        ValueError: As :func:`temporal_shift.temporal_shift`, when called.

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
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
        )
        self.n_div = n_div
        self.stride = stride
        self.bidirectional_shift = bidirectional_shift

    def forward(  # type: ignore[override]
        self, input: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        if isinstance(input, PackedSequence):
            shifted: Tensor | PackedSequence = self._shift_packed(input)
        else:
            shifted = self._shift(input, time_dim_of(input, self.batch_first))
        return super().forward(shifted, hx)

    def _shift(self, x: Tensor, time_dim: int) -> Tensor:
        return temporal_shift(
            x, n_div=self.n_div, stride=self.stride, bidirectional=self.bidirectional_shift, time_dim=time_dim
        )

    def _shift_packed(self, packed: PackedSequence) -> PackedSequence:
        # Padding with zeros is what the shift reads outside a sequence, so each sequence is shifted as if alone.
        longest_first = PackedSequence(packed.data, packed.batch_sizes)
        padded, lengths = pad_packed_sequence(longest_first)  # (L, B, D)
        data = pack_padded_sequence(self._shift(padded, time_dim=0), lengths).data
        return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)

    def extra_repr(self) -> str:
        shift = f"n_div={self.n_div}, stride={self.stride}, bidirectional_shift={self.bidirectional_shift}"
        return f"{super().extra_repr()}, {shift}"
