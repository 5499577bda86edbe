"""The Triton kernels equal the CPU. Without a GPU they run in Triton's interpreter."""

from __future__ import annotations

import inspect

import pytest
import torch

from temporal_shift import temporal_shift, temporal_shift_add
from temporal_shift.core import dispatch
from temporal_shift.core.arguments import resolve
from tests.core.samples import Sample, gallery, grid, numbered, small

pytest.importorskip("triton", reason="Triton has no wheel here")
import triton.language as tl

from temporal_shift.core import triton
from temporal_shift.core.triton import kernels
from temporal_shift.core.triton.launches import plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def run_on_triton(monkeypatch):
    """After this call, eager shifts of any device run on the kernels if these support them."""

    def run():
        monkeypatch.setattr(dispatch, "triton_devices", {"cpu", "cuda"})

    return run


def assert_equal_on_triton(samples, function, run_on_triton):
    expected = [function(sample) for sample in samples]
    run_on_triton()
    wrong = [
        str(sample)
        for sample, right in zip(samples, expected, strict=True)
        if not torch.equal(function(sample.on(DEVICE)).cpu(), right)
    ]
    assert wrong == []


def shifted(sample: Sample) -> torch.Tensor:
    return temporal_shift(sample.x, **sample.arguments)


def test_the_kernel_equals_the_cpu_on_every_case_of_the_grid(run_on_triton, poisoned):
    assert_equal_on_triton(grid(), shifted, run_on_triton)


def test_the_kernels_gradient_equals_the_cpus(run_on_triton, poisoned):
    """On every case of the grid where it is not a shift, which the test above covers."""

    def gradient(sample):
        x = sample.x.detach().requires_grad_()
        y = temporal_shift(x, **sample.arguments)
        return torch.autograd.grad(y, x, small(tuple(y.shape), y.dtype).to(y.device))[0]

    samples = [sample for sample in grid() if sample.arguments.get("padding_mode") == "replicate"] + gallery()
    assert_equal_on_triton(samples, gradient, run_on_triton)


def test_the_kernel_in_place_equals_the_cpu_on_every_case_of_the_grid(run_on_triton):
    def in_place(sample):
        x = sample.x.clone()
        assert temporal_shift(x, **sample.arguments, inplace=True) is x
        return x

    assert_equal_on_triton(grid(), in_place, run_on_triton)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_fused_sum_equals_the_cpus_on_every_sample(run_on_triton, poisoned, dtype):
    def added(sample):
        x = sample.x.to(dtype)
        residual = small(tuple(x.shape), torch.float32) / 3  # on the CPU: a GPU multiplies by the inverse of 3
        return temporal_shift_add(x, residual.to(x.device), **sample.arguments)

    assert_equal_on_triton(gallery(), added, run_on_triton)


def test_a_sum_of_halves_is_rounded_once(run_on_triton):
    x, residual = torch.full((1, 2, 16), 2049.0 / 2).half(), torch.full((1, 2, 16), 0.75).half()
    expected = temporal_shift_add(x, residual, n_div=2)
    run_on_triton()
    assert torch.equal(temporal_shift_add(x.to(DEVICE), residual.to(DEVICE), n_div=2).cpu(), expected)


def test_a_long_circular_shift_in_place_is_exact(run_on_triton):
    x = numbered((2, 90, 6)).to(DEVICE)
    expected = temporal_shift(x, n_div=2, stride=40, padding_mode="circular")
    run_on_triton()
    assert torch.equal(temporal_shift(x, n_div=2, stride=40, padding_mode="circular", inplace=True), expected)


def test_no_strided_input_is_copied(run_on_triton, monkeypatch):
    read = []

    class Recorder:
        def __getitem__(self, grid):
            return lambda x, *_, **__: read.append(x.untyped_storage().data_ptr())

    monkeypatch.setattr(triton, "shift_kernel", Recorder())
    run_on_triton()
    for sample in grid():
        x = sample.x.to(DEVICE)
        temporal_shift(x, **sample.on(DEVICE).arguments)
        assert set(read) == ({x.untyped_storage().data_ptr()} if x.numel() else set())
        read.clear()


def test_lengths_beyond_the_tensor_are_clamped_without_a_synchronization(run_on_triton):
    x = numbered((3, 5, 4)).to(DEVICE)
    run_on_triton()
    lengths = torch.tensor([9, -3, 2], device=DEVICE)
    assert torch.equal(
        temporal_shift(x, n_div=2, lengths=lengths), temporal_shift(x, n_div=2, lengths=lengths.clamp(0, 5))
    )


def test_another_length_or_step_does_not_recompile_a_kernel():
    def compiled_for(frames, stride):
        x = torch.empty(8, frames, 768, device="meta")
        geometry = resolve(x, 4, stride, True, "zeros", None, None, -2, -1)
        (launch,) = plan(geometry, x.shape, (x.stride(),) * 3 + ((0, 0, 0),), 1, 4, False, torch.float32)
        names = inspect.getfullargspec(kernels.shift_kernel.fn).args[4:]
        values = zip(names, launch.arguments, strict=False)
        special = {
            name: (value == 1, value % 16 == 0) for name, value in values if name not in (*kernels.FREE, "halvings")
        }
        return special, launch.constants

    assert all(compiled_for(*other) == compiled_for(374, 1) for other in [(375, 1), (384, 2), (3740, 16), (101, -3)])


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_a_step_of_any_size_fits_into_32_bits(padding_mode):
    x = torch.empty(1, 100, 768, device="meta")
    geometry = resolve(x, 4, 10**12, True, padding_mode, None, None, -2, -1)
    (launch,) = plan(geometry, x.shape, (*[x.stride()] * 3, (0, 0, 0)), 1, 4, False, torch.float32)
    assert max(map(abs, launch.arguments)) < 2**31


def test_offsets_are_64_bit_where_a_tensor_needs_them():
    for frames, offset in ((1000, tl.int32), (3_000_000, tl.int64)):
        x = torch.empty(1, frames, 768, device="meta")
        geometry = resolve(x, 8, 1, False, "zeros", None, None, -2, -1)
        strides = (x.stride(), x.stride(), x.stride(), (0, 0, 0))
        (launch,) = plan(geometry, x.shape, strides, 1, 4, False, torch.float32)
        assert launch.constants["OFFSET"] == offset
