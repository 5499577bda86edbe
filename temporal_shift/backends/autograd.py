"""The eager shift, differentiable, whichever backend computes it."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..geometry import ShiftGeometry
from . import aten


def shift(x: Tensor, geometry: ShiftGeometry) -> Tensor:
    """The shift of ``x`` with its gradient."""
    return _Shift.apply(x, geometry)  # type: ignore[no-any-return, no-untyped-call]


class _Shift(torch.autograd.Function):
    """Keeps the geometry for the backward, and no tensor."""

    @staticmethod
    def forward(x: Tensor, geometry: ShiftGeometry) -> Tensor:
        if x.is_cuda and not x.is_complex() and _has_triton():  # Triton has no complex numbers
            from . import triton  # imported on the first use on a GPU: the CPU must not need it

            return triton.shift(x, geometry)
        return aten.shift(x, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ShiftGeometry], output: Tensor) -> None:
        ctx.geometry = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return shift(grad, ctx.geometry.adjoint()), None


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
