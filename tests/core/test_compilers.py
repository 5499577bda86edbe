"""The shift under torch.compile, torch.export, TorchScript's tracer and ONNX."""

from __future__ import annotations

import pytest
import torch
from functorch.compile import aot_function, nop
from torch import Tensor, nn
from torch.export import Dim
from torch.func import grad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

from temporal_shift import temporal_shift, temporal_shift_add
from tests.versions import TORCH, not_on_torch_2_6

from .samples import PADDING_MODES, Sample, gallery, kinds, small

GALLERY = gallery()
# Each mode without and with bounds, and each kind of bounds: bounds change the graph.
MODES_AND_KINDS = [(mode, None) for mode in PADDING_MODES]
MODES_AND_KINDS += [("zeros", "lengths"), ("zeros", "cu_seqlens"), ("replicate", "lengths"), ("circular", "cu_seqlens")]
each_mode_and_kind = pytest.mark.parametrize(("padding_mode", "kind"), MODES_AND_KINDS)


class Shifts(nn.Module):
    """Several samples in one module, so that a compiler starts once."""

    def __init__(self, samples: list[Sample] = GALLERY):
        super().__init__()
        self.samples = samples

    def forward(self, inputs: list[Tensor], bounds: list[dict[str, Tensor]]) -> list[Tensor]:
        return [
            temporal_shift(x, **{**sample.arguments, **given})
            for x, given, sample in zip(inputs, bounds, self.samples, strict=True)
        ]


class Shift(nn.Module):
    """One shift: its output, its fused sum, and the shift in place."""

    def __init__(self, **arguments):
        super().__init__()
        self.arguments = {"n_div": 3, "stride": 2, "bidirectional": True, **arguments}

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, cu_seqlens: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        bounds = {"lengths": lengths, "cu_seqlens": cu_seqlens}
        in_place = temporal_shift(2 * x, **self.arguments, **bounds, inplace=True)
        return (
            temporal_shift(x, **self.arguments, **bounds),
            temporal_shift_add(x, x.sin(), **self.arguments, **bounds),
            in_place,
        )


def all_inputs(samples: list[Sample] = GALLERY) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    inputs = [sample.x.clone() for sample in samples]
    bounds = [{k: v for k, v in sample.arguments.items() if isinstance(v, Tensor)} for sample in samples]
    return inputs, bounds


def different(outputs, expected, samples: list[Sample] = GALLERY) -> list[str]:
    return [str(s) for y, right, s in zip(outputs, expected, samples, strict=True) if not torch.equal(y, right)]


def bounds_of(kind: str | None, length: int) -> dict[str, Tensor | None]:
    bounds = {"lengths": torch.tensor([length, 1]), "cu_seqlens": torch.tensor([0, 2, length])}
    return {name: value if name == kind else None for name, value in bounds.items()}


@pytest.fixture(autouse=True)
def _from_scratch():
    torch.compiler.reset()


# Samples of kinds() by ``dynamic``: both values cover each padding mode, no bounds, and each kind of bounds.
INDUCTOR_SAMPLES = {False: (0, 4, 8), True: (1, 5, 6)}


def inductor_compiles(sample: Sample, dynamic: bool) -> bool:
    """False for samples with replicate or circular padding for which torch 2.6 or 2.9 generates invalid C++."""
    ragged = {"lengths", "cu_seqlens"} & set(sample.arguments)
    fails_on = {(2, 6): ragged == {"lengths"}, (2, 9): dynamic and not ragged}
    return sample.arguments.get("padding_mode", "zeros") == "zeros" or not fails_on.get(TORCH, False)


LENGTHS_OF_A_LATER_DIM = not_on_torch_2_6("Dynamo rejects the valid lengths of one sample with time_dim=0")


@pytest.mark.parametrize("dynamic", [False, pytest.param(True, marks=LENGTHS_OF_A_LATER_DIM)])
def test_inductor_equals_eager_forward_and_backward(dynamic):
    """Inductor takes seconds for each sample, so it compiles a few."""
    samples = [GALLERY[i] for i in INDUCTOR_SAMPLES[dynamic] if inductor_compiles(GALLERY[i], dynamic)]
    assert_compiled_equals_eager(samples, "inductor", dynamic)


def test_aot_autograd_equals_eager_on_every_sample_forward_and_backward():
    assert_compiled_equals_eager(GALLERY, "aot_eager", dynamic=False)


