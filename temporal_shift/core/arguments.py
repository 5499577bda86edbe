"""Validate the arguments of a shift and resolve them into a geometry."""

from __future__ import annotations

import sys
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .geometry import PADDING_MODES, ShiftGeometry, groups_of_list, groups_of_share
from .torch_private import is_view_of_leaf

_INTEGERS = (torch.int32, torch.int64)
_MAX_FRAMES = 2**62  # a frame minus a step must fit in 64 bits


def resolve(
    x: Any,
    n_div: int | None,
    stride: int | None,
    bidirectional: bool | None,
    padding_mode: str,
    groups: Any,
    ragged: str | None,
    time_dim: int,
    channel_dim: int,
    compiling: bool = False,
) -> ShiftGeometry:
    """Return the geometry of a shift of ``x``, or raise as :func:`temporal_shift.temporal_shift`.

    Unless ``compiling``, geometries are cached, so that a short shift with repeated arguments is fast.
    """
    if type(x) is not Tensor or x.layout != torch.strided or x.is_quantized:
        check_kind(x, "x")
    if groups is not None:
        groups = _as_pairs(groups)
    try:
        channels = x.shape[channel_dim]
    except (IndexError, TypeError):
        channels = 0  # _dims raises
    except RuntimeError:  # a nested tensor of the strided layout has no shape
        check_kind(x, "x")
        raise
    if compiling and isinstance(channels, Tensor):  # TorchScript's tracer returns sizes as tensors
        channels = int(channels)
    arguments = x.dim(), channels, n_div, stride, bidirectional, padding_mode, groups, ragged, time_dim, channel_dim
    if compiling:  # Dynamo ignores the cache, and warns about it
        return _geometry.__wrapped__(*arguments)
    try:
        return _geometry(*arguments)
    except TypeError:  # a wrong type, or one that is not hashable
        return _geometry.__wrapped__(*arguments)


@lru_cache(maxsize=1024, typed=True)  # typed: 2.0 and True equal valid ints
def _geometry(
    dims: int,
    channels: int,
    n_div: int | None,
    stride: int | None,
    bidirectional: bool | None,
    padding_mode: str,
    groups: tuple[tuple[int, int], ...] | None,
    ragged: str | None,
    time_dim: int,
    channel_dim: int,
) -> ShiftGeometry:
    options = check_options(n_div, stride, bidirectional, padding_mode, groups)
    time_dim, channel_dim = _dims(dims, time_dim, channel_dim)
    resolved = groups_of_share(channels, *options) if groups is None else groups_of_list(channels, groups)
    return ShiftGeometry(resolved, time_dim, channel_dim, padding_mode, ragged)


def check_options(
    n_div: int | None,
    stride: int | None,
    bidirectional: bool | None,
    padding_mode: str,
    groups: tuple[tuple[int, int], ...] | None,
) -> tuple[int, int, bool]:
    """Check the options of a shift. Return the first three, with defaults in place of ``None``."""
    if groups is not None:
        given = {"n_div": n_div, "stride": stride, "bidirectional": bidirectional}
        replaced = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
        if replaced:
            raise ValueError(f"n_div, stride and bidirectional must be None with groups, got {replaced}")
    n_div, stride = 8 if n_div is None else n_div, 1 if stride is None else stride
    bidirectional = False if bidirectional is None else bidirectional
    check_whole("n_div", n_div)
    _check_frames("stride", stride)
    check_flag("bidirectional", bidirectional)
    if padding_mode not in PADDING_MODES:
        raise ValueError(f"padding_mode must be one of {', '.join(map(repr, PADDING_MODES))}, got {padding_mode!r}")
    return n_div, stride, bidirectional


