"""The shift of packed, nested and padded batches of sequences."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..core.torch_private import ragged_dim
from ..functional import temporal_shift
from ..streaming import ShiftStream

Sequences = TypeVar("Sequences", Tensor, PackedSequence)


def shift_sequences(x: Sequences, **arguments: Any) -> Sequences:
    """:func:`temporal_shift` of a tensor, or of each sequence of a ``PackedSequence`` or a nested tensor."""
    if isinstance(x, Tensor) and not x.is_nested:
        return temporal_shift(x, **arguments)
    form = "PackedSequence" if isinstance(x, PackedSequence) else "nested tensor"
    for name in ("lengths", "cu_seqlens"):
        if arguments.pop(name, None) is not None:
            raise ValueError(f"{name} must be None for a {form}, which contains the lengths")
    if arguments.pop("inplace", False):  # its frames are regrouped, so the shift would write to a copy
        raise ValueError(f"inplace must be False for a {form}, got True")
    if isinstance(x, PackedSequence):
        return _shift_packed(x, arguments)
    return _shift_nested(x, arguments)


def shift_stream(n_div: int, stride: int, bidirectional: bool, time_dim: int) -> ShiftStream:
    """The stream of a layer's shift. With ``stride=0`` nothing moves and the layer ignores ``n_div``."""
    if stride == 0:
        return ShiftStream(groups=[], time_dim=time_dim)
    return ShiftStream(n_div=n_div, stride=stride, bidirectional=bidirectional, time_dim=time_dim)


def zero_padding(x: Tensor, key_padding_mask: Tensor, time_dim: int) -> Tensor:
    """``x``, ``(B, L, D)``, ``(L, B, D)`` or ``(L, D)``, with zeros in the frames that a padding mask marks.

    The mask is ``(B, L)`` or ``(L,)``: bool, or the values that torch adds to attention scores.
    """
    padding = key_padding_mask if key_padding_mask.dtype == torch.bool else key_padding_mask == float("-inf")
    if x.dim() == 3 and time_dim % 3 == 0:
        padding = padding.transpose(0, 1)  # (L, B)
    return x.masked_fill(padding.unsqueeze(-1), 0.0)


def _shift_packed(packed: PackedSequence, arguments: dict[str, Any]) -> PackedSequence:
    if arguments.get("channel_dim", -1) not in (-1, 2):
        raise ValueError(f"channel_dim must be -1 for a PackedSequence, got {arguments['channel_dim']}")
    longest_first = PackedSequence(packed.data, packed.batch_sizes)
    padded, lengths = pad_packed_sequence(longest_first)  # (L, B, D)
    arguments |= {"time_dim": 0, "channel_dim": -1, "lengths": lengths.to(padded.device)}
    if arguments.get("padding_mode", "zeros") == "zeros":  # the padding contains zeros already
        arguments["lengths"] = None
    data = pack_padded_sequence(temporal_shift(padded, **arguments), lengths).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def _shift_nested(nested: Tensor, arguments: dict[str, Any]) -> Tensor:
    if arguments.get("channel_dim", -1) == -1:
        arguments["time_dim"] = -2  # each sequence is (L, D) in any layout of the batch
    jagged: Any = nested  # torch has no type for this layout
    if nested.layout == torch.jagged and ragged_dim(nested) == 1 and jagged.lengths() is None:
        offsets = jagged.offsets()  # the same object, not an equal one: torch adds such tensors only if they share it
        return torch.nested.nested_tensor_from_jagged(
            temporal_shift(nested.values(), **arguments, cu_seqlens=offsets), offsets
        )
    return torch.nested.as_nested_tensor(
        [temporal_shift(sequence, **arguments) for sequence in nested.unbind()], layout=nested.layout
    )
