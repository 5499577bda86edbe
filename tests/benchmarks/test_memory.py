"""What memory a function takes, as the system and as autograd see it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.measure import memory

MIB = 1 << 20


def test_the_peak_is_what_was_allocated_at_once_and_not_what_came_one_after_another():
    forms = {
        "at once": "sum(x.sum() for x in [torch.ones(16 << 18) for _ in range(3)])",
        "in turn": "sum(torch.ones(16 << 18).sum() for _ in range(3))",
        "small": "torch.ones(1)",
    }
    peaks = memory.peaks("import torch", forms)
    if not peaks:
        pytest.skip("only Linux says what it was")
    allocated = {"at once": 48 * MIB, "in turn": 16 * MIB, "small": 0}
    assert peaks == pytest.approx(allocated, abs=MIB)  # Linux counts pages by the dozen


def test_what_is_kept_for_backward_counts_once_and_without_what_is_there_anyway():
    x, layer = torch.randn(8, 16, requires_grad=True), nn.Linear(16, 16)
    assert memory.kept_for_backward(lambda: x * 2) == 0
    assert memory.kept_for_backward(lambda: x * x, [x]) == 0
    assert memory.kept_for_backward(lambda: x * x) == 8 * 16 * 4
    assert memory.kept_for_backward(lambda: x.exp(), [x]) == 8 * 16 * 4
    assert memory.kept_for_backward(lambda: layer(x.exp()), [x, *layer.parameters()]) == 8 * 16 * 4
