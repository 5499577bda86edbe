"""The eager shift: the choice of the backend, and the autograd functions.

The functions are differentiable to any order, and work under the transforms of ``torch.func`` except ``functionalize``.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from . import cpu, graph
from .arguments import check_values
from .geometry import ShiftGeometry
from .torch_private import has_memory, is_observed, is_traced, is_transformed, is_view

triton_devices = {"cuda"}  # device types for Triton; tests add "cpu", for Triton's interpreter


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Return the shift of ``x``, plus ``residual`` if given; differentiable."""
    if is_transformed():
        return _TransformedShift.apply(x, residual, bounds, geometry)  # type: ignore[no-any-return, no-untyped-call]
    if (x.requires_grad or (residual is not None and residual.requires_grad)) and torch.is_grad_enabled():
        return _Shift.apply(x, residual, bounds, geometry)  # type: ignore[no-any-return, no-untyped-call]
    return _backend(x, residual, bounds, geometry).shift(x, residual, bounds, geometry)  # type: ignore[no-any-return]


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Write the shift of ``x`` to ``x``; differentiable."""
    transformed = is_transformed()
    if not transformed and not (x.requires_grad and torch.is_grad_enabled()):
        return _backend(x, None, bounds, geometry).shift_(x, bounds, geometry)  # type: ignore[no-any-return]
    if is_view(x):
        return _write_to_view(x, bounds, geometry)
    function = _TransformedShiftInPlace if transformed else _ShiftInPlace
    return function.apply(x, bounds, geometry)  # type: ignore[no-any-return, no-untyped-call]


def _write_to_view(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """Shift in place with ``copy_``, so that autograd decides which views may be written to."""
    groups = geometry.moved if bounds is None else geometry.groups
    parts = [x.narrow(geometry.channel_dim, group.start, group.channels) for group in groups]
    for part, group in zip(parts, groups, strict=True):
        part.copy_(shift(part, None, bounds, geometry.of_group(group)))
    return x


class _Shift(torch.autograd.Function):
    """Saves the geometry and the bounds for backward, and not ``x``.

    It has no ``setup_context``: with one, torch binds the signature of ``forward`` in each call, which slows down a
    short shift.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
        _save(ctx, (x, residual, bounds, geometry))
        return _backend(x, residual, bounds, geometry).shift(x, residual, bounds, geometry)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        _, x_dtype, residual_dtype = ctx.saved
        if residual_dtype is None:
            return _transposed(ctx, grad), None, None, None
        to_x, to_residual, *_ = ctx.needs_input_grad
        return (
            _transposed(ctx, _cast(grad, x_dtype)) if to_x else None,
            _cast(grad, residual_dtype) if to_residual else None,
            None,
            None,
        )


class _TransformedShift(_Shift):
    """Like :class:`_Shift`, for forward-mode autograd, and for ``torch.func``, which requires ``setup_context``."""

    @staticmethod
    def forward(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:  # type: ignore[override]
        return _backend(x, residual, bounds, geometry).shift(x, residual, bounds, geometry)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _save(ctx, inputs)

    @staticmethod
    def jvp(ctx: Any, x: Tensor, residual: Tensor | None, *no_tangents: None) -> Tensor:
        geometry, *_ = ctx.saved
        tangent = shift(x, None, _saved_bounds(ctx, geometry), geometry)
        return tangent if residual is None else tangent + residual  # not in place: vmap may batch only one of them

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, residual: Any, bounds: Any, geometry: ShiftGeometry
    ) -> tuple[Tensor, int]:
        x, residual = _batched(x, in_dims[0], info.batch_size), _batched(residual, in_dims[1], info.batch_size)
        if len(x) == 0:
            return x.clone() if residual is None else x + residual, 0
        if bounds is not None and geometry.ragged == "cu_seqlens" and in_dims[2] is not None:
            parts = zip(x, [None] * len(x) if residual is None else residual, bounds.unbind(in_dims[2]), strict=True)
            return torch.stack([shift(*part, geometry) for part in parts]), 0
        if geometry.ragged == "lengths":
            bounds = _batched(bounds, in_dims[2], info.batch_size)
        return shift(x, residual, bounds, geometry.behind(1)), 0


