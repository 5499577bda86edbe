"""The Triton kernel gives the same result as the CPU backend. Without a GPU, it runs in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing._internal.two_tensor import TwoTensor

from temporal_shift import temporal_shift, temporal_shift_add
from temporal_shift.core import dispatch, graph
from temporal_shift.core.arguments import resolve
from tests.core.samples import PADDING_MODES, Sample, any_bounds, gallery, grid, layout_cases, numbered, small

pytest.importorskip("triton", reason="Triton is not installed")
import triton.language as tl

from temporal_shift.core import triton
from temporal_shift.core.triton import probe
from temporal_shift.core.triton.launches import plan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# The interpreter of Triton 3.2 ignores a mask that is a single False.
FEWEST_FRAMES = 2 if pytest.importorskip("triton").__version__.startswith("3.2.") else 1


@pytest.fixture
def run_on_triton(monkeypatch):
    """A function. After its call, eager shifts on CPU and CUDA tensors use the kernel, if it supports them."""

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


def test_the_gradient_of_the_kernel_equals_the_cpu(run_on_triton, poisoned):
    """With replicate padding, the gradient is not a shift. In the other cases, the test above covers the kernel."""

    def gradient(sample):
        x = sample.x.detach().requires_grad_()
        y = temporal_shift(x, **sample.arguments)
        return torch.autograd.grad(y, x, small(tuple(y.shape), y.dtype).to(y.device))[0]

    samples = [sample for sample in grid() if sample.arguments.get("padding_mode") == "replicate"] + gallery()
    assert_equal_on_triton(samples, gradient, run_on_triton)


def test_the_kernel_in_place_equals_the_cpu_on_every_layout(run_on_triton):
    def in_place(sample):
        x = sample.x.clone()
        assert temporal_shift(x, **sample.arguments, inplace=True) is x
        return x

    # every other sample: each layout has three, one for each padding mode
    assert_equal_on_triton((layout_cases() + gallery())[::2], in_place, run_on_triton)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_the_fused_sum_equals_the_cpu_on_every_sample(run_on_triton, poisoned, dtype):
    def added(sample):
        x = sample.x.to(dtype)
        residual = small(tuple(x.shape), torch.float32) / 3  # divided on the CPU: a GPU multiplies by 1/3
        return temporal_shift_add(x, residual.to(x.device), **sample.arguments)

    assert_equal_on_triton(gallery(), added, run_on_triton)


def test_a_sum_in_half_precision_is_rounded_once(run_on_triton):
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
    plan.cache_clear()  # cached launches do not use the recorder
    run_on_triton()
    for sample in grid():
        x = sample.x.to(DEVICE)
        temporal_shift(x, **sample.on(DEVICE).arguments)
        assert set(read) == ({x.untyped_storage().data_ptr()} if x.numel() else set())
        read.clear()


def test_with_any_ascending_bounds_the_kernel_equals_the_graph_and_writes_only_to_x(run_on_triton):
    run_on_triton()

    @settings(max_examples=60)
    @given(st.data())
    def check(data):
        batch, frames, channels = (
            data.draw(st.integers(1, 3)),
            data.draw(st.integers(FEWEST_FRAMES, 9)),
            data.draw(st.integers(2, 9)),
        )
        mode = data.draw(st.sampled_from(PADDING_MODES))
        move = {"n_div": 2, "stride": data.draw(st.integers(-3, 3)), "bidirectional": True, "padding_mode": mode}
        bounds = data.draw(any_bounds([batch], frames, ascending=True))
        shape = (batch, frames, channels) if "lengths" in bounds else (frames, channels)
        ends = {name: values.to(DEVICE) for name, values in bounds.items()}
        ragged = next(iter(ends))
        memory = numbered((3, *shape)).to(DEVICE)
        x = memory[1]
        if data.draw(st.booleans()):  # frames are neighbours in memory
            memory = memory.transpose(-1, -2).contiguous().transpose(-1, -2)
            x = memory[1]
        geometry = resolve(x, *(move[name] for name in move if name != "padding_mode"), mode, None, ragged, -2, -1)
        expected = graph.shift(x, None, ends[ragged], geometry)
        assert torch.equal(triton.shift(x, None, ends[ragged], geometry), expected)
        around = memory[::2].clone()
        triton.shift_(x, ends[ragged], geometry)
        assert torch.equal(x, expected)
        assert torch.equal(memory[::2], around)

    check()


def test_with_unsorted_bounds_the_kernel_writes_only_to_x(run_on_triton):
    run_on_triton()

    @settings(max_examples=40)
    @given(st.data())
    def check(data):
        memory = numbered((3, 7, 6)).to(DEVICE)
        around, values = memory[::2].clone(), {0, *memory[1].unique().tolist()}
        bounds = data.draw(any_bounds([], 7))
        mode, stride = data.draw(st.sampled_from(PADDING_MODES)), data.draw(st.integers(-4, 4))
        geometry = resolve(memory[1], 2, stride, True, mode, None, next(iter(bounds)), -2, -1)
        ends = next(iter(bounds.values())).to(DEVICE)
        assert set(triton.shift(memory[1], None, ends, geometry).unique().tolist()) <= values
        triton.shift_(memory[1], ends, geometry)
        assert set(memory[1].unique().tolist()) <= values
        assert torch.equal(memory[::2], around)

    check()


def test_bounds_can_have_any_strides(run_on_triton):
    x, packed = numbered((3, 8, 6)).to(DEVICE), numbered((8, 6)).to(DEVICE)
    run_on_triton()
    lengths = torch.tensor([[5, 7], [8, 7], [0, 7]], device=DEVICE)[:, 0]
    cu_seqlens = torch.tensor([0, 9, 3, 9, 8], device=DEVICE)[::2]
    for inplace in (False, True):
        of_lengths = temporal_shift(x.clone(), n_div=2, lengths=lengths, inplace=inplace)
        assert torch.equal(of_lengths, temporal_shift(x, n_div=2, lengths=lengths.contiguous()))
        of_ends = temporal_shift(packed.clone(), n_div=2, cu_seqlens=cu_seqlens, inplace=inplace)
        assert torch.equal(of_ends, temporal_shift(packed, n_div=2, cu_seqlens=cu_seqlens.contiguous()))


def test_the_gradient_of_an_edge_frame_is_the_sum_over_its_many_readers(run_on_triton):
    def gradient(x):
        x = x.clone().requires_grad_()
        y = temporal_shift(x, n_div=2, stride=90, bidirectional=True, padding_mode="replicate")
        return torch.autograd.grad(y, x, small(tuple(x.shape)).to(x.device))[0]

    x = torch.zeros(2, 100, 8)
    expected = gradient(x)
    run_on_triton()
    assert torch.equal(gradient(x.to(DEVICE)).cpu(), expected)


def test_without_a_working_triton_there_is_one_warning_and_the_result_is_right(run_on_triton, monkeypatch):
    class Broken:
        def __getitem__(self, grid):
            raise RuntimeError("Failed to find C compiler")

    x = numbered((2, 5, 8)).to(DEVICE)
    expected = temporal_shift(x, n_div=2)
    run_on_triton()
    monkeypatch.setattr(probe, "_known", {})
    monkeypatch.setattr(probe, "probe_kernel", Broken())
    with pytest.warns(RuntimeWarning, match="Failed to find C compiler") as warned:
        found = [temporal_shift(x, n_div=2) for _ in range(2)]
    assert len(warned) == 1
    assert all(torch.equal(y, expected) for y in found)


def test_an_out_of_memory_error_does_not_disable_the_kernel(run_on_triton, monkeypatch):
    class Full:
        def __getitem__(self, grid):
            raise torch.OutOfMemoryError("out of memory")

    x = numbered((2, 5, 8)).to(DEVICE)
    run_on_triton()
    monkeypatch.setattr(probe, "_known", {})
    with monkeypatch.context() as full:
        full.setattr(probe, "probe_kernel", Full())
        with pytest.raises(torch.OutOfMemoryError):
            temporal_shift(x, n_div=2)
    temporal_shift(x, n_div=2)
    assert probe.works_on(x.device)


def test_tensor_subclasses_use_pytorchs_operations(run_on_triton):
    x, residual = torch.randn(2, 5, 8, device=DEVICE), torch.randn(2, 5, 8, device=DEVICE)
    lengths = torch.tensor([3, 5], device=DEVICE)
    run_on_triton()
    summed = temporal_shift_add(x, TwoTensor(residual, residual), n_div=2)
    shifted = temporal_shift(x, n_div=2, lengths=TwoTensor(lengths, lengths))
    for y, expected in (
        (summed, temporal_shift_add(x, residual, n_div=2)),
        (shifted, temporal_shift(x, n_div=2, lengths=lengths)),
    ):
        assert torch.equal(getattr(y, "a", y), expected)


def test_autograd_detects_that_the_kernel_overwrote_a_saved_tensor(run_on_triton):
    run_on_triton()
    x, weight = torch.full((2, 6, 8), 2.0, device=DEVICE), torch.ones(8, device=DEVICE, requires_grad=True)
    y = (x * weight).sum()
    temporal_shift(x, n_div=1, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    with torch.inference_mode():
        temporal_shift(torch.ones(2, 6, 8, device=DEVICE), inplace=True)


@pytest.mark.parametrize("view", [torch.conj, lambda z: z.conj().imag], ids=["conjugate", "negative"])
def test_lazy_conjugate_and_negative_views_are_read_and_written_correctly(view, run_on_triton):
    x, lengths = torch.randn(2, 6, 8, dtype=torch.complex64).to(DEVICE), torch.tensor([3, 6], device=DEVICE)
    run_on_triton()
    for bounds in ({}, {"lengths": lengths}):
        expected = temporal_shift(view(x).resolve_conj().resolve_neg(), n_div=4, **bounds)
        lazy = view(x.clone())
        assert torch.equal(temporal_shift(lazy, n_div=4, **bounds), expected)
        assert torch.equal(temporal_shift(lazy, n_div=4, **bounds, inplace=True), expected)
    real = torch.randn(2, 6, 8, device=DEVICE)
    if not view(x).is_complex():
        assert torch.equal(temporal_shift_add(real, view(x), n_div=2), temporal_shift(real, n_div=2) + view(x))


@pytest.mark.parametrize("steps", [-(2**31 - 3), -(2**31), 2**31 + 1, 2**62, -(2**62)])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "circular"])
def test_steps_far_beyond_the_sequences_equal_the_cpu(steps, padding_mode, run_on_triton):
    x = numbered((2, 6, 8)).to(DEVICE)
    arguments = {"groups": [(4, steps), (2, 1)], "padding_mode": padding_mode}
    bounds = torch.tensor([3, 6])
    expected = temporal_shift(x.cpu(), **arguments, lengths=bounds)
    run_on_triton()
    assert torch.equal(temporal_shift(x, **arguments, lengths=bounds.to(DEVICE)).cpu(), expected)


def test_make_fx_records_pytorchs_operations(run_on_triton):
    run_on_triton()
    x = numbered((2, 6, 8)).to(DEVICE)
    recorded = make_fx(lambda x: temporal_shift(x, n_div=2))(x)
    assert torch.equal(recorded(2 * x), temporal_shift(2 * x, n_div=2))


@pytest.mark.parametrize("layout", ["channels last", "frames last"])
def test_another_length_or_step_does_not_recompile_the_kernel(layout):
    def compiled_for(frames, stride):
        x = torch.empty(8, frames, 768, device="meta")
        x = x if layout == "channels last" else x.transpose(1, 2).contiguous().transpose(1, 2)
        (launch,) = plan(resolve(x, 4, stride, True, "zeros", None, None, -2, -1), x.shape, *[operand(x)] * 2)
        return launch.constants

    assert all(compiled_for(*other) == compiled_for(376, 1) for other in [(364, 1), (380, 2), (3704, 16), (100, -3)])


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "circular"])
def test_a_step_of_any_size_fits_into_32_bits(padding_mode):
    x = torch.empty(1, 100, 768, device="meta")
    geometry = resolve(x, 4, 10**12, True, padding_mode, None, None, -2, -1)
    (launch,) = plan(geometry, x.shape, *[operand(x)] * 2)
    assert max(map(abs, launch.arguments)) < 2**31


def test_offsets_have_64_bits_only_for_large_tensors():
    for frames, offset in ((1000, tl.int32), (3_000_000, tl.int64)):
        x = torch.empty(1, frames, 768, device="meta")
        geometry = resolve(x, 8, 1, False, "zeros", None, None, -2, -1)
        (launch,) = plan(geometry, x.shape, *[operand(x)] * 2)
        assert launch.constants["OFFSET"] == offset


def operand(x: torch.Tensor) -> tuple:
    return x.stride(), x.dtype, 0
