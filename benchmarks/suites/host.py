"""``python -m benchmarks host``: the time that the host spends on an eager call.

Without a GPU, kernels are compiled for an H100, each launch calls an empty Python function, and the figure is the
CPU time of the calling thread. Tensors are on the CPU, so functions that would compute there get (1, 20, 64). With
``--device cuda``, launches are real and asynchronous, the functions get (8, 374, 768), and the figure is wall-clock
time. The rows "CPU, ..." are the CPU time of calls that do not use Triton, with (1, 20, 64), on either device.

``kernel[grid]`` launches the same compiled kernel through Triton's ``JITFunction``. ``identity`` is an
``autograd.Function`` that returns its input, with ``setup_context``, as ``torch.func`` requires. The functions take
turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from temporal_shift import temporal_shift, temporal_shift_add

from ..measure.host_timing import host_time
from ..measure.measurements import OURS, Goal, Measurement
from ..measure.timing import Functions, Samples

SHAPE, SMALL = (8, 374, 768), (1, 20, 64)
LAUNCH = "kernel[grid]"
IDENTITY, LEGACY = "identity", "identity without setup_context"


class Identity(torch.autograd.Function):
    """The identity as an ``autograd.Function``, in the form that ``torch.func`` supports."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class LegacyIdentity(torch.autograd.Function):
    """The identity without ``setup_context``: PyTorch makes fewer Python calls."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", default="stubbed", choices=["stubbed", "cuda"], help="device to measure (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="seconds per function (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a test: the figures mean nothing")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield every row of the table."""
    seconds = 0.0 if options.quick else options.seconds
    x = torch.randn(SMALL, requires_grad=True)
    yield from _measured(_with_gradient("CPU, ", x, x), partial(host_time, seconds=seconds, device="stubbed"))
    yield from _measured(_rows(options.device), partial(host_time, seconds=seconds, device=options.device))


@dataclass(frozen=True)
class Row:
    """Functions to compare, by form. ``shape`` is the shape of our input."""

    what: str
    shape: tuple[int, ...]
    functions: Functions


def _measured(rows: list[Row], timed: Callable[[Functions], Samples]) -> Iterator[Measurement]:
    """Time the functions of all rows in turns."""
    named = {(row.what, form): function for row in rows for form, function in row.functions.items()}
    samples = timed({" ".join(name): function for name, function in named.items()})
    for row in rows:
        of_row = {form: samples[f"{row.what} {form}"] for form in row.functions}
        found = Measurement(row.what, of_row, shape=row.shape)
        found.goals = _goals(found)
        yield found


def _goals(row: Measurement) -> list[Goal]:
    if row.what.startswith("CPU"):
        return []
    goals = []
    if row.what == "forward":
        goals.append(Goal(f"temporal_shift / {LAUNCH}", 1 / row.to_peer(LAUNCH), 0.6))
    if IDENTITY in row.samples:
        goals.append(Goal(f"{row.what} / {IDENTITY}", 1 / row.to_peer(IDENTITY), 2))
    return goals


def _rows(device: str) -> list[Row]:
    """Eager calls on a GPU or its stub."""
    from ..measure import stubbed_driver  # needs Triton

    if device == "stubbed":
        stubbed_driver.install()
    on = "cuda" if device == "cuda" else "cpu"
    x = torch.randn(SHAPE, device=on)
    small = x if device == "cuda" else torch.randn(SMALL)
    temporal_shift(small, n_div=2)  # the first call of a process may launch more kernels
    packed, residual = x.flatten(0, 1), torch.randn_like(x)
    B, L, _ = SHAPE
    lengths = torch.full((B,), L - 74, device=on)
    cu_seqlens = torch.arange(0, B * L + 1, L, device=on)

    def launched(what: str, ours: Callable[[], Tensor], shape: tuple[int, ...] = SHAPE, **others: Callable) -> Row:
        if not (launches := stubbed_driver.launches_of(ours)):
            raise RuntimeError(f"{what} launched no kernel; Triton must be 3.4 or newer and work on this machine")
        return Row(what, shape, {OURS: ours, LAUNCH: lambda: [launch() for launch in launches], **others})

    forward = launched("forward", lambda: temporal_shift(x))
    forward.functions.update({"clone": small.clone, "pad and cat": lambda: _pad_and_cat(small)})
    return [
        forward,
        launched("forward, lengths", lambda: temporal_shift(x, lengths=lengths)),
        launched("forward, cu_seqlens", lambda: temporal_shift(packed, cu_seqlens=cu_seqlens)),
        launched("temporal_shift_add", lambda: temporal_shift_add(x, residual)),
        launched("in place", lambda: temporal_shift(small, inplace=True), tuple(small.shape)),
        *_with_gradient("", x.clone().requires_grad_(), small.clone().requires_grad_()),
    ]


def _with_gradient(prefix: str, x: Tensor, small: Tensor) -> list[Row]:
    """Forward, then forward and backward. Functions that compute on the host get ``small`` instead of ``x``."""

    def both(forward: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
        upstream = torch.ones_like(x)
        return lambda: torch.autograd.grad(forward(x), x, upstream)

    forms = {
        OURS: (temporal_shift, x),
        IDENTITY: (Identity.apply, x),
        LEGACY: (LegacyIdentity.apply, x),
        "pad and cat": (_pad_and_cat, small),
    }
    return [
        Row(f"{prefix}forward with grad", tuple(x.shape), {form: partial(*call) for form, call in forms.items()}),
        Row(f"{prefix}forward + backward", tuple(x.shape), {form: both(*call) for form, call in forms.items()}),
    ]


def _pad_and_cat(x: Tensor) -> Tensor:
    width = x.shape[-1] // 8
    return torch.cat([F.pad(x[..., :width], (0, 0, 1, -1)), x[..., width:]], dim=-1)