class _ShiftInPlace(torch.autograd.Function):
    """Like :class:`_Shift`, in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
        ctx.mark_dirty(x)
        _save(ctx, (x, None, bounds, geometry))
        return _backend(x, None, bounds, geometry).shift_(x, bounds, geometry)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _transposed(ctx, grad), None, None


class _TransformedShiftInPlace(_ShiftInPlace):
    """Like :class:`_ShiftInPlace`, for forward-mode autograd and ``torch.func``."""

    @staticmethod
    def forward(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:  # type: ignore[override]
        return _backend(x, None, bounds, geometry).shift_(x, bounds, geometry)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, bounds, geometry = inputs
        ctx.mark_dirty(x)
        _save(ctx, (x, None, bounds, geometry))

    @staticmethod
    def jvp(ctx: Any, x: Tensor, *no_tangents: None) -> Tensor:
        geometry, *_ = ctx.saved
        # torch requires that the tangent of a dirty tensor changes in place
        return shift_(x, _saved_bounds(ctx, geometry), geometry)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, bounds: Any, geometry: ShiftGeometry
    ) -> tuple[Tensor, int]:
        if in_dims[0] is None:
            raise ValueError(f"x must be batched by vmap with inplace=True, got only {geometry.ragged} batched")
        of_each = x.movedim(in_dims[0], 0)
        if bounds is not None and geometry.ragged == "cu_seqlens" and in_dims[1] is not None:
            for part, ends in zip(of_each, bounds.unbind(in_dims[1]), strict=True):
                shift_(part, ends, geometry)
            return x, in_dims[0]
        if geometry.ragged == "lengths":
            bounds = _batched(bounds, in_dims[1], info.batch_size)
        shift_(of_each, bounds, geometry.behind(1))
        return x, in_dims[0]


def _save(ctx: Any, inputs: tuple[Any, ...]) -> None:
    x, residual, bounds, geometry = inputs
    ctx.saved = geometry, x.dtype, None if residual is None else residual.dtype
    if bounds is not None:
        ctx.save_for_backward(bounds)
        ctx.save_for_forward(bounds)


def _transposed(ctx: Any, grad: Tensor) -> Tensor:
    geometry, *_ = ctx.saved
    bounds = _saved_bounds(ctx, geometry)
    if is_traced():  # compiled autograd: its dynamic sizes do not work with the graph if there are bounds
        return (shift if geometry.ragged else graph.shift)(grad, None, bounds, geometry.adjoint(cached=False))
    return shift(grad, None, bounds, geometry.adjoint())


def _cast(grad: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a gradient to the dtype of its term, which may differ from the dtype of the sum."""
    return (grad.real if grad.is_complex() and not dtype.is_complex else grad).to(dtype)


def _saved_bounds(ctx: Any, geometry: ShiftGeometry) -> Tensor | None:
    """The saved bounds, if any. Call it once: activation checkpointing raises if a saved tensor is unpacked twice."""
    return None if geometry.ragged is None else ctx.saved_tensors[0]


def _batched(x: Any, dim: int | None, size: int) -> Any:
    if x is None:
        return None
    return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)


def _backend(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> ModuleType:
    """Choose the kernel if it computes the shift, else strided copies if they can read the bounds, else the graph.

    Raises:
        ValueError: If the copies are chosen and the values of the bounds are wrong.
    """
    if x.device.type in triton_devices and _are_plain(x, residual, bounds) and _has_triton():
        from . import triton  # not at import time: the CPU does not need it

        if triton.computes(x, residual, geometry):
            return triton
    if bounds is None:
        return cpu
    if not bounds.is_cpu or type(bounds) is not Tensor:  # reading them would stall the device or may be impossible
        return graph
    check_values(bounds, geometry.ragged, x.shape[geometry.time_dim])
    return cpu


def _are_plain(x: Tensor, residual: Tensor | None, bounds: Tensor | None) -> bool:
    """Whether a kernel may access the memory of the tensors.

    It may not if a tensor is fake, traced, batched or of a custom subclass, or if a ``TorchDispatchMode`` is active.
    """
    return (
        _is_plain(x)
        and (residual is None or _is_plain(residual))
        and (bounds is None or _is_plain(bounds))
        and not is_observed()
    )


def _is_plain(x: Tensor) -> bool:
    return type(x) in (Tensor, Parameter) and has_memory(x)


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
