"""Fused GPU kernels. Each element is read once and written once; in place, only the elements that move.

Imported on the first shift of a CUDA or ROCm tensor. With ``TRITON_INTERPRET=1`` the kernels also run on CPU tensors,
slowly: this is how they are tested without a GPU. Nothing here synchronizes with the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import ShiftGeometry
from .kernels import shift_inplace_kernel, shift_kernel
from .launches import MAX_CARRIED, plan, plan_inplace

# elements that only move are copied as integers of their size
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SUMMED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def computes(x: Tensor, residual: Tensor | None, geometry: ShiftGeometry) -> bool:
    """Whether the kernels support the shift: moves of every dtype, and sums of real floating-point numbers."""
    if residual is not None:
        return x.dtype in _SUMMED and residual.dtype in _SUMMED
    return x.dtype in _SUMMED or (x.itemsize in _WORDS and not geometry.transposed)


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, of any strides, plus ``residual`` if given."""
    y = torch.empty_like(x, dtype=x.dtype if residual is None else torch.result_type(x, residual))
    if x.numel() == 0:
        return y
    if geometry.ragged == "cu_seqlens" and bounds is not None and len(bounds) == 1:  # every frame is padding
        return y.zero_() if residual is None else y.copy_(residual)
    source, target = x, y
    if residual is None and not geometry.transposed:
        word = _WORDS[x.itemsize]
        source, target = x.resolve_conj().resolve_neg().view(word), y.view(word)
    added = source if residual is None else residual
    ends = source if bounds is None else bounds
    of_lengths = _lengths_strides(x, bounds, geometry)
    sequences = len(ends) - 1 if geometry.ragged == "cu_seqlens" else 1
    strides = (source.stride(), target.stride(), added.stride(), of_lengths)
    launches = plan(geometry, x.shape, strides, sequences, max(y.itemsize, x.itemsize), residual is not None, y.dtype)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        for launch in launches:
            tensors = (
                _at(part, start) for part, start in zip((source, target, added, ends), launch.offset, strict=True)
            )
            shift_kernel[launch.grid](*tensors, *launch.arguments, **launch.constants)
    return y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to ``x``. Only a circular shift by many frames copies the channels that move."""
    groups = geometry.moved if bounds is None else geometry.groups
    if x.numel() == 0 or not groups:
        return x
    if geometry.ragged == "cu_seqlens" and bounds is not None and len(bounds) == 1:
        return x.zero_()
    too_long = max(abs(group.frames) for group in groups) > MAX_CARRIED
    if x.is_conj() or x.is_neg() or (too_long and geometry.padding_mode == "circular"):
        for group in groups:
            part = x.narrow(geometry.channel_dim, group.start, group.channels)
            part.copy_(shift(part, None, bounds, geometry.of_group(group)))
        return x
    target = x.view(_WORDS[x.itemsize])
    ends = target if bounds is None else bounds
    sequences = len(ends) - 1 if geometry.ragged == "cu_seqlens" else 1
    strides = (target.stride(), _lengths_strides(x, bounds, geometry))
    with torch.cuda.device_of(x):
        for launch in plan_inplace(geometry._replace(groups=groups), x.shape, strides, sequences, x.itemsize):
            tensors = (_at(part, start) for part, start in zip((target, ends), launch.offset, strict=True))
            shift_inplace_kernel[launch.grid](*tensors, *launch.arguments, **launch.constants)
    return x


def _lengths_strides(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> tuple[int, ...]:
    """The strides of ``lengths`` expanded to the shape of ``x``: 0 along time, channels and further batch dims."""
    if bounds is None or geometry.ragged != "lengths":
        return (0,) * x.dim()
    strides = iter(bounds.stride())
    return tuple(0 if dim in (geometry.time_dim, geometry.channel_dim) else next(strides, 0) for dim in range(x.dim()))


def _at(x: Tensor, offset: int) -> Tensor:
    return x if offset == 0 else x.as_strided((1,), (1,), x.storage_offset() + offset)