def check_layer(
    channels: int | None,
    n_div: int | None,
    stride: int | None,
    bidirectional: bool | None,
    *,
    padding_mode: str = "zeros",
    groups: Any = None,
    time_dim: int = -2,
    channel_dim: int = -1,
) -> tuple[int, int, bool] | tuple[None, None, None]:
    """Check the arguments of a layer at construction. Return the effective ``n_div``, ``stride``, ``bidirectional``.

    These are ``None`` if ``groups`` replaces them. ``channels`` is ``None`` if the layer takes any number of channels.
    Raises a ``TypeError`` or ``ValueError`` as :func:`temporal_shift.temporal_shift`.
    """
    pairs = None if groups is None else _as_pairs(groups)
    options = check_options(n_div, stride, bidirectional, padding_mode, pairs)
    check_whole("time_dim", time_dim)
    check_whole("channel_dim", channel_dim)
    if time_dim == channel_dim:
        raise ValueError(f"time_dim and channel_dim must differ, got time_dim={time_dim}, channel_dim={channel_dim}")
    if pairs is not None:
        groups_of_list(sum(max(count, 0) for count, _ in pairs) if channels is None else channels, pairs)
        return None, None, None
    if channels is not None:
        groups_of_share(channels, *options)
    elif options[0] < 1 + options[2]:
        raise ValueError(f"n_div must be at least {1 + options[2]} with bidirectional={options[2]}, got {options[0]}")
    return options


def _dims(dims: int, time_dim: int, channel_dim: int) -> tuple[int, int]:
    if dims < 2:
        raise ValueError(f"x must have at least 2 dims, time and channels, got {dims}")
    resolved = []
    for name, dim in (("time_dim", time_dim), ("channel_dim", channel_dim)):
        check_whole(name, dim)
        if not -dims <= dim < dims:
            raise ValueError(f"{name} must be in [{-dims}, {dims - 1}], got {dim}")
        resolved.append(dim % dims)
    if resolved[0] == resolved[1]:
        raise ValueError(f"time_dim and channel_dim must differ, got time_dim={time_dim}, channel_dim={channel_dim}")
    return resolved[0], resolved[1]


def _as_pairs(groups: object) -> tuple[tuple[int, int], ...]:
    if not isinstance(groups, (list, tuple)):
        raise TypeError(f"groups must be a list or tuple of (channels, frames), got {type(groups).__name__}")
    for group in groups:
        if not isinstance(group, (list, tuple)) or len(group) != 2:
            raise TypeError(f"groups must contain pairs (channels, frames), got {group!r}")
        check_whole("the channels of a group", group[0])
        _check_frames("the frames of a group", group[1])
    return tuple((channels, frames) for channels, frames in groups)


def check_kind(x: Any, name: str) -> None:
    """Raise a ``TypeError`` unless ``x`` is a dense, local tensor that is not quantized."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
    distributed = sys.modules.get("torch.distributed.tensor")  # if it is not imported, there is no DTensor
    if distributed is not None and isinstance(x, distributed.DTensor):
        raise TypeError(
            f"{name} must be a local tensor, got a DTensor: pass {name}.to_local() if neither frames nor channels are "
            "sharded"
        )
    if x.is_nested and x.layout == torch.jagged:
        raise TypeError(
            f"{name} must be dense, got a nested tensor: pass {name}.values() and cu_seqlens={name}.offsets()"
        )
    if x.is_nested:
        raise TypeError(f"{name} must be dense, got a nested tensor: pass {name}.to_padded_tensor(0.0) and its lengths")
    if x.layout != torch.strided:  # sparse, or packed by mkldnn
        kind = "strided" if x.is_mkldnn else "dense"
        raise TypeError(f"{name} must be {kind}, got {x.layout}: pass {name}.to_dense()")
    if x.is_quantized:
        raise TypeError(f"{name} must not be quantized, got {x.dtype}: pass {name}.dequantize()")


def check_bounds(x: Tensor, lengths: Tensor | None, cu_seqlens: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Check the shape, dtype and device of ``lengths`` or ``cu_seqlens``, and return it, without reading its values."""
    if lengths is not None and cu_seqlens is not None:
        raise ValueError("lengths and cu_seqlens are mutually exclusive, got both")
    name, bounds = ("lengths", lengths) if lengths is not None else ("cu_seqlens", cu_seqlens)
    if not isinstance(bounds, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(bounds).__name__}")
    if bounds.layout != torch.strided:
        check_kind(bounds, name)
    if bounds.dtype not in _INTEGERS:
        raise TypeError(f"{name} must be torch.int32 or torch.int64, got {bounds.dtype}")
    if bounds.device != x.device:
        raise ValueError(f"{name} must be on the device of x, {x.device}, got {bounds.device}")
    if name == "cu_seqlens":
        if bounds.dim() != 1 or bounds.shape[0] < 1:
            raise ValueError(f"cu_seqlens must have shape (sequences + 1,), got {tuple(bounds.shape)}")
        return bounds
    sequence_dims = (geometry.time_dim, geometry.channel_dim)
    batch = tuple(size for dim, size in enumerate(x.shape) if dim not in sequence_dims)
    if tuple(bounds.shape) != batch[: bounds.dim()]:
        allowed = " or ".join(str(batch[:dims]) for dims in range(len(batch) + 1))
        raise ValueError(
            f"lengths must have shape {allowed}, the first batch dims of x {tuple(x.shape)}, got {tuple(bounds.shape)}"
        )
    return bounds


