"""Variants of the kernel: how to call them, and the floor of the bytes that they read and write."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from temporal_shift.core.geometry import ShiftGeometry, groups_of_share

LAYOUTS = ("(B, L, D)", "(B, D, L)")
DTYPES = ("float32", "float16", "bfloat16", "float64")
CHANNELS, N_DIVS = (144, 384, 512, 768, 1000), (3, 4, 5, 8, 16)


@dataclass(frozen=True)
class Traffic:
    """Bytes read and written by the kernel."""

    read: int  # from x and the residual
    written: int
    index: int = 0  # read from the bounds of sequences


@dataclass(frozen=True)
class Variant:
    """A kind of shift and the size of its input."""

    form: str  # plain or add
    padding: str  # a padding mode, or "replicate, transposed": the gradient of replicate
    ragged: str  # whole, lengths or packed
    layout: str  # one of LAYOUTS
    dtype: str
    frames: int
    channels: int = 768
    n_div: int = 4

    @property
    def itemsize(self) -> int:
        return getattr(torch, self.dtype).itemsize

    @property
    def shape(self) -> tuple[int, int, int]:
        lengths = (self.frames, self.channels) if self.layout == "(B, L, D)" else (self.channels, self.frames)
        return (8, *lengths)

    def call(self, backend: ModuleType, sequences: list[int], frames: int, channels: int, stride: int, device: str):
        """Run a bidirectional shift of sequences with these lengths. Unless packed, they are padded to ``frames``."""
        packed = self.ragged == "packed"
        batch = () if packed else (len(sequences),)
        x = self._tensor(batch, sum(sequences) if packed else frames, channels, device)
        bounds = None if self.ragged == "whole" else self._bounds(sequences).to(device)
        geometry = self._geometry(len(batch), channels, stride)
        backend.shift(x, torch.ones_like(x) if self.form == "add" else None, bounds, geometry)

    def floor(self, sequences: list[int], frames: int, channels: int, stride: int) -> Traffic:
        """Each value of x in a sequence is read once, and each result is written once. A sum reads the whole residual.

        With the padding mode ``zeros``, values that leave the sequence are not read. Padding frames are written, but
        not read from x.
        """
        groups = groups_of_share(channels, self.n_div, stride, True)
        lost = abs(stride) if self.padding == "zeros" else 0
        read = sum(
            group.channels * max(length - (lost if group.frames else 0), 0) for group in groups for length in sequences
        )
        padding = len(sequences) * frames - sum(sequences) if self.ragged == "lengths" else 0
        written = channels * (sum(sequences) + padding)
        return Traffic((read + (written if self.form == "add" else 0)) * self.itemsize, written * self.itemsize)

    @property
    def index_dtype(self) -> torch.dtype:
        """The dtype of bounds. Its size differs from x's, to distinguish accesses to the two."""
        return torch.int32 if self.itemsize == 8 else torch.int64

    def _tensor(self, batch: tuple[int, ...], frames: int, channels: int, device: str) -> Tensor:
        shape = (*batch, frames, channels) if self.layout == "(B, L, D)" else (*batch, channels, frames)
        return torch.zeros(shape, dtype=getattr(torch, self.dtype), device=device)

    def _bounds(self, sequences: list[int]) -> Tensor:
        values = sequences if self.ragged == "lengths" else list(itertools.accumulate(sequences, initial=0))
        return torch.tensor(values, dtype=self.index_dtype)

    def _geometry(self, leading: int, channels: int, stride: int) -> ShiftGeometry:
        dims = (0, 1) if self.layout == "(B, L, D)" else (1, 0)
        groups = groups_of_share(channels, self.n_div, stride, True)
        ragged = {"whole": None, "lengths": "lengths", "packed": "cu_seqlens"}[self.ragged]
        transposed = self.padding == "replicate, transposed"
        mode = "replicate" if transposed else self.padding
        return ShiftGeometry(groups, *dims, mode, ragged, transposed).behind(leading)


def every_variant() -> list[Variant]:
    """Each form, padding, kind of bounds and layout with the main dtypes; then plain shifts of other shapes and n_div.

    Sums and gradients of ``replicate`` leave out float64. Other dtypes are not included.
    """
    paddings = ("zeros", "replicate", "circular")
    forms = [(form, padding) for form in ("plain", "add") for padding in paddings]
    forms.insert(3, ("plain", "replicate, transposed"))
    variants = [
        Variant(form, padding, ragged, layout, dtype, frames)
        for (layout, frames), (form, padding), ragged in itertools.product(
            zip(LAYOUTS, (374, 384), strict=True), forms, ("whole", "lengths", "packed")
        )
        for dtype in (DTYPES[:3] if form == "add" or "transposed" in padding else DTYPES)
    ]
    shapes = [("(B, L, D)", 374, channels, n_div) for channels, n_div in itertools.product(CHANNELS, N_DIVS)]
    shapes += [("(B, D, L)", frames, 768, 4) for frames in (374, 511, 512)]
    for (layout, *sizes), dtype in itertools.product(shapes, ("float32", "bfloat16")):
        variants.append(Variant("plain", "zeros", "whole", layout, dtype, *sizes))
    return list(dict.fromkeys(variants))


def traffic(variant: Variant, sequences: list[int], frames: int, channels: int, stride: int) -> Traffic:
    """The bytes that the kernel reads and writes in Triton's interpreter. Repeated accesses of a program count once.

    ``TRITON_INTERPRET`` must be 1 before Triton is imported.
    """
    from temporal_shift.core import triton as backend

    with _counting(variant.index_dtype) as counts:
        variant.call(backend, sequences, frames, channels, stride, "cpu")
    return Traffic(**{kind: sum(map(len, of_program.values())) for kind, of_program in counts.items()})


@contextmanager
def _counting(index_dtype: torch.dtype) -> Iterator[dict[str, dict[tuple[int, ...], set[int]]]]:
    """Record the addresses that each program accesses, by kind."""
    from triton.runtime.interpreter import interpreter_builder as builder

    counts: dict[str, dict[tuple[int, ...], set[int]]] = {"read": {}, "written": {}, "index": {}}
    index = str(index_dtype).removeprefix("torch.")

    def count(kind, pointers, mask):
        size = pointers.get_element_ty().primitive_bitwidth // 8
        addresses = np.broadcast_to(pointers.data, mask.data.shape)[mask.data]
        of_bytes = (addresses[:, None] + np.arange(size, dtype=addresses.dtype)).ravel()
        counts[kind].setdefault(tuple(builder.grid_idx), set()).update(of_bytes.tolist())

    def load(pointers, mask, *others):
        count("index" if str(pointers.get_element_ty()) == index else "read", pointers, mask)
        return type(builder).create_masked_load(builder, pointers, mask, *others)

    def store(pointers, value, mask, *others):
        count("written", pointers, mask)
        return type(builder).create_masked_store(builder, pointers, value, mask, *others)

    builder.create_masked_load, builder.create_masked_store = load, store
    try:
        yield counts
    finally:
        del builder.create_masked_load, builder.create_masked_store
