"""Requirements on the machine code and memory traffic of the GPU kernels, measured without a GPU."""

from __future__ import annotations

import argparse

import pytest

pytest.importorskip("triton.knobs", reason="Triton is not installed, or has no module knobs")
pytest.importorskip("rich", reason="the benchmarks print with rich")

from benchmarks.measure.kernels.variants import Variant, every_variant
from benchmarks.report import kernel_tables
from benchmarks.suites import kernels

TARGETS = ("sm_90", "gfx942")
COMPILED = [  # form, padding, ragged, dtype, channels, n_div
    ("plain", "zeros", "whole", "float16", 768, 4),
    ("plain", "replicate", "whole", "float32", 768, 4),
    ("plain", "circular", "whole", "float16", 768, 4),
    ("plain", "replicate", "lengths", "float16", 768, 4),
    ("plain", "zeros", "packed", "float32", 768, 4),
    ("add", "zeros", "whole", "float32", 768, 4),
    ("add", "circular", "packed", "float16", 768, 4),
    ("plain", "zeros", "whole", "bfloat16", 144, 8),
    ("plain", "zeros", "whole", "float32", 1000, 16),
    ("plain", "zeros", "whole", "float32", 768, 5),
]


def moves_words(variant: Variant) -> bool:
    return (variant.form, variant.padding, variant.ragged, variant.layout) == ("plain", "zeros", "whole", "(B, D, L)")


def counted_variants() -> list[Variant]:
    """Every sixth variant in float32 and every sixth in float16, so that the test is short."""
    words, halves = ([each for each in every_variant() if each.dtype == dtype] for dtype in ("float32", "float16"))
    return words[::6] + halves[3::6]


@pytest.fixture(scope="module", autouse=True)
def _one_process():
    """Compile in this process: starting others takes longer, because each imports torch."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("os.cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def binaries():
    """Figures of the kernels on ``(B, L, D)``, by variant and target."""
    variants = [Variant(*kernel[:3], "(B, L, D)", kernel[3], 374, *kernel[4:]) for kernel in COMPILED]
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
def test_every_access_to_aligned_frames_is_128_bits_wide_or_64_if_groups_end_there(binaries, kind):
    widths = {at: set(binary[kind]) for at, binary in binaries.items()}
    assert {at for at, found in widths.items() if found != {128}} <= {at for at in widths if at[0].n_div == 16}
    assert set().union(*widths.values()) == {64, 128}


def test_no_kernel_reads_or_writes_a_byte_above_the_floor():
    """Skips kernels that copy words of several frames, and other ``n_div`` than 4: both may access more bytes."""
    variants = [variant for variant in counted_variants() if variant.n_div == 4 and not moves_words(variant)]
    touched = {variant: row["bytes"] for variant, row in kernels.counted(variants)}
    assert len(touched) == len(variants)
    for kind in ("read", "written"):
        assert {at: count for at, count in touched.items() if count[kind] > count[f"floor_{kind}"]} == {}
        assert all(count[kind] > 0 for count in touched.values())


def test_the_report_has_a_line_per_variant_and_goals_count_violations(monkeypatch):
    binary = {"registers": 32, "spills": 0, "shared": 0, "instructions_per_16_bytes": 44.0}
    binary |= {"loads": {128: 4}, "stores": {128: 4}}
    fat = {**binary, "registers": 48, "spills": 2, "stores": {32: 8}}
    touched = {"read": 3.9, "written": 4.0, "floor_read": 3.9, "floor_written": 4.0}
    monkeypatch.setattr(
        kernels,
        "compiled",
        lambda variants, targets: [
            (variant, {"idle": 0.2, "targets": {"sm_80": binary, "sm_90": fat}}) for variant in variants
        ],
    )
    monkeypatch.setattr(kernels, "counted", lambda variants: [(variant, {"bytes": touched}) for variant in variants])
    found = list(kernels.measure(argparse.Namespace(quick=True)))
    settings = ["zeros, whole, n_div 4, (B, L, D)", "zeros, whole, n_div 4, (B, D, L)"]
    assert [each.setting for each in found] == settings
    goals = {goal.what: goal.measured for each in found for goal in each.goals}
    assert list(goals.values()) == [2, 2, 1, 20, 44, 0]
    lines = [{"kind": each.kind, **each.line()} for each in found]
    row, _ = kernel_tables.by_form(lines).rows
    assert row[:4] == ("plain, (B, L, D)", "1", "32 to 48", "0 to 2")
    assert len(kernel_tables.of_layout(lines, "(B, L, D)").rows) == 1
