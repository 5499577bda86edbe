"""Tests that need a GPU: ``pytest -m gpu``. ``test_triton.py`` also runs on a GPU if there is one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from temporal_shift import temporal_shift, temporal_shift_add
from temporal_shift.core import dispatch

from ..layers.cases import CASES, first
from .samples import PADDING_MODES, Sample, gallery, grid, small

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]
BOTH_WAYS = {"n_div": 4, "stride": 2, "bidirectional": True}


def test_every_case_of_the_grid_equals_the_cpu_forward_and_backward():
    wrong = []
    for sample in grid():
        on_gpu = sample.on("cuda")
        same = torch.equal(
            temporal_shift(on_gpu.x, **on_gpu.arguments).cpu(), temporal_shift(sample.x, **sample.arguments)
        )
        if sample.x.is_floating_point():
            same &= torch.equal(gradient(on_gpu).cpu(), gradient(sample))
        if not same:
            wrong.append(str(sample))
    assert wrong == []


def gradient(sample: Sample) -> torch.Tensor:
    x = sample.x.detach().requires_grad_()
    y = temporal_shift(x, **sample.arguments)
    return torch.autograd.grad(y, x, small(tuple(y.shape), y.dtype).to(y.device))[0]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_layer_equals_the_cpu_forward_and_backward(case, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    layer, x = case.make(stride=2), case.input().requires_grad_()
    on_gpu, x_on_gpu = copy.deepcopy(layer).cuda(), x.detach().cuda().requires_grad_()
    y, y_on_gpu = first(layer(x)), first(on_gpu(x_on_gpu))
    torch.testing.assert_close(y_on_gpu.cpu(), y, rtol=1e-3, atol=1e-4)
    gradients = [torch.autograd.grad(of.square().sum(), at) for of, at in ((y, x), (y_on_gpu, x_on_gpu))]
    torch.testing.assert_close(gradients[1][0].cpu(), gradients[0][0], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("frames", "layout"), [(1500, "BLD"), (1500, "BDL"), (1022, "BDL"), (511, "BDL")])
def test_on_large_tensors_the_kernel_equals_pytorchs_operations(padding_mode, dtype, frames, layout, monkeypatch):
    x = torch.randn(64, frames, 768, device="cuda", dtype=dtype)
    x = x if layout == "BLD" else x.transpose(1, 2).contiguous().transpose(1, 2)
    for movement in ({"n_div": 2, "stride": 1}, {"n_div": 5, "stride": -31}):
        arguments = {**movement, "bidirectional": True, "padding_mode": padding_mode}
        with monkeypatch.context() as without_triton:
            without_triton.setattr(dispatch, "triton_devices", set())
            expected = temporal_shift(x, **arguments)
        assert torch.equal(temporal_shift(x, **arguments), expected)
        assert torch.equal(temporal_shift(x.clone(), **arguments, inplace=True), expected)


def test_no_call_synchronizes_with_the_device():
    samples = [sample.on("cuda") for sample in gallery()]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for sample in samples:
            x = sample.x.clone().requires_grad_()
            y = temporal_shift_add(x, sample.x, **sample.arguments)
            torch.autograd.grad(y, x, sample.x)
            temporal_shift(sample.x.clone(), **sample.arguments, inplace=True)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_cuda_graph_of_every_sample_replays_with_new_values():
    samples = [sample.on("cuda") for sample in gallery()]

    def all_shifts():
        return [temporal_shift(sample.x, **sample.arguments) for sample in samples]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        all_shifts()  # compiles the kernels before the capture
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = all_shifts()
    for sample in samples:
        sample.x.mul_(2)
    graph.replay()
    for y, expected in zip(outputs, all_shifts(), strict=True):
        assert torch.equal(y, expected)


def test_another_length_does_not_recompile_the_kernel():
    from temporal_shift.core.triton.kernels import shift_kernel

    for length in (256, 374, 511):
        temporal_shift(torch.randn(2, length, 768, device="cuda"), **BOTH_WAYS)
    compiled = len(shift_kernel.device_caches[torch.cuda.current_device()][0])
    for length in (257, 375, 384, 999, 3740):
        temporal_shift(torch.randn(3, length, 768, device="cuda"), **BOTH_WAYS)
    assert len(shift_kernel.device_caches[torch.cuda.current_device()][0]) == compiled


def test_offsets_that_need_64_bits_are_right():
    if torch.cuda.mem_get_info()[0] < 30 << 30:
        pytest.skip("the GPU must have 30 GiB of free memory")
    x = torch.empty(1, 2**23 + 3, 768, dtype=torch.float16, device="cuda")
    x[:, -3:] = torch.arange(3, device="cuda", dtype=torch.float16)[:, None]
    y = temporal_shift(x, n_div=2)
    assert y[0, -3:, 0].tolist()[1:] == [0, 1]
    assert y[0, -3:, -1].tolist() == [0, 1, 2]


def test_fake_tensors_of_a_gpu_launch_nothing():
    with FakeTensorMode():
        x = torch.empty(2, 5, 8, device="cuda")
        lengths = torch.empty(2, dtype=torch.int64, device="cuda")
        assert temporal_shift(x).device.type == "cuda"
        assert temporal_shift(x, lengths=lengths, padding_mode="replicate").shape == x.shape


def test_a_compiled_norm_of_a_shift_equals_eager():
    x, h = (torch.randn(8, 374, 768, device="cuda") for _ in range(2))

    def f(x, h):
        return torch.nn.functional.layer_norm(temporal_shift(x, **BOTH_WAYS) + h, (768,))

    torch.testing.assert_close(torch.compile(f, fullgraph=True)(x, h), f(x, h))
