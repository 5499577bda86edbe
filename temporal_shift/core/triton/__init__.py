"""The GPU backend. One kernel shifts and adds the residual in one pass.

The first eager shift of a CUDA or ROCm tensor imports this package, or ``temporal-shift env`` on a machine with a GPU.
Tests without a GPU run the kernel on CPU tensors, slowly, with ``TRITON_INTERPRET=1``. A shift does not wait for the
device.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

from ..geometry import ChannelGroup, ShiftGeometry
from .kernels import shift_kernel
from .launches import WORDS, Launch, plan
from .probe import works_on
from .tiles import Described

_SUMMED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAX_READERS = 32  # other frames that may read a border frame; a thread adds up their gradients
_MANY = 2**31


def computes(x: Tensor, residual: Tensor | None, geometry: ShiftGeometry) -> bool:
    """Whether the kernel supports the shift. It moves items of 1, 2, 4 or 8 bytes, and adds dtypes in ``_SUMMED``."""
    if x.data_ptr() == 0 or (residual is not None and residual.data_ptr() == 0) or not works_on(x.device):
        return False  # without memory, a tensor is empty, or a zero tensor of forward-mode autograd
    frames = x.shape[geometry.time_dim]
    if geometry.transposed and max(min(abs(group.frames), frames) for group in geometry.groups) > _MAX_READERS:
        return False
    if x.numel() >= _MANY and not _is_countable(x, geometry):
        return False
    if residual is not None:
        return x.dtype in _SUMMED and residual.dtype in _SUMMED
    return x.dtype in _SUMMED or (x.itemsize in WORDS and not geometry.transposed)


def _is_countable(x: Tensor, geometry: ShiftGeometry) -> bool:
    """Whether the kernel can count frames, channels and programs in 32 bits."""
    frames, channels = x.shape[geometry.time_dim], x.shape[geometry.channel_dim]
    per_frame = x.numel() // frames  # batch dims can merge with the channels
    return max(frames, per_frame) < _MANY and per_frame // channels < _MANY / 2


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, of any strides, plus ``residual`` if given."""
    y = torch.empty_like(x, dtype=x.dtype if residual is None else torch.result_type(x, residual))
    _write(y, x, residual, bounds, geometry)
    return y


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to ``x``: shift the channels that move, copy them back, and zero the padding."""
    for start, channels, of_run, at_rest in _runs(geometry):
        part = x.narrow(geometry.channel_dim, start, channels)
        if x.is_conj() or x.is_neg():
            part.copy_(shift(part, None, bounds, of_run))
        elif at_rest is None:
            _write(part, part, None, bounds, of_run, only_padding=True)
        else:
            _write(part, shift(part, None, bounds, of_run), None, None, at_rest)
    if not x.is_inference():
        torch.autograd.graph.increment_version(x)  # then autograd raises if it needs an x that it saved before
    return x


@lru_cache(maxsize=1024)
def _runs(geometry: ShiftGeometry) -> list[tuple[int, int, ShiftGeometry, ShiftGeometry | None]]:
    """The runs of channels that are written in place: first channel, number of channels, shift, and the copy back.

    The copy is a shift by 0 frames, or ``None`` for channels that do not move. Such channels are written only if
    there may be padding.
    """
    runs: list[tuple[int, int, ShiftGeometry, ShiftGeometry | None]] = []
    for moves, groups in itertools.groupby(geometry.groups, lambda group: group.frames != 0):
        run = list(groups)
        start, channels = run[0].start, run[-1].stop - run[0].start
        counted = tuple(group._replace(start=group.start - start, stop=group.stop - start) for group in run)
        of_run = geometry._replace(groups=counted)
        at_rest = ShiftGeometry((ChannelGroup(0, channels, 0),), geometry.time_dim, geometry.channel_dim)
        if moves or geometry.ragged is not None:
            runs.append((start, channels, of_run, at_rest if moves else None))
    return runs


def _write(
    y: Tensor,
    x: Tensor,
    residual: Tensor | None,
    bounds: Tensor | None,
    geometry: ShiftGeometry,
    only_padding: bool = False,
) -> None:
    """Write the shift of ``x``, plus ``residual`` if given, to ``y``, or only zeros to its padding."""
    if x.numel() == 0:
        return
    if x.is_conj() or x.is_neg():
        x = x.resolve_conj().resolve_neg()
    if residual is not None and residual.is_neg():
        residual = residual.resolve_neg()
    if bounds is not None and geometry.ragged == "cu_seqlens":
        bounds = bounds.contiguous()
    launches = plan(
        geometry,
        x.shape,
        _described(x),
        _described(y),
        None if residual is None else _described(residual),
        None if bounds is None else _described(bounds),
        0 if bounds is None else bounds.numel(),
        only_padding,
    )
    device = x.get_device()
    if device < 0 or device == torch.cuda.current_device():
        _launch(launches, y, x, residual, bounds, device)
    else:
        with torch.cuda.device(device):  # Triton launches on the current device
            _launch(launches, y, x, residual, bounds, device)


def _described(x: Tensor) -> Described:
    return x.stride(), x.dtype, x.data_ptr() % 16


def _launch(
    launches: tuple[Launch, ...], y: Tensor, x: Tensor, residual: Tensor | None, bounds: Tensor | None, device: int
) -> None:
    """Run the kernel. Only the first run of a launch on a device uses Triton's lookup of the compiled kernel."""
    tensors = x, y, x if residual is None else residual, x if bounds is None else bounds
    for launch in launches:
        ready = launch.ready.get(device)
        if ready is None:
            _first_run(launch, tensors, device)
        else:
            run, arguments = ready
            of_x, of_y, of_residual, of_bounds = launch.offsets
            run(
                tensors[0].data_ptr() + of_x,
                tensors[1].data_ptr() + of_y,
                tensors[2].data_ptr() + of_residual,
                tensors[3].data_ptr() + of_bounds,
                *arguments,
            )


def _first_run(launch: Launch, tensors: tuple[Tensor, ...], device: int) -> None:
    typed = [
        _at(tensor.view(dtype) if dtype is not None else tensor, offset)
        for tensor, dtype, offset in zip(tensors, launch.dtypes, launch.offsets, strict=True)
    ]
    compiled = shift_kernel[launch.grid](*typed, *launch.arguments, **launch.constants)
    if compiled is None:  # the interpreter
        return
    names = shift_kernel.arg_names
    constants = [launch.constants[name] for name in names[4 + len(launch.arguments) :]]
    if len(compiled.src.signature) < len(names):  # the launcher of Triton 3.2 takes no constants
        constants = []
    launch.ready[device] = compiled[launch.grid], (*launch.arguments, *constants)


def _at(x: Tensor, offset: int) -> Tensor:
    return x if offset == 0 else x.as_strided((1,), (1,), x.storage_offset() + offset // x.itemsize)
