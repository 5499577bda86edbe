"""The shift of every form in which torch's layers take sequences of different lengths."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..functional import temporal_shift
from ..streaming import ShiftStream

Sequences = TypeVar("Sequences", Tensor, PackedSequence)


def shift_sequences(x: Sequences, **arguments: Any) -> Sequences:
    """:func:`temporal_shift` of a tensor; of a ``PackedSequence`` or a nested tensor, that of each sequence alone."""
    if isinstance(x, Tensor) and not x.is_nested:
        return temporal_shift(x, **arguments)
    for name in ("lengths", "cu_seqlens"):
        if arguments.pop(name, None) is not None:
            form = "PackedSequence" if isinstance(x, PackedSequence) else "nested tensor"
            raise ValueError(f"{name} says where sequences end, and so does a {form}: it must be None")
    arguments.pop("inplace", None)  # their frames are regrouped on the way, so what is written to is a copy
    if isinstance(x, PackedSequence):
        return _shift_packed(x, arguments)
    return _shift_nested(x, arguments)


def shift_stream(n_div: int, stride: int, bidirectional: bool, time_dim: int) -> ShiftStream:
    """The stream of a layer's shift; with ``stride=0`` nothing moves and ``n_div`` may be anything, as in the layer."""
    if stride == 0:
        return ShiftStream(groups=[], time_dim=time_dim)
    return ShiftStream(n_div=n_div, stride=stride, bidirectional=bidirectional, time_dim=time_dim)


def silenced(x: Tensor, key_padding_mask: Tensor, time_dim: int) -> Tensor:
    """``x``, ``(B, L, D)``, ``(L, B, D)`` or ``(L, D)``, with zeros where a mask of torch's marks padding.

    The mask is ``(B, L)`` or ``(L,)``, bool or what is added to scores.
    """
    padding = key_padding_mask if key_padding_mask.dtype == torch.bool else key_padding_mask == float("-inf")
    if x.dim() == 3 and time_dim % 3 == 0:
        padding = padding.transpose(0, 1)  # (L, B)
    return x.masked_fill(padding.unsqueeze(-1), 0.0)


def _shift_packed(packed: PackedSequence, arguments: dict[str, Any]) -> PackedSequence:
    longest_first = PackedSequence(packed.data, packed.batch_sizes)
    padded, lengths = pad_packed_sequence(longest_first)  # (L, B, D)
    arguments |= {"time_dim": 0, "channel_dim": -1, "lengths": lengths.to(padded.device)}
    if arguments.get("padding_mode", "zeros") == "zeros":  # which is what the shift reads there anyway
        arguments["lengths"] = None
    data = pack_padded_sequence(temporal_shift(padded, **arguments), lengths).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def _shift_nested(nested: Tensor, arguments: dict[str, Any]) -> Tensor:
    if arguments.get("channel_dim", -1) == -1:
        arguments["time_dim"] = -2  # however the batch is laid out, each of its sequences is (L, D)
    jagged: Any = nested  # torch types nothing of what only this layout has
    if nested.layout == torch.jagged and jagged._ragged_idx == 1 and jagged.lengths() is None:
        # The same offsets, not equal ones, are what lets the result be added to the input.
        offsets = jagged.offsets()
        return torch.nested.nested_tensor_from_jagged(
            temporal_shift(nested.values(), **arguments, cu_seqlens=offsets), offsets
        )
    return torch.nested.as_nested_tensor(
        [temporal_shift(sequence, **arguments) for sequence in nested.unbind()], layout=nested.layout
    )
