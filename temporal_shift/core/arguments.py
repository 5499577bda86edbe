"""What the arguments of a shift must be: each check names the argument, what was given, and what would be right."""

from __future__ import annotations

import sys
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .geometry import PADDING_MODES, ChannelGroup, ShiftGeometry, groups_of_list, groups_of_share
from .torch_private import is_view_of_leaf

_INTEGERS = (torch.int32, torch.int64)


def resolve(
    x: Any,
    n_div: int,
    stride: int,
    bidirectional: bool,
    padding_mode: str,
    groups: Any,
    ragged: str | None,
    time_dim: int,
    channel_dim: int,
    compiling: bool = False,
) -> ShiftGeometry:
    """The geometry that the arguments say for ``x``, from a cache where they were seen before.

    A short shift lasts a few microseconds, and so does a call of Python code that the last long one drove out of the
    processor's caches: hence the one look-up, before which nothing is checked that it checks.
    """
    if type(x) is not Tensor or x.layout != torch.strided:
        check_kind(x, "x")
    if groups is not None:
        groups = _as_pairs(groups)
    try:
        channels = x.shape[channel_dim]
    except (IndexError, TypeError):
        channels = 0  # the check of the dims says so
    except RuntimeError:  # a nested tensor of the older layout has no shape
        check_kind(x, "x")
        raise
    if compiling and isinstance(channels, Tensor):  # TorchScript's tracer gives sizes as tensors
        channels = int(channels)
    arguments = x.dim(), channels, n_div, stride, bidirectional, padding_mode, groups, ragged, time_dim, channel_dim
    if compiling:  # a tracer looks through the cache anyway, and warns of it
        return _geometry.__wrapped__(*arguments)
    try:
        return _geometry(*arguments)
    except TypeError:  # a wrong type, or one that no cache can hold
        return _geometry.__wrapped__(*arguments)


@lru_cache(maxsize=1024, typed=True)  # typed: 2.0 and True are equal to ints that would be right
def _geometry(
    dims: int,
    channels: int,
    n_div: int,
    stride: int,
    bidirectional: bool,
    padding_mode: str,
    groups: tuple[tuple[int, int], ...] | None,
    ragged: str | None,
    time_dim: int,
    channel_dim: int,
) -> ShiftGeometry:
    check_whole("n_div", n_div)
    check_whole("stride", stride)
    check_flag("bidirectional", bidirectional)
    if padding_mode not in PADDING_MODES:
        known = ", ".join(repr(mode) for mode in PADDING_MODES)
        raise ValueError(f"padding_mode={padding_mode!r} is not known: it must be one of {known}")
    time_dim, channel_dim = _dims(dims, time_dim, channel_dim)
    if groups is None:
        resolved: tuple[ChannelGroup, ...] = groups_of_share(channels, n_div, stride, bidirectional)
    elif (n_div, stride, bidirectional) != (8, 1, False):
        raise ValueError(
            "groups says all that n_div, stride and bidirectional say: they must be left at their defaults"
        )
    else:
        resolved = groups_of_list(channels, groups)
    return ShiftGeometry(resolved, time_dim, channel_dim, padding_mode, ragged)


def _dims(dims: int, time_dim: int, channel_dim: int) -> tuple[int, int]:
    if dims < 2:
        raise ValueError(
            f"x of {dims} dim{'' if dims == 1 else 's'} must have a time and a channel dim: at least 2 dims"
        )
    resolved = []
    for name, dim in (("time_dim", time_dim), ("channel_dim", channel_dim)):
        check_whole(name, dim)
        if not -dims <= dim < dims:
            raise ValueError(
                f"{name}={dim} is no dim of x, which has {dims}: it must be between {-dims} and {dims - 1}"
            )
        resolved.append(dim % dims)
    if resolved[0] == resolved[1]:
        raise ValueError(f"time_dim={time_dim} and channel_dim={channel_dim} are the same dim of x: they must differ")
    return resolved[0], resolved[1]


