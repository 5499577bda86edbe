"""Peak memory of a function, and memory saved by autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.measure import memory

MIB = 1 << 20


def test_the_peak_counts_memory_allocated_at_the_same_time():
    forms = {
        "at once": "sum(x.sum() for x in [torch.ones(16 << 18) for _ in range(3)])",
        "in turn": "sum(torch.ones(16 << 18).sum() for _ in range(3))",
        "small": "torch.ones(1)",
    }
    peaks = memory.peaks("import torch", forms)
    if not peaks:
        pytest.skip("peak memory is measured only on Linux")
    allocated = {"at once": 48 * MIB, "in turn": 16 * MIB, "small": 0}
    assert peaks == pytest.approx(allocated, abs=MIB)  # Linux updates its counters in batches of pages


def test_kept_memory_counts_each_storage_once_without_inputs_and_weights():
    x, layer = torch.randn(8, 16, requires_grad=True), nn.Linear(16, 16)
    assert memory.kept_for_backward(lambda: x * 2) == 0
    assert memory.kept_for_backward(lambda: x * x, [x]) == 0
    assert memory.kept_for_backward(lambda: x * x) == 8 * 16 * 4
    assert memory.kept_for_backward(lambda: x.exp(), [x]) == 8 * 16 * 4
    assert memory.kept_for_backward(lambda: layer(x.exp()), [x, *layer.parameters()]) == 8 * 16 * 4
