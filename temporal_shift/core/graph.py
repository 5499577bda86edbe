"""The shift as a graph of PyTorch operations, for torch.compile, torch.export and ONNX.

On a GPU, Inductor fuses these operations with their neighbours, which it cannot do with a custom op. On a CPU, it
writes the result of ``cat`` to memory. The code branches on the number of frames only for an empty sequence and for
steps of more than 1024 frames, so that a compiler can reuse a graph for other lengths.

This module is also the eager backend if no kernel computes the shift and the bounds are not on the CPU or are of a
tensor subclass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import ChannelGroup, ShiftGeometry
from .torch_private import is_tracing

_MAX_PADDING = 1024  # frames


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, plus ``residual`` if given."""
    if geometry.transposed:
        return _transposed(x, bounds, geometry)
    parts = [_moved(_part(x, group, geometry), bounds, group.frames, geometry) for group in geometry.groups]
    y = parts[0] if len(parts) == 1 else torch.cat(parts, dim=geometry.channel_dim)
    if residual is not None:
        return y + residual
    return y.clone() if y is x else y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to ``x``: the channels that move, or all if there are bounds or TorchScript traces."""
    if not torch.compiler.is_compiling() and is_tracing():  # the legacy ONNX exporter ignores writes to a part of x
        return x.copy_(shift(x, None, bounds, geometry))
    for group in geometry.groups:
        if bounds is None and group.frames == 0:
            continue  # Dynamo of torch 2.6 does not support geometry.moved
        part = _part(x, group, geometry)
        part.copy_(_moved(part.clone(), bounds, group.frames, geometry))  # gather saves its input for backward
    return x


def _part(x: Tensor, group: ChannelGroup, geometry: ShiftGeometry) -> Tensor:
    """The channels of one group, as a view of ``x`` or ``x`` itself."""
    if group.channels < x.shape[geometry.channel_dim]:
        return x.narrow(geometry.channel_dim, group.start, group.channels)
    return x


def _moved(x: Tensor, bounds: Tensor | None, frames: int, geometry: ShiftGeometry) -> Tensor:
    """Return ``x`` shifted: each frame reads ``frames`` frames earlier."""
    time = geometry.time_dim
    if bounds is None:
        return _MOVES[geometry.padding_mode](x, frames, time)
    begin, end = _sequence_of_each_frame(x, bounds, geometry)
    frame = _along(torch.arange(x.shape[time], device=x.device), time, x.dim())
    inside = (frame >= begin) & (frame < end)
    if frames == 0:
        return torch.where(inside, x, _zero(x))
    source = frame - frames
    if geometry.padding_mode == "zeros":
        readable = inside & (source >= begin) & (source < end)
        return torch.where(readable, _zeros(x, frames, time), _zero(x))
    if geometry.padding_mode == "circular":
        source = begin + torch.remainder(source - begin, (end - begin).clamp(min=1))
    source = torch.minimum(torch.maximum(source, begin), (end - 1).clamp(min=0)).expand(x.shape)
    return torch.where(inside, x.gather(time, source), _zero(x))


def _zeros(x: Tensor, frames: int, time: int) -> Tensor:
    if frames == 0:
        return x
    length = x.shape[time]
    frames = _clamped(frames, length)
    ends = [frames, 0] if frames > 0 else [0, -frames]
    pad = [0, 0] * (x.dim() - time - 1) + ends  # F.pad counts dims from the last; narrow cuts the other end
    return F.pad(x, pad).narrow(time, 0 if frames > 0 else -frames, length)


def _replicated(x: Tensor, frames: int, time: int) -> Tensor:
    if frames == 0 or x.shape[time] == 0:
        return x
    length = x.shape[time]
    frames = _clamped(frames, length)
    edge = x.narrow(time, 0 if frames > 0 else length - 1, 1)
    repeated = edge.expand([abs(frames) if dim == time else -1 for dim in range(x.dim())])
    if frames > 0:
        return torch.cat([repeated, x], dim=time).narrow(time, 0, length)
    return torch.cat([x, repeated], dim=time).narrow(time, -frames, length)


def _clamped(frames: int, length: int) -> int:
    """Limit a step above 1024 to the length. Shorter steps stay, so that the graph does not depend on the length."""
    return frames if abs(frames) <= _MAX_PADDING else max(-length, min(frames, length))


def _rolled(x: Tensor, frames: int, time: int) -> Tensor:
    return x if frames == 0 else torch.roll(x, frames, time)


_MOVES = {"zeros": _zeros, "replicate": _replicated, "circular": _rolled}


def _sequence_of_each_frame(x: Tensor, bounds: Tensor, geometry: ShiftGeometry) -> tuple[Tensor, Tensor]:
    """The first frame and the end of the sequence that contains each frame, in shapes that broadcast to ``x``."""
    time = geometry.time_dim
    if geometry.ragged == "lengths":
        batch_dims = [dim for dim in range(x.dim()) if dim not in (time, geometry.channel_dim)]
        shape = [1] * x.dim()
        for position, size in enumerate(bounds.shape):
            shape[batch_dims[position]] = size
        end = bounds.long().clamp(0, x.shape[time]).reshape(shape)
        return torch.zeros_like(end), end
    length = x.shape[time]
    ends = bounds.long().clamp(0, length)
    ended = torch.zeros(length + 1, dtype=torch.int64, device=x.device).scatter_add(0, ends, torch.ones_like(ends))
    sequence = ended.cumsum(0)[:length]  # number of boundaries at or before each frame
    last = ends.shape[0] - 1
    begin, end = ends[(sequence - 1).clamp(0, last)], ends[sequence.clamp(0, last)]
    return _along(begin, time, x.dim()), _along(end, time, x.dim())


def _along(values: Tensor, time: int, dims: int) -> Tensor:
    return values.reshape([-1 if dim == time else 1 for dim in range(dims)])


def _zero(x: Tensor) -> Tensor:
    return torch.zeros((), dtype=x.dtype, device=x.device)


def _transposed(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """The transpose of a shift. The shift is linear, so this computes its gradient."""
    forward = geometry.adjoint(cached=False)
    transpose = torch.func.vjp(lambda point: shift(point, None, bounds, forward), torch.zeros_like(x))[1]
    return transpose(x)[0]  # type: ignore[no-any-return]
