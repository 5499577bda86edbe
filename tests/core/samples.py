"""Inputs and arguments for tests of the shift: strategies for Hypothesis, and fixed lists."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
DIFFERENTIABLE = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
PADDING_MODES = ("zeros", "replicate", "circular")


def examples(number: int) -> int:
    """``number`` examples of a Hypothesis test, times the environment variable ``TEST_EXAMPLES`` (default 1)."""
    return number * int(os.environ.get("TEST_EXAMPLES", "1"))


@dataclass(frozen=True)
class Sample:
    """A tensor and the arguments of a shift."""

    x: torch.Tensor
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.x.dtype} {tuple(self.x.shape)} with strides {self.x.stride()}, {self.arguments}"

    def on(self, device: str) -> Sample:
        arguments = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in self.arguments.items()}
        return Sample(self.x.to(device), arguments)


def numbered(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """1, 2, 3 and so on modulo 251, which each number dtype of ``DTYPES`` represents exactly.

    For bool, whether each of these numbers is even.
    """
    values = torch.arange(1, int(np.prod(shape)) + 1).reshape(shape) % 251
    return values % 2 == 0 if dtype == torch.bool else values.to(dtype)


def small(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A tensor of integers from 0 to 10, so that sums of a few of them are exact."""
    return (torch.arange(int(np.prod(shape))).reshape(shape) * 7 % 11).to(dtype)


