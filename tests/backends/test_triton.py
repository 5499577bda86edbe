"""The Triton kernel, in the interpreter where there is no GPU, against the CPU."""

from __future__ import annotations

import pytest
import torch

from temporal_shift import temporal_shift
from temporal_shift.backends import aten
from tests.samples import Sample, grid, numbered

pytest.importorskip("triton", reason="Triton has no wheel here")
from temporal_shift.backends import triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def run_on_triton(monkeypatch):
    """From this call on, eager shifts of any device run on the kernel."""
    return lambda: monkeypatch.setattr(aten, "shift", triton.shift)


def test_the_kernel_equals_the_cpu_on_every_case_of_the_grid(run_on_triton, poisoned):
    samples = [sample for sample in grid() if not sample.x.is_complex()]  # those stay with plain tensor code
    expected = [temporal_shift(sample.x, **sample.arguments) for sample in samples]
    run_on_triton()
    wrong = []
    for sample, right in zip(samples, expected, strict=True):
        y = temporal_shift(sample.x.to(DEVICE), **sample.arguments).cpu()
        if y.shape != right.shape or not torch.equal(y, right):
            wrong.append((tuple(sample.x.shape), sample.x.stride(), sample.arguments))
    assert wrong == []


def test_the_kernels_gradient_equals_the_cpus_on_every_case_of_the_grid(run_on_triton, poisoned):
    samples = [sample for sample in grid() if sample.x.is_floating_point()]
    expected = [_gradient(sample, "cpu") for sample in samples]
    run_on_triton()
    wrong = [
        (tuple(sample.x.shape), sample.x.stride(), sample.arguments)
        for sample, right in zip(samples, expected, strict=True)
        if not torch.equal(_gradient(sample, DEVICE), right)
    ]
    assert wrong == []


def test_the_kernel_takes_leading_dims_that_do_not_merge(run_on_triton, poisoned):
    x = numbered((2, 6, 9, 4), torch.float32).transpose(0, 3).to(DEVICE)  # (W, T, C, N)
    arguments = {"n_div": 4, "stride": 2, "bidirectional": True, "time_dim": 1, "channel_dim": 2}
    expected = temporal_shift(x, **arguments)
    run_on_triton()
    assert torch.equal(temporal_shift(x, **arguments), expected)


def _gradient(sample: Sample, device: str) -> torch.Tensor:
    x = sample.x.detach().to(device).requires_grad_()
    y = temporal_shift(x, **sample.arguments)
    return torch.autograd.grad(y, x, numbered(tuple(y.shape), y.dtype).to(device))[0].cpu()
