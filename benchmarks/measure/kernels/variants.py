"""Every variant of the two kernels: how it is called, and how little memory it could touch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from temporal_shift.core.geometry import ShiftGeometry, groups_of_share

LAYOUTS = ("(B, L, D)", "(B, D, L)")
DTYPES = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True)
class Traffic:
    """Elements that go through memory; ``index`` is in bytes, for what says where sequences end is not a part of x."""

    read: int
    written: int
    index: int = 0


@dataclass(frozen=True)
class Variant:
    """``form`` is plain, add or in place; ``ragged`` is whole, lengths or packed; the rest is as in the package."""

    form: str
    padding: str
    ragged: str
    layout: str
    dtype: str

    @property
    def itemsize(self) -> int:
        return getattr(torch, self.dtype).itemsize

    def call(self, backend: ModuleType, sequences: list[int], frames: int, channels: int, stride: int, device: str):
        """One call of the kernel with ``n_div=4``, both ways; packed sequences follow each other without padding."""
        packed = self.ragged == "packed"
        batch = () if packed else (len(sequences),)
        frames = sum(sequences) if packed else frames
        x = self._tensor(batch, frames, channels, device)
        bounds = None if self.ragged == "whole" else self._bounds(sequences).to(device)
        geometry = self._geometry(len(batch), channels, stride)
        if self.form == "in place":
            backend.shift_(x, bounds, geometry)
        else:
            backend.shift(x, torch.ones_like(x) if self.form == "add" else None, bounds, geometry)

    def floor(self, sequences: list[int], frames: int, channels: int, stride: int) -> Traffic:
        """Each value read once where it is needed at all, each result written once; in place, of what moves only.

        Where zeros come in from outside, nothing is read for them; a padded frame is written and not read.
        """
        groups = groups_of_share(channels, 4, stride, True)
        if self.form == "in place":
            groups = tuple(group for group in groups if group.frames)
        lost = abs(stride) if self.padding == "zeros" else 0
        read = sum(
            group.channels * max(length - (lost if group.frames else 0), 0) for group in groups for length in sequences
        )
        padding = len(sequences) * frames - sum(sequences) if self.ragged == "lengths" else 0
        if self.form == "in place":
            written = sum(group.channels for group in groups) * sum(sequences) + channels * padding
        else:
            written = channels * (sum(sequences) + padding)
        return Traffic(read + (written if self.form == "add" else 0), written)

    @property
    def index_dtype(self) -> torch.dtype:
        """Of lengths: never that of the words that x is moved in, so that the two can be told apart."""
        return torch.int32 if self.itemsize == 8 else torch.int64

    def _tensor(self, batch: tuple[int, ...], frames: int, channels: int, device: str) -> Tensor:
        shape = (*batch, frames, channels) if self.layout == "(B, L, D)" else (*batch, channels, frames)
        return torch.zeros(shape, dtype=getattr(torch, self.dtype), device=device)

    def _bounds(self, sequences: list[int]) -> Tensor:
        values = sequences if self.ragged == "lengths" else list(itertools.accumulate(sequences, initial=0))
        return torch.tensor(values, dtype=self.index_dtype)

    def _geometry(self, leading: int, channels: int, stride: int) -> ShiftGeometry:
        dims = (0, 1) if self.layout == "(B, L, D)" else (1, 0)
        groups = groups_of_share(channels, 4, stride, True)
        ragged = {"whole": None, "lengths": "lengths", "packed": "cu_seqlens"}[self.ragged]
        transposed = self.padding == "replicate, transposed"
        mode = "replicate" if transposed else self.padding
        return ShiftGeometry(groups, *dims, mode, ragged, transposed).behind(leading)


def every_variant() -> list[Variant]:
    """All that the package can launch, but for other dtypes: they move as words of one of these sizes."""
    paddings = ("zeros", "replicate", "circular")
    forms = [(form, padding) for form in ("plain", "add", "in place") for padding in paddings]
    forms.insert(3, ("plain", "replicate, transposed"))
    return [
        Variant(form, padding, ragged, layout, dtype)
        for layout, (form, padding), ragged in itertools.product(LAYOUTS, forms, ("whole", "lengths", "packed"))
        for dtype in (DTYPES[:3] if form == "add" or "transposed" in padding else DTYPES)
    ]


def traffic(variant: Variant, sequences: list[int], frames: int, channels: int, stride: int) -> Traffic:
    """What the kernel reads and writes, counted as Triton's interpreter runs it: every lane whose mask is on.

    The process must have been started with ``TRITON_INTERPRET=1``.
    """
    from temporal_shift.core import triton as backend

    with _counting(variant.index_dtype) as counts:
        variant.call(backend, sequences, frames, channels, stride, "cpu")
    return Traffic(counts["read"], counts["written"], counts["index"] * variant.index_dtype.itemsize)


@contextmanager
def _counting(index_dtype: torch.dtype) -> Iterator[dict[str, int]]:
    from triton.runtime.interpreter import interpreter_builder as builder

    counts = {"read": 0, "written": 0, "index": 0}
    index = str(index_dtype).removeprefix("torch.")

    def load(pointers, mask, *others):
        kind = "index" if str(pointers.get_element_ty()) == index else "read"
        counts[kind] += int(mask.data.sum())
        return type(builder).create_masked_load(builder, pointers, mask, *others)

    def store(pointers, value, mask, *others):
        counts["written"] += int(mask.data.sum())
        return type(builder).create_masked_store(builder, pointers, value, mask, *others)

    builder.create_masked_load, builder.create_masked_store = load, store
    try:
        yield counts
    finally:
        del builder.create_masked_load, builder.create_masked_store
