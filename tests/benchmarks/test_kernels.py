"""What the GPU kernels must compile to and may read and write, measured without a GPU in processes of their own."""

from __future__ import annotations

import argparse

import pytest

pytest.importorskip("triton.knobs", reason="Triton has no wheel here, or is older than what the report reads")
pytest.importorskip("rich", reason="the benchmarks print with rich")

from benchmarks.measure.kernels.variants import Variant, every_variant
from benchmarks.report import kernel_tables
from benchmarks.suites import kernels

TARGETS = ("sm_90", "gfx942")
PADDINGS = ("zeros", "replicate", "circular")
COMPILED = [  # those whose programs look at each other in both dtypes, the others in one, by turns
    *(("in place", padding, "whole", dtype) for padding in PADDINGS for dtype in ("float32", "float16")),
    *(("in place", "circular", "lengths", dtype) for dtype in ("float32", "float16")),
    ("plain", "zeros", "whole", "float16"),
    ("plain", "replicate", "whole", "float32"),
    ("plain", "circular", "whole", "float16"),
    ("plain", "replicate, transposed", "whole", "float16"),
    ("plain", "replicate", "lengths", "float16"),
    ("plain", "zeros", "packed", "float32"),
    ("add", "zeros", "whole", "float32"),
    ("add", "circular", "packed", "float16"),
]


def counted_variants() -> list[Variant]:
    """Every kernel in every layout; a dtype is but the size of a word and of a tile, and takes turns."""
    words, halves = ([each for each in every_variant() if each.dtype == dtype] for dtype in ("float32", "float16"))
    return words[::2] + halves[1::2]


@pytest.fixture(scope="module")
def binaries():
    """Figures of the kernels on ``(B, L, D)``, by variant and target."""
    variants = [Variant(*kernel, "(B, L, D)", dtype) for *kernel, dtype in COMPILED]
    return {
        (variant, target): binary
        for variant, row in kernels.compiled(variants, TARGETS)
        for target, binary in row["targets"].items()
    }


def test_no_kernel_spills_a_register(binaries):
    assert [at for at, binary in binaries.items() if binary["spills"] > 0] == []


def test_every_kernel_fits_into_40_registers(binaries):
    assert {at: binary["registers"] for at, binary in binaries.items() if binary["registers"] > 40} == {}


@pytest.mark.parametrize("kind", ["loads", "stores"])
def test_every_access_to_aligned_frames_is_128_bits_wide(binaries, kind):
    assert {at: dict(binary[kind]) for at, binary in binaries.items() if set(binary[kind]) != {128}} == {}


def test_in_place_no_thread_writes_what_another_is_yet_to_read(binaries):
    in_place = {at: binary for at, binary in binaries.items() if at[0].form == "in place"}
    assert len(in_place) == 16
    assert {at: binary["unguarded"] for at, binary in in_place.items() if binary["unguarded"]} == {}
    assert any(binary["unguarded"] for at, binary in binaries.items() if at not in in_place)


def test_no_kernel_reads_or_writes_a_byte_above_the_floor():
    variants = counted_variants()
    touched = {variant: row["bytes"] for variant, row in kernels.counted(variants)}
    assert len(touched) == len(variants)
    for kind in ("read", "written"):
        assert {at: count for at, count in touched.items() if count[kind] > count[f"floor_{kind}"]} == {}
        assert all(count[kind] > 0 for count in touched.values())


def test_the_report_has_a_line_for_each_variant_and_its_goals_count_what_is_beyond_them(monkeypatch):
    binary = {"registers": 32, "spills": 0, "shared": 0, "instructions_per_16_bytes": 44.0}
    binary |= {"loads": {128: 4}, "stores": {128: 4}}
    fat = {**binary, "registers": 48, "spills": 2, "stores": {64: 8}}
    touched = {"read": 3.9, "written": 4.0, "floor_read": 3.9, "floor_written": 4.0}
    monkeypatch.setattr(
        kernels,
        "compiled",
        lambda variants, targets: [(variant, {"targets": {"sm_80": binary, "sm_90": fat}}) for variant in variants],
    )
    monkeypatch.setattr(kernels, "counted", lambda variants: [(variant, {"bytes": touched}) for variant in variants])
    found = list(kernels.measure(argparse.Namespace(quick=True)))
    assert [each.setting for each in found] == ["zeros, whole, (B, L, D)", "zeros, whole, (B, D, L)"]
    goals = {goal.what: goal.measured for each in found for goal in each.goals}
    assert list(goals.values()) == [2, 2, 0, 1, 0]
    lines = [{"kind": each.kind, **each.line()} for each in found]
    (row,) = kernel_tables.by_form(lines).rows
    assert row[:4] == ("plain", "2", "32 to 48", "0 to 2")
    assert len(kernel_tables.of_layout(lines, "(B, L, D)").rows) == 1