def as_numpy(x: torch.Tensor) -> np.ndarray:
    """``x`` as an array. bfloat16, which NumPy lacks, becomes float32."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().numpy()


@st.composite
def samples(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = DTYPES) -> Sample:
    """Tensors of 2 to 4 dims in different layouts with valid arguments, small enough for the loops of the reference."""
    leading = draw(st.lists(st.integers(0, 3), max_size=2))
    frames, channels = draw(st.integers(0, 7)), draw(st.integers(2, 11))
    arguments = {**draw(movements(channels)), "padding_mode": draw(st.sampled_from(PADDING_MODES))}
    x = numbered((*leading, frames, channels), draw(st.sampled_from(dtypes)))
    order = draw(st.permutations(range(x.dim())))
    x = x.permute(order)
    time_dim, channel_dim = order.index(x.dim() - 2), order.index(x.dim() - 1)
    batch = [size for dim, size in enumerate(x.shape) if dim not in (time_dim, channel_dim)]
    arguments |= draw(sequences(batch, frames))
    negative = draw(st.booleans())
    arguments["time_dim"] = time_dim - x.dim() * negative
    arguments["channel_dim"] = channel_dim - x.dim() * negative
    return Sample(draw(layouts(x)), arguments)


@st.composite
def movements(draw: st.DrawFn, channels: int) -> dict[str, Any]:
    """The channels that move, given by ``n_div`` or by ``groups``."""
    if draw(st.booleans()):
        bidirectional = draw(st.booleans())
        n_div, stride = draw(st.integers(1 + bidirectional, channels)), draw(st.integers(-9, 9))
        return {"n_div": n_div, "stride": stride, "bidirectional": bidirectional}
    ends = sorted(draw(st.lists(st.integers(0, channels), max_size=6)))
    counts = [end - start for start, end in itertools.pairwise([0, *ends])]
    return {"groups": [(count, draw(st.integers(-9, 9))) for count in counts]}


@st.composite
def sequences(draw: st.DrawFn, batch: list[int], frames: int) -> dict[str, Any]:
    """The ends of the sequences: none, ``lengths`` or ``cu_seqlens``."""
    dtype = draw(st.sampled_from([torch.int32, torch.int64]))
    kind = draw(st.sampled_from([None, None, "lengths", "cu_seqlens"]))
    if kind == "lengths":
        shape = batch[: draw(st.integers(0, len(batch)))]
        count = int(np.prod(shape))
        values = draw(st.lists(st.integers(0, frames), min_size=count, max_size=count))
        return {"lengths": torch.tensor(values, dtype=dtype).reshape(shape)}
    if kind == "cu_seqlens":
        inner = sorted(draw(st.lists(st.integers(0, frames), max_size=4)))
        ends = [0, *inner, frames] if frames or inner else [0, 0] * draw(st.booleans()) or [0]
        return {"cu_seqlens": torch.tensor(ends, dtype=dtype)}
    return {}


@st.composite
def any_bounds(draw: st.DrawFn, batch: list[int], frames: int, ascending: bool = False) -> dict[str, Any]:
    """``lengths`` or ``cu_seqlens`` with any values: negative, too large, or with gaps at both ends.

    Without ``ascending``, ``cu_seqlens`` may be unsorted; then the result is unspecified.
    """
    dtype = draw(st.sampled_from([torch.int32, torch.int64]))
    extreme = torch.iinfo(dtype)
    values = st.one_of(st.integers(-3, frames + 3), st.sampled_from([extreme.min, extreme.max]))
    if draw(st.booleans()):
        shape = batch[: draw(st.integers(0, len(batch)))]
        count = int(np.prod(shape))
        drawn = draw(st.lists(values, min_size=count, max_size=count))
        return {"lengths": torch.tensor(drawn, dtype=dtype).reshape(shape)}
    drawn = draw(st.lists(values, min_size=1, max_size=5))
    return {"cu_seqlens": torch.tensor(sorted(drawn) if ascending or draw(st.booleans()) else drawn, dtype=dtype)}


@st.composite
def layouts(draw: st.DrawFn, x: torch.Tensor) -> torch.Tensor:
    """A tensor of the same shape that is contiguous, permuted, strided, offset or expanded."""
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


BOTH_WAYS = {"n_div": 3, "stride": 2, "bidirectional": True}
MULTI_STEP = {"groups": [(2, 3), (1, 0), (3, -2), (1, 1)]}  # groups that read the past, the future, or do not move


def kinds() -> list[Sample]:
    """``MULTI_STEP`` with each padding mode, without bounds and with each kind, then two-way shifts in four layouts."""
    sequences = [
        (numbered((2, 7, 9)), {}),
        (numbered((3, 7, 9)), {"lengths": torch.tensor([7, 1, 0])}),
        (numbered((7, 9)), {"cu_seqlens": torch.tensor([0, 3, 3, 4, 7], dtype=torch.int32)}),
    ]
    cases = [
        Sample(x, {**MULTI_STEP, "padding_mode": mode, **bounds})
        for mode, (x, bounds) in itertools.product(PADDING_MODES, sequences)
    ]
    return [
        *cases,
        Sample(numbered((2, 9, 7)).transpose(1, 2), BOTH_WAYS),
        Sample(numbered((2, 5, 8, 3, 2)), {"n_div": 4, "bidirectional": True, "time_dim": 1, "channel_dim": 2}),
        Sample(numbered((2, 7, 18))[..., ::2], BOTH_WAYS),
        Sample(numbered((7, 2, 9)), {**BOTH_WAYS, "time_dim": 0, "lengths": torch.tensor([4, 7])}),
    ]


def gallery() -> list[Sample]:
    """``kinds()``, then a one-way and a two-way shift with each mode and kind of bounds once, and special cases."""
    x, lengths, cu_seqlens = numbered((3, 7, 9)), torch.tensor([7, 1, 0]), torch.tensor([0, 3, 3, 4, 7])
    packed = {"cu_seqlens": cu_seqlens.int()}
    return [
        *kinds(),
        Sample(x, {"n_div": 4, "padding_mode": "zeros"}),
        Sample(x, {"n_div": 4, "padding_mode": "replicate", "lengths": lengths}),
        Sample(x[0], {"n_div": 4, "padding_mode": "circular", **packed}),
        Sample(x[0], {**BOTH_WAYS, "padding_mode": "zeros", **packed}),
        Sample(x, {**BOTH_WAYS, "padding_mode": "replicate"}),
        Sample(x, {**BOTH_WAYS, "padding_mode": "circular", "lengths": lengths}),
        Sample(x, {"stride": 0}),
        Sample(x[:, :3], {**BOTH_WAYS, "stride": 5}),
        Sample(x[:, :3], {**BOTH_WAYS, "stride": -5, "padding_mode": "replicate"}),
        Sample(x[:, :3], {**BOTH_WAYS, "stride": 5, "padding_mode": "circular"}),
        Sample(x, {"groups": [(9, 1)]}),
        Sample(numbered((2, 9, 7)), {**BOTH_WAYS, "time_dim": 2, "channel_dim": 1}),
    ]


def grid() -> list[Sample]:
    """Lengths from 0 to 33, with strides up to and beyond the length; then ``layout_cases()`` and ``gallery()``.

    Each length has its strides with every padding mode. The splits of the channels rotate: ``n_div`` need not divide
    ``D``.
    """
    splits = itertools.cycle(
        (channels, {"n_div": n_div, "bidirectional": bidirectional})
        for n_div, bidirectional, channels in itertools.product((1, 2, 3, 8, 21), (False, True), (3, 8, 21))
        if n_div > bidirectional and n_div in (1, 2, 3, channels)
    )
    cases = []
    for frames in (0, 1, 2, 5, 33):
        strides = sorted({-1, 0, 1, 2, -frames, frames, frames + 3, -frames - 1})
        for stride, mode in itertools.product(strides, PADDING_MODES):
            channels, split = next(splits)
            cases.append(Sample(numbered((2, frames, channels)), {**split, "stride": stride, "padding_mode": mode}))
    return cases + layout_cases() + gallery()


def layout_cases() -> list[Sample]:
    """Tensors of different strides and alignments, and tensors that need several tiles or launches."""
    x = numbered((2, 3, 10, 14))
    layouts = [
        Sample(x[..., ::2], BOTH_WAYS),
        Sample(x.transpose(-1, -2), BOTH_WAYS),
        Sample(x[:, 1], BOTH_WAYS),
        Sample(x[:1].expand(4, 3, 10, 14), BOTH_WAYS),
        Sample(x, {**BOTH_WAYS, "time_dim": 1, "channel_dim": 2}),  # a dim after the channels: (N, T, C, W)
        Sample(x.permute(3, 1, 0, 2), {**BOTH_WAYS, "time_dim": 3, "channel_dim": 0}),
        Sample(numbered((2, 6, 9, 4)).transpose(0, 3), {**BOTH_WAYS, "time_dim": 1, "channel_dim": 2}),
        Sample(numbered((9, 7)), BOTH_WAYS),
        Sample(numbered((2, 3, 2, 5, 2, 9)).permute(4, 0, 2, 1, 3, 5), BOTH_WAYS),  # permuted leading dims
        Sample(numbered((1, 20, 800)), BOTH_WAYS),  # more than one tile
        Sample(numbered((1, 140, 100)), BOTH_WAYS),
        Sample(numbered((1, 30, 300)).transpose(1, 2), BOTH_WAYS),
        Sample(numbered((1, 40, 600)), {"groups": [(50, i) for i in range(-5, 6)]}),  # more groups than fit in a launch
        Sample(numbered((3, 130, 9)), {**BOTH_WAYS, "lengths": torch.tensor([130, 64, 3])}),
        Sample(numbered((200, 9)), {**BOTH_WAYS, "cu_seqlens": torch.tensor([0, 0, 90, 91, 200])}),
        Sample(numbered((2, 4, 5, 9)), {**BOTH_WAYS, "lengths": torch.tensor([[5, 0, 2, 1], [3, 5, 5, 4]])}),
        Sample(numbered((2, 4, 5, 9)), {**BOTH_WAYS, "lengths": torch.tensor(3)}),
    ]
    cases = [Sample(s.x, {**s.arguments, "padding_mode": mode}) for s in layouts for mode in PADDING_MODES]
    aligned = [  # rows of several vectors or words, and groups that end within one
        *(Sample(numbered((2, 5, 48), dtype), {"n_div": n}) for dtype in DTYPES for n in (3, 5, 7)),
        *(Sample(numbered((2, 6, 12 * n)).half(), {"groups": [(n, 1), (12, -1), (3, 2)]}) for n in (5, 7, 8)),
        *(
            Sample(numbered((2, 9, frames), dtype), {**BOTH_WAYS, "stride": stride, "time_dim": 2, "channel_dim": 1})
            for dtype, frames in ((torch.bool, 24), (torch.bfloat16, 12), (torch.bfloat16, 6), (torch.float32, 270))
            for stride in (1, 2, -3, 5, -9, 300)
        ),
    ]
    cases += aligned + [Sample(s.x[1:], s.arguments) for s in aligned[::5]]
    cases += [Sample(numbered((2, 6, 9), dtype), BOTH_WAYS) for dtype in DTYPES]
    return cases
