"""The kernels that ``torch.compile`` generates for a shift on a GPU, as docs/compile.md describes them."""

from __future__ import annotations

import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

from benchmarks import fusion
from benchmarks.__main__ import main

pytestmark = pytest.mark.skipif(
    not torch.__version__.startswith("2.13."), reason="reads Inductor's code through internals of torch 2.13"
)


def test_compile_fuses_a_shift_with_its_neighbours_on_a_gpu_as_the_page_says():
    kernels = {}
    for name in ("gelu(shift(x))", "LayerNorm(shift(x) + h)", "shift(LayerNorm(x))", "ShiftConv(x)"):
        function, inputs = fusion.cases()[name]
        kernels[name] = [elements for _, elements in fusion.launches(function, inputs) if elements is not None]
    assert kernels["gelu(shift(x))"] == kernels["LayerNorm(shift(x) + h)"] == [1.0]
    assert kernels["shift(LayerNorm(x))"] == [1.0, 0.125, 0.875]
    assert kernels["ShiftConv(x)"][-2:] == [4.0, 1.0]  # GELU, then the shift with both sums


def test_help_prints_the_usage_and_no_report(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "fusion", "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m benchmarks fusion")
