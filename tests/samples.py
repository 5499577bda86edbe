"""Inputs and arguments that a shift must be right on: random ones for hypothesis, and a fixed grid of edges."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)


@dataclass(frozen=True)
class Sample:
    """A tensor and the arguments of a shift of it."""

    x: torch.Tensor
    arguments: dict[str, object]


def numbered(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor in which neighbours differ, exact in every dtype."""
    values = torch.arange(1, int(np.prod(shape)) + 1).reshape(shape) % 251
    return values % 2 == 0 if dtype == torch.bool else values.to(dtype)


def as_numpy(x: torch.Tensor) -> np.ndarray:
    """``x`` for NumPy, which has no bfloat16; float32 holds each of its values."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().numpy()


@st.composite
def samples(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = DTYPES) -> Sample:
    """Any shape, layout, dtype and argument, small enough for loops."""
    leading = draw(st.lists(st.integers(0, 3), max_size=2))
    frames, channels = draw(st.integers(0, 7)), draw(st.integers(2, 11))
    bidirectional = draw(st.booleans())
    arguments: dict[str, object] = {
        "n_div": draw(st.integers(1 + bidirectional, channels)),
        "stride": draw(st.integers(-9, 9)),
        "bidirectional": bidirectional,
    }
    x = numbered((*leading, frames, channels), draw(st.sampled_from(dtypes)))
    order = draw(st.permutations(range(x.dim())))
    x = x.permute(order)
    time_dim, channel_dim = order.index(x.dim() - 2), order.index(x.dim() - 1)
    negative = draw(st.booleans())
    arguments["time_dim"] = time_dim - x.dim() * negative
    arguments["channel_dim"] = channel_dim - x.dim() * negative
    return Sample(draw(layouts(x)), arguments)


@st.composite
def layouts(draw: st.DrawFn, x: torch.Tensor) -> torch.Tensor:
    """The same shape in memory that is contiguous, permuted, strided, offset or expanded."""
    layout = draw(st.sampled_from(["permuted", "contiguous", "every_second", "offset", "expanded"]))
    if layout == "contiguous":
        return x.contiguous()
    if layout == "every_second":
        return torch.stack([x, x], dim=-1).flatten(-2)[..., ::2] if x.numel() else x
    if layout == "offset":
        return torch.cat([x, x], dim=0)[x.shape[0] :]
    if layout == "expanded" and x.shape[0] > 0:
        return x[:1].expand(x.shape)
    return x


def grid() -> list[Sample]:
    """Odd sizes, ``n_div`` that does not divide ``D``, strides up to and past ``L``, ``L`` of 0 and 1, odd layouts."""
    cases = []
    for frames, channels, bidirectional in itertools.product((0, 1, 2, 5, 33), (3, 8, 21), (False, True)):
        for n_div in sorted({1 + bidirectional, 2, 3, channels}):
            for stride in sorted({-1, 0, 1, 2, -frames, frames, frames + 3, -frames - 1}):
                x = numbered((2, frames, channels))
                arguments = {"n_div": n_div, "stride": stride, "bidirectional": bidirectional}
                cases.append(Sample(x, arguments))
    both_ways = {"n_div": 3, "stride": 2, "bidirectional": True}
    x = numbered((2, 3, 10, 14))
    cases += [
        Sample(x[..., ::2], both_ways),
        Sample(x.transpose(-1, -2), both_ways),
        Sample(x[:, 1], both_ways),
        Sample(x[:1].expand(4, 3, 10, 14), both_ways),
        Sample(x, {**both_ways, "time_dim": 1, "channel_dim": 2}),  # frames, channels, then a plane: (N, T, C, W)
        Sample(x.permute(3, 1, 0, 2), {**both_ways, "time_dim": 3, "channel_dim": 0}),
        Sample(numbered((9, 7)), both_ways),
        Sample(numbered((1, 300, 530)), both_ways),  # more than one tile along both dims
        Sample(numbered((1, 530, 300)).transpose(1, 2), both_ways),
    ]
    cases += [Sample(numbered((2, 6, 9), dtype), both_ways) for dtype in DTYPES]
    return cases
