"""The eager shift, differentiable and under every transform of ``torch.func``, whichever backend computes it."""

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
from .torch_private import is_transformed, is_view

_is_grad_enabled = torch.is_grad_enabled  # looked up once: see checks.resolve


def shift(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """The shift of ``x``, plus ``residual`` where there is one, with its gradient."""
    if _unwatched(x, residual):
        if bounds is None and x.is_cpu:
            return cpu.shift(x, residual, None, geometry)
        return _backend(x, residual, bounds, geometry).shift(x, residual, bounds, geometry)  # type: ignore[no-any-return]
    return _Shift.apply(x, residual, bounds, geometry)  # type: ignore[no-any-return, no-untyped-call]


def shift_(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
    """The shift of ``x`` on ``x`` itself, with its gradient."""
    if _unwatched(x, None):
        return _backend(x, None, bounds, geometry).shift_(x, bounds, geometry)  # type: ignore[no-any-return]
    if is_view(x):  # torch's own operations know of every kind of view which of them may be written to
        _is_on_host(x, bounds, geometry)
        return graph.shift_(x, bounds, geometry)
    return _ShiftInPlace.apply(x, bounds, geometry)  # type: ignore[no-any-return, no-untyped-call]


def _unwatched(x: Tensor, residual: Tensor | None) -> bool:
    """Whether no gradient and no transform looks on: a ``Function``, which costs more than a short shift, is idle."""
    if (x.requires_grad or (residual is not None and residual.requires_grad)) and _is_grad_enabled():
        return False
    return not is_transformed()


class _Shift(torch.autograd.Function):
    """Keeps the geometry for the backward, and no tensor but the few numbers that say where sequences end."""

    @staticmethod
    def forward(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
        return _backend(x, residual, bounds, geometry).shift(x, residual, bounds, geometry)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, residual, bounds, geometry = inputs
        ctx.geometry = geometry
        ctx.dtypes = x.dtype, None if residual is None else residual.dtype
        if bounds is not None:
            ctx.save_for_backward(bounds)
            ctx.save_for_forward(bounds)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (bounds,) = ctx.saved_tensors or (None,)  # read once: a checkpoint unpacks it at that moment
        of_x, of_residual = ctx.dtypes
        to_x = shift(grad.to(of_x), None, bounds, ctx.geometry.adjoint()) if ctx.needs_input_grad[0] else None
        to_residual = grad.to(of_residual) if ctx.needs_input_grad[1] else None
        return to_x, to_residual, None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, residual: Tensor | None, bounds: None, geometry: None) -> Tensor:
        (bounds,) = ctx.saved_tensors or (None,)
        return shift(x, residual, bounds, ctx.geometry)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, residual: Any, bounds: Any, geometry: ShiftGeometry
    ) -> tuple[Tensor, int]:
        x, residual = _batched(x, in_dims[0], info.batch_size), _batched(residual, in_dims[1], info.batch_size)
        if bounds is not None and geometry.ragged == "cu_seqlens" and in_dims[2] is not None:
            parts = zip(x, [None] * len(x) if residual is None else residual, bounds.unbind(in_dims[2]), strict=True)
            return torch.stack([shift(*part, geometry) for part in parts]), 0
        if geometry.ragged == "lengths":
            bounds = _batched(bounds, in_dims[2], info.batch_size)
        return shift(x, residual, bounds, geometry.behind(1)), 0


class _ShiftInPlace(torch.autograd.Function):
    """The same for a tensor that becomes its own shift."""

    @staticmethod
    def forward(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> Tensor:
        return _backend(x, None, bounds, geometry).shift_(x, bounds, geometry)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, bounds, ctx.geometry = inputs
        ctx.mark_dirty(x)
        if bounds is not None:
            ctx.save_for_backward(bounds)
            ctx.save_for_forward(bounds)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (bounds,) = ctx.saved_tensors or (None,)
        return shift(grad, None, bounds, ctx.geometry.adjoint()), None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, bounds: None, geometry: None) -> Tensor:
        (bounds,) = ctx.saved_tensors or (None,)
        return shift_(x, bounds, ctx.geometry)  # the tangent of a tensor that changes is changed with it

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, bounds: Any, geometry: ShiftGeometry
    ) -> tuple[Tensor, int]:
        if in_dims[0] is None:
            raise ValueError(f"inplace=True under vmap, which batches {geometry.ragged} alone: x must be batched too")
        of_each = x.movedim(in_dims[0], 0)
        if bounds is not None and geometry.ragged == "cu_seqlens" and in_dims[1] is not None:
            for part, ends in zip(of_each, bounds.unbind(in_dims[1]), strict=True):
                shift_(part, ends, geometry)
            return x, in_dims[0]
        if geometry.ragged == "lengths":
            bounds = _batched(bounds, in_dims[1], info.batch_size)
        shift_(of_each, bounds, geometry.behind(1))
        return x, in_dims[0]


def _batched(x: Any, dim: int | None, size: int) -> Any:
    if x is None:
        return None
    return x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)


def _backend(x: Tensor, residual: Tensor | None, bounds: Tensor | None, geometry: ShiftGeometry) -> ModuleType:
    """Triton on its devices; elsewhere slices, except where they would need numbers that the host does not have."""
    on_host = _is_on_host(x, bounds, geometry)
    if x.is_cuda and type(x) in (Tensor, Parameter) and _has_triton():  # fake tensors have no memory
        from . import triton  # imported on the first use on a GPU: the CPU must not need it

        if triton.computes(x, residual, geometry):
            return triton
    return cpu if on_host else graph


def _is_on_host(x: Tensor, bounds: Tensor | None, geometry: ShiftGeometry) -> bool:
    """Whether it can be looked up without a stall where sequences end; then it is, and must be right."""
    if bounds is None:
        return True
    if not bounds.is_cpu or type(bounds) is not Tensor:
        return False
    check_values(bounds, geometry.ragged, x.shape[geometry.time_dim])
    return True


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
