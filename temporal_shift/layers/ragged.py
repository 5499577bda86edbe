"""The shift of packed, nested and padded batches of sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, pad_sequence

from ..core.torch_private import ragged_dim
from ..functional import temporal_shift
from ..streaming import ShiftStream

Sequences = TypeVar("Sequences", Tensor, PackedSequence)

_MASKED = -1e4  # exp(-1e4) is 0; common masks contain -1e4, -1e9, -inf or the dtype's minimum


def shift_sequences(x: Sequences, **arguments: Any) -> Sequences:
    """:func:`temporal_shift` of a tensor, or of each sequence of a ``PackedSequence`` or a nested tensor.

    Raises:
        TypeError: If ``x`` is neither a tensor nor a ``PackedSequence``, or as :func:`temporal_shift`.
        ValueError: If ``lengths``, ``cu_seqlens`` or ``inplace`` is given for a ``PackedSequence`` or a nested tensor;
            if ``channel_dim`` is not the last dim of a ``PackedSequence``; or as :func:`temporal_shift`.
    """
    if isinstance(x, Tensor) and not x.is_nested:
        return temporal_shift(x, **arguments)
    if not isinstance(x, (Tensor, PackedSequence)):
        raise TypeError(f"x must be a torch.Tensor or a PackedSequence, got {type(x).__name__}")
    form = "PackedSequence" if isinstance(x, PackedSequence) else "nested tensor"
    for name in ("lengths", "cu_seqlens"):
        if arguments.pop(name, None) is not None:
            raise ValueError(f"{name} must be None for a {form}, which contains the lengths")
    if arguments.pop("inplace", False):  # the shift runs on a copy
        raise ValueError(f"inplace must be False for a {form}, got True")
    if isinstance(x, PackedSequence):
        return _shift_packed(x, arguments)
    return _shift_nested(x, arguments)


def shift_stream(n_div: int, stride: int, bidirectional: bool, time_dim: int) -> ShiftStream:
    """The stream of a layer's shift. With ``stride=0`` nothing moves, and ``n_div`` is ignored."""
    if stride == 0:
        return ShiftStream(groups=[], time_dim=time_dim)
    return ShiftStream(n_div=n_div, stride=stride, bidirectional=bidirectional, time_dim=time_dim)


def zero_padding(x: Tensor, key_padding_mask: Tensor, time_dim: int) -> Tensor:
    """Set the masked frames of ``x``, ``(B, L, D)``, ``(L, B, D)`` or ``(L, D)``, to zero.

    The mask is ``(B, L)`` or ``(L,)``: bool, with true for padding, or values that torch adds to attention scores, with
    -10,000 or less for padding. Gradients are exactly zero in the masked frames. ``time_dim`` is the dim of ``L``.

    Raises:
        TypeError: If the mask is not a tensor, or neither bool nor floating point.
        ValueError: If the mask has another shape, or is on another device than ``x``.
    """
    if not isinstance(key_padding_mask, Tensor):
        raise TypeError(f"the padding mask must be a torch.Tensor, got {type(key_padding_mask).__name__}")
    if key_padding_mask.device != x.device:
        raise ValueError(
            f"the padding mask must be on the device of the input, {x.device}, got {key_padding_mask.device}"
        )
    frames_first = x.dim() == 3 and time_dim % 3 == 0
    sizes = (x.shape[1], x.shape[0]) if frames_first else tuple(x.shape[:-1])
    if tuple(key_padding_mask.shape) != sizes:  # torch would broadcast it
        raise ValueError(
            f"the padding mask must have shape {tuple(sizes)} for an input {tuple(x.shape)}, got "
            f"{tuple(key_padding_mask.shape)}"
        )
    if key_padding_mask.dtype == torch.bool:
        padding = key_padding_mask
    elif key_padding_mask.is_floating_point():
        padding = key_padding_mask <= _MASKED
    else:
        raise TypeError(f"the padding mask must be bool or floating point, got {key_padding_mask.dtype}")
    if frames_first:
        padding = padding.transpose(0, 1)  # (L, B)
    return x.masked_fill(padding.unsqueeze(-1), 0.0)  # not a product: NaN times zero is NaN


def apply_padded(nested: Tensor, batch_first: bool, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Call ``function`` with a padded tensor and its mask, ``(B, L)``, true in the padding. Return a nested tensor.

    The padded tensor is ``(B, L, D)`` with ``batch_first``, otherwise ``(L, B, D)``.
    """
    sequences = nested.unbind()
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=nested.device)
    x = pad_sequence(list(sequences), batch_first=batch_first)
    frames = torch.arange(x.shape[1 if batch_first else 0], device=nested.device)
    y = function(x, frames >= lengths[:, None])
    y = y if batch_first else y.transpose(0, 1)
    return _nested_like(nested, [of_one[: len(sequence)] for of_one, sequence in zip(y, sequences, strict=True)])


def _shift_packed(packed: PackedSequence, arguments: dict[str, Any]) -> PackedSequence:
    if arguments.get("channel_dim", -1) not in (-1, 2):
        raise ValueError(f"channel_dim must be -1 or 2 for a PackedSequence, got {arguments['channel_dim']}")
    longest_first = PackedSequence(packed.data, packed.batch_sizes)
    padded, lengths = pad_packed_sequence(longest_first)  # (L, B, D)
    arguments |= {"time_dim": 0, "channel_dim": -1, "lengths": lengths.to(padded.device)}
    if arguments.get("padding_mode", "zeros") == "zeros":  # the padding is zero already
        arguments["lengths"] = None
    data = pack_padded_sequence(temporal_shift(padded, **arguments), lengths).data
    return PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)


def _shift_nested(nested: Tensor, arguments: dict[str, Any]) -> Tensor:
    if arguments.get("channel_dim", -1) == -1:
        arguments["time_dim"] = -2  # each sequence is (L, D), whatever the layout of the batch
    offsets = _offsets(nested)
    if offsets is not None:
        return torch.nested.nested_tensor_from_jagged(
            temporal_shift(nested.values(), **arguments, cu_seqlens=offsets), offsets
        )
    return _nested_like(nested, [temporal_shift(sequence, **arguments) for sequence in nested.unbind()])


def _nested_like(nested: Tensor, sequences: list[Tensor]) -> Tensor:
    offsets = _offsets(nested)
    if offsets is not None:
        return torch.nested.nested_tensor_from_jagged(torch.cat(sequences), offsets)
    return torch.nested.as_nested_tensor(sequences, layout=nested.layout)


def _offsets(nested: Any) -> Tensor | None:
    """The offsets of a jagged tensor if its sequences are contiguous in the first dim of its values, else ``None``.

    The result is not a copy, because torch adds two nested tensors only if they share their offsets.
    """
    if nested.layout == torch.jagged and ragged_dim(nested) == 1 and nested.lengths() is None:
        return nested.offsets()  # type: ignore[no-any-return]
    return None