def check_values(bounds: Tensor, ragged: str | None, frames: int) -> None:
    """Check the values of ``bounds`` on the CPU. Reading them from another device would synchronize with it."""
    values = bounds.reshape(-1).tolist()
    if ragged == "lengths":
        for length in values:
            if not 0 <= length <= frames:
                raise ValueError(f"lengths must be in [0, {frames}], the frames of x, got {length}")
        return
    if values[0] != 0 or values[-1] != frames:
        raise ValueError(f"cu_seqlens must run from 0 to {frames}, the frames of x, got {values[0]} to {values[-1]}")
    for before, after in pairwise(values):
        if after < before:
            raise ValueError(f"cu_seqlens must be ascending, got {before} before {after}")


def check_writable(x: Tensor) -> None:
    """Raise a ``ValueError`` for the common tensors to which torch does not write, before anything is written."""
    if not x.is_contiguous() and _overlaps(x):
        raise ValueError(
            f"elements of x must not share memory if inplace, got shape {tuple(x.shape)} with strides {x.stride()}: "
            "pass x.clone()"
        )
    if x.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError("x must not be an inference tensor if inplace outside inference mode: pass x.clone()")
    if torch.is_grad_enabled() and x.requires_grad and (x.is_leaf or is_view_of_leaf(x)):
        what = "a leaf" if x.is_leaf else "a view of a leaf"
        raise ValueError(f"x must not be {what} that requires grad if inplace: pass x.clone()")


def _overlaps(x: Tensor) -> bool:
    """Whether elements of ``x`` share memory."""
    dims = sorted((stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1)
    last = 0  # the last offset of the dims so far
    disjoint = True
    for stride, size in dims:
        disjoint = disjoint and stride > last  # a step of this dim skips all smaller dims
        last += stride * (size - 1)
    if disjoint or dims[0][0] == 0:
        return not disjoint
    offsets = torch.arange(last + 1, device="cpu").as_strided(x.shape, x.stride())  # rare, so it may be slow
    return len(offsets.unique()) < x.numel()


def check_residual(x: Tensor, residual: Any) -> None:
    """Raise unless ``residual`` passes :func:`check_kind`, is on the device of ``x`` and broadcasts to ``x``."""
    if type(residual) is not Tensor or residual.layout != torch.strided or residual.is_quantized:
        check_kind(residual, "residual")
    if residual.device != x.device:
        raise ValueError(f"residual must be on the device of x, {x.device}, got {residual.device}")
    if residual.shape != x.shape and not _broadcasts(residual, x):
        raise ValueError(f"residual must broadcast to the shape of x, {tuple(x.shape)}, got {tuple(residual.shape)}")


def _broadcasts(small: Tensor, large: Tensor) -> bool:
    sizes = zip(reversed(small.shape), reversed(large.shape), strict=False)
    return small.dim() <= large.dim() and not any(have != want and have != 1 for have, want in sizes)


def check_whole(name: str, value: object) -> None:
    """Raise a ``TypeError`` unless an argument is an int or a ``torch.SymInt``. A bool is rejected."""
    if not isinstance(value, (int, torch.SymInt)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, got {value!r}")


def _check_frames(name: str, value: object) -> None:
    check_whole(name, value)
    if isinstance(value, int) and abs(value) > _MAX_FRAMES:
        raise ValueError(f"{name} must be in [-2**62, 2**62], got {value}")


def check_flag(name: str, value: object) -> None:
    """Raise a ``TypeError`` unless an argument is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, got {value!r}")