def _as_pairs(groups: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(groups, (list, tuple)):
        raise TypeError(f"groups must be a list of (channels, frames), not {type(groups).__name__}")
    pairs = []
    for group in groups:
        if not isinstance(group, (list, tuple)) or len(group) != 2:
            raise TypeError(f"groups must hold pairs (channels, frames), not {group!r}")
        for name, value in (("channels", group[0]), ("frames", group[1])):
            check_whole(f"the {name} of a group", value)
        pairs.append((group[0], group[1]))
    return tuple(pairs)


def check_kind(x: Any, name: str) -> None:
    """A dense tensor, all of whose elements are here."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(x).__name__}")
    distributed = sys.modules.get("torch.distributed.tensor")  # not imported: no DTensor exists
    if distributed is not None and isinstance(x, distributed.DTensor):
        raise TypeError(
            f"{name} is a DTensor: shift the local part, temporal_shift({name}.to_local(), ...), where neither its "
            "frames nor its channels are sharded"
        )
    if x.is_nested and x.layout == torch.jagged:
        raise TypeError(f"{name} is a nested tensor: pass its {name}.values() with cu_seqlens={name}.offsets()")
    if x.is_nested:
        raise TypeError(f"{name} is a nested tensor: pass {name}.to_padded_tensor(0.0) with its lengths")
    if x.layout != torch.strided:
        raise TypeError(f"{name} is sparse ({x.layout}): it must be dense, as {name}.to_dense() is")


def check_bounds(x: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """The one of the two that is given, right in shape, dtype and device; its values are a matter of the backends."""
    if lengths is not None and cu_seqlens is not None:
        raise ValueError("lengths and cu_seqlens both say where sequences end: at most one of them must be given")
    name, bounds = ("lengths", lengths) if lengths is not None else ("cu_seqlens", cu_seqlens)
    if not isinstance(bounds, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(bounds).__name__}")
    if bounds.dtype not in _INTEGERS:
        raise TypeError(f"{name} must hold torch.int32 or torch.int64, not {bounds.dtype}")
    if bounds.device != x.device:
        raise ValueError(f"{name} is on {bounds.device} and x on {x.device}: both must be on the same device")
    if name == "cu_seqlens":
        if bounds.dim() != 1 or bounds.shape[0] < 1:
            raise ValueError(f"cu_seqlens has shape {tuple(bounds.shape)}: it must be (sequences + 1,)")
        return bounds
    sequence_dims = (geometry.time_dim, geometry.channel_dim)
    batch = tuple(size for dim, size in enumerate(x.shape) if dim not in sequence_dims)
    if tuple(bounds.shape) != batch[: bounds.dim()]:
        raise ValueError(
            f"lengths has shape {tuple(bounds.shape)}, and x of shape {tuple(x.shape)} has batch dims {batch}: "
            f"it must have {batch[:1]}, one length for each sequence"
        )
    return bounds


def check_values(bounds: Tensor, ragged: str | None, frames: int) -> None:
    """What ``bounds`` holds. It must be on the CPU: to look elsewhere would stall the device."""
    values = bounds.reshape(-1).tolist()
    if ragged == "lengths":
        for length in values:
            if not 0 <= length <= frames:
                raise ValueError(f"lengths holds {length}: each must be between 0 and the {frames} frames of x")
        return
    if values[0] != 0 or values[-1] != frames:
        raise ValueError(
            f"cu_seqlens runs from {values[0]} to {values[-1]}: it must run from 0 to the {frames} frames of x"
        )
    for before, after in pairwise(values):
        if after < before:
            raise ValueError(f"cu_seqlens goes from {before} to {after}: it must be ascending")


def check_writable(x: Tensor) -> None:
    """What torch asks of a tensor that is written to, asked before a byte is written."""
    if (
        0 in x.stride()
        and x.numel() > 0
        and any(size > 1 and not stride for size, stride in zip(x.shape, x.stride(), strict=True))
    ):
        raise ValueError(
            f"x of shape {tuple(x.shape)} is expanded (strides {x.stride()}): with inplace=True each of its elements "
            "must have memory of its own, as x.clone() has"
        )
    if x.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError("x was made in inference mode: with inplace=True it must be shifted there, or cloned first")
    if not torch.is_grad_enabled() or not x.requires_grad:
        return
    if x.is_leaf:
        raise ValueError("x is a leaf that requires grad: with inplace=True it must be the result of an operation")
    if is_view_of_leaf(x):
        raise ValueError("x is a view of a leaf that requires grad: with inplace=True it must be no part of a leaf")


def check_residual(x: Tensor, residual: Any) -> None:
    """That ``residual`` can be added to a shift of ``x`` without making it larger."""
    if type(residual) is not Tensor or residual.layout != torch.strided:
        check_kind(residual, "residual")
    if residual.device != x.device:
        raise ValueError(f"residual is on {residual.device} and x on {x.device}: both must be on the same device")
    if residual.shape != x.shape and not _broadcasts(residual, x):
        raise ValueError(
            f"residual of shape {tuple(residual.shape)} does not broadcast to x: its shape must be {tuple(x.shape)}"
        )


def _broadcasts(small: Tensor, large: Tensor) -> bool:
    sizes = zip(reversed(small.shape), reversed(large.shape), strict=False)
    return small.dim() <= large.dim() and not any(have != want and have != 1 for have, want in sizes)


def check_whole(name: str, value: object) -> None:
    """That an argument is an int, be it one that a compiler has yet to know; a bool is none."""
    if not isinstance(value, (int, torch.SymInt)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")


def check_flag(name: str, value: object) -> None:
    """That an argument is a bool, and not what counts as true."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")