def assert_compiled_equals_eager(samples: list[Sample], backend: str, dynamic: bool) -> None:
    module = Shifts(samples)
    compiled = torch.compile(module, fullgraph=True, dynamic=dynamic, backend=backend)
    results = []
    for function in (module, compiled):
        inputs, bounds = all_inputs(samples)
        inputs = [x.requires_grad_() for x in inputs]
        outputs = function(inputs, bounds)
        torch.autograd.backward(outputs, [small(tuple(y.shape)) for y in outputs])
        results.append((outputs, [x.grad for x in inputs]))
    (expected, expected_gradients), (found, gradients) = results
    assert different(found, expected, samples) == []
    assert different(gradients, expected_gradients, samples) == []


@each_mode_and_kind
def test_another_length_does_not_recompile(padding_mode, kind):
    module = Shift(padding_mode=padding_mode)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (7, 12, 33, 5, 374):
        x, bounds = torch.randn(2, length, 9), bounds_of(kind, length)
        with torch._dynamo.config.patch(error_on_recompile=length != 7):
            for y, expected in zip(compiled(x, **bounds), module(x, **bounds), strict=True):
                assert torch.equal(y, expected)


@pytest.mark.parametrize(
    ("padding_mode", "stride"), [("zeros", 10**9), ("zeros", -(10**9)), ("replicate", 10**9), ("circular", -(10**9))]
)
def test_a_huge_stride_is_compiled_and_exported(padding_mode, stride):
    x = torch.randn(2, 7, 8)
    arguments = {"n_div": 2, "stride": stride, "padding_mode": padding_mode}
    expected = temporal_shift(x, **arguments)
    module = Shift(**arguments, bidirectional=False)
    for dynamic in (False, True):
        compiled = torch.compile(module, fullgraph=True, dynamic=dynamic, backend="aot_eager")
        assert torch.equal(compiled(x)[0], expected)
    assert torch.equal(torch.export.export(module, (x,)).module()(x)[0], expected)
    assert torch.equal(temporal_shift((2 * x.requires_grad_())[:], **arguments, inplace=True), 2 * expected)


def test_exported_equals_eager_on_every_sample():
    inputs, bounds = all_inputs()
    exported = torch.export.export(Shifts(), (inputs, bounds)).module()
    assert different(exported(inputs, bounds), Shifts()(inputs, bounds)) == []


@each_mode_and_kind
def test_exported_with_dynamic_batch_and_length_equals_eager_on_other_lengths(padding_mode, kind):
    module, bounds = Shift(padding_mode=padding_mode), bounds_of(kind, 7)
    dynamic = {"x": {0: Dim.STATIC if kind == "lengths" else Dim("batch"), 1: Dim("frames")}}
    dynamic |= {"lengths": None, "cu_seqlens": None}
    exported = torch.export.export(module, (torch.randn(2, 7, 9),), bounds, dynamic_shapes=dynamic).module()
    for length in (2, 3, 374):
        x, bounds = torch.randn(2, length, 9), bounds_of(kind, length)
        for y, expected in zip(exported(x, **bounds), module(x, **bounds), strict=True):
            assert torch.equal(y, expected)


@each_mode_and_kind
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
def test_traced_by_torchscript_equals_eager_on_other_lengths(padding_mode, kind):
    module = WithBounds(Shift(padding_mode=padding_mode), kind)
    traced = torch.jit.trace(module, by_position(kind, 7))
    for length in (7, 2, 3, 374):
        inputs = by_position(kind, length)
        for y, expected in zip(traced(*inputs), module(*inputs), strict=True):
            assert torch.equal(y, expected)


@pytest.mark.parametrize(
    ("padding_mode", "kind"), [("replicate", None), ("zeros", "lengths"), ("circular", "cu_seqlens")]
)
def test_a_trace_with_symbolic_sizes_outside_dynamo_equals_eager_on_other_lengths(padding_mode, kind):
    module = WithBounds(Shift(padding_mode=padding_mode), kind)

    def loss(*inputs):
        outputs = module(*inputs)
        return torch.cat(outputs).sin().sum(), outputs

    traced = make_fx(grad(loss, has_aux=True), tracing_mode="symbolic")(*by_position(kind, 7))
    for length in (7, 3, 374):
        inputs = by_position(kind, length)
        for y, expected in zip(
            tree_leaves(traced(*inputs)), tree_leaves(grad(loss, has_aux=True)(*inputs)), strict=True
        ):
            torch.testing.assert_close(y, expected)


def test_aot_autograd_with_symbolic_sizes_equals_eager_on_other_lengths():
    compiled = aot_function(temporal_shift, nop, dynamic=True)
    for length in (7, 3, 374):
        x, upstream = torch.randn(2, length, 9, requires_grad=True), torch.randn(2, length, 9)
        assert torch.equal(compiled(x), temporal_shift(x))
        gradients = (torch.autograd.grad(f(x), x, upstream)[0] for f in (compiled, temporal_shift))
        assert torch.equal(*gradients)


def by_position(kind: str | None, length: int) -> tuple[Tensor, ...]:
    return (torch.randn(2, length, 9), *(value for value in bounds_of(kind, length).values() if value is not None))


@pytest.mark.parametrize("kind", ["lengths", "cu_seqlens"])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
def test_a_graph_clamps_invalid_bounds(kind):
    x, given, clamped = torch.randn(2, 7, 9), torch.tensor([9, -2]), torch.tensor([7, 0])
    if kind == "cu_seqlens":
        given, clamped = torch.tensor([-1, 3, 99]), torch.tensor([0, 3, 7])
    module = Shift(padding_mode="replicate")
    expected = module(x, **{kind: clamped})
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    exported = torch.export.export(module, (x,), {kind: clamped}).module()
    traced = torch.jit.trace(WithBounds(module, kind), (x, clamped))
    for outputs in (compiled(x, **{kind: given}), exported(x, **{kind: given}), traced(x, given)):
        assert all(map(torch.equal, outputs, expected))


class WithBounds(nn.Module):
    """A shift that takes the bounds of one kind by position."""

    def __init__(self, module: nn.Module, kind: str | None):
        super().__init__()
        self.module, self.kind = module, kind

    def forward(self, x: Tensor, bounds: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.module(x) if self.kind is None else self.module(x, **{self.kind: bounds})


def test_onnx_equals_eager_with_each_padding_mode_and_kind_of_bounds(tmp_path):
    samples = kinds()
    inputs, bounds = all_inputs(samples)
    module = Shifts(samples)
    session, feed = onnx_session(module, (inputs, bounds), {}, tmp_path)
    outputs = [torch.from_numpy(y) for y in session.run(None, feed(inputs, bounds))]
    assert different(outputs, module(inputs, bounds), samples) == []


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_onnx_with_dynamic_length_equals_eager_on_other_lengths(padding_mode, tmp_path):
    module = Shift(padding_mode=padding_mode)
    dynamic = {"dynamic_shapes": {"x": {0: Dim("batch"), 1: Dim("frames")}}}
    session, feed = onnx_session(module, (torch.randn(2, 7, 9),), dynamic, tmp_path)
    for shape in ((2, 7, 9), (5, 374, 9), (1, 3, 9)):
        x = torch.randn(shape)
        for y, expected in zip(session.run(None, feed(x)), module(x), strict=True):
            torch.testing.assert_close(torch.from_numpy(y), expected)


@each_mode_and_kind
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning", "ignore:Constant folding")
def test_the_legacy_onnx_exporter_with_dynamic_length_equals_eager_on_other_lengths(padding_mode, kind, tmp_path):
    module, given = WithBounds(Shift(padding_mode=padding_mode), kind), by_position(kind, 7)
    options = {"dynamo": False, "input_names": ["x", "bounds"][: len(given)], "dynamic_axes": {"x": {1: "frames"}}}
    session, feed = onnx_session(module, given, options, tmp_path)
    for length in (7, 2, 374):
        inputs = by_position(kind, length)
        for y, expected in zip(session.run(None, feed(*inputs)), module(*inputs), strict=True):
            torch.testing.assert_close(torch.from_numpy(y), expected)


def onnx_session(module, arguments, options, folder):
    """An onnxruntime session of the exported module, and a function from inputs to the feed of the session."""
    onnxruntime = pytest.importorskip("onnxruntime")
    path = folder / "shift.onnx"
    torch.onnx.export(module, arguments, path, **{"dynamo": True, "verbose": False, **options})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def feed(*inputs):
        flat = tree_leaves(inputs)
        names = [each.name for each in session.get_inputs()]
        return {name: x.numpy() for name, x in zip(names, flat, strict=True)}

    return session, feed
