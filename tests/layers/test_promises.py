"""Properties of all layers. Tests of properties that torch provides use a few of the layers."""

from __future__ import annotations

import copy
import inspect
import pickle
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.export import Dim

from tests.versions import TORCH

from .cases import CASES, CHANNELS, LENGTHS, ONE_OF_EACH_CLASS, ONE_OF_EACH_FORWARD, Case, first

pytestmark = [pytest.mark.filterwarnings("ignore:enable_nested_tensor"), pytest.mark.usefixtures("one_thread")]
each_class = pytest.mark.parametrize("case", ONE_OF_EACH_CLASS, ids=str)
each_forward = pytest.mark.parametrize("case", ONE_OF_EACH_FORWARD, ids=str)


def equal(output, expected) -> bool:
    """Whether the tensors in two structures are equal."""
    leaves, right = torch.utils._pytree.tree_leaves(output), torch.utils._pytree.tree_leaves(expected)
    return len(leaves) == len(right) and all(map(torch.equal, leaves, right))


def gradients(layer: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    loss = first(layer(x)).square().mean()
    return list(torch.autograd.grad(loss, [x, *layer.parameters()]))


@contextmanager
def recurrent_layers_allowed():
    """Let Dynamo trace recurrent layers, which it does not do by default."""
    with torch._dynamo.config.patch(allow_rnn=True):
        torch.compiler.reset()
        yield


@each_class
def test_the_state_dict_equals_that_of_the_plain_layer(case: Case):
    ours, plain = case.make().state_dict(), case.plain().state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        case.prefix + name: value.shape for name, value in plain.items()
    }


@pytest.mark.parametrize(
    ("case", "training", "grad"),
    [*((case, True, True) for case in CASES), *((case, False, False) for case in ONE_OF_EACH_CLASS)],
    ids=str,
)
def test_with_stride_0_the_layer_equals_the_plain_layer_bit_for_bit(case: Case, training, grad):
    ours, plain = case.layer_pair(stride=0)
    x = case.input().requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        assert equal(ours.train(training)(x), plain.train(training)(x))
    if grad:
        assert equal(gradients(ours, x), gradients(plain, x))


@each_class
def test_with_a_stride_the_output_differs_from_the_plain_layer(case: Case):
    ours, plain = case.layer_pair(stride=1)
    x = case.input()
    assert not torch.allclose(first(ours(x)), first(plain(x)), atol=1e-3)


@each_class
def test_an_unpickled_copy_gives_the_same_output_and_is_independent(case: Case):
    layer, x = case.make(stride=2), case.input()
    expected = layer(x)
    copied = pickle.loads(pickle.dumps(layer))
    assert type(copied) is type(layer)
    assert repr(copied) == repr(layer)
    assert equal(copied(x), expected)
    for parameter in layer.parameters():
        parameter.data.zero_()
    assert equal(copied(x), expected)


@each_forward
def test_the_layer_compiles_as_one_graph_forward_and_backward(case: Case):
    layer, x = case.make(), case.input(5).requires_grad_()
    if TORCH < (2, 12) and isinstance(layer, nn.LSTM):
        pytest.skip("up to torch 2.11, a compiled nn.LSTM returns states with one dim too many")
    expected = layer(x), gradients(layer, x)
    with recurrent_layers_allowed():
        compiled = torch.compile(
            layer,
            fullgraph=True,
            dynamic=not case.recurrent,  # torch unrolls recurrent layers
            backend="aot_eager",
        )
        torch.testing.assert_close(compiled(x), expected[0])
        torch.testing.assert_close(gradients(compiled, x), expected[1])


@each_forward
def test_an_exported_layer_takes_any_length_unless_it_is_recurrent(case: Case):
    if TORCH < (2, 10) and case.recurrent:
        pytest.skip("up to torch 2.9, nn.LSTM and nn.GRU cannot be exported")
    layer = case.make().eval()
    dynamic = None if case.recurrent else any_length(layer, case, Dim("batch"), Dim("frames", max=40))
    exported = torch.export.export(layer, (case.input(),), dynamic_shapes=dynamic, strict=False).module()
    for length in lengths(case):
        x = case.input(length)
        torch.testing.assert_close(exported(x), layer(x))


@each_class
def test_an_onnx_file_takes_any_length_unless_the_layer_is_recurrent(case: Case, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    layer = case.make().eval()
    if TORCH == (2, 9) and (isinstance(layer, nn.LSTM) or "TransformerLayer(residual)" in str(case)):
        pytest.skip("the ONNX exporter of torch 2.9 rejects this layer")
    dynamic = None if case.recurrent else any_length(layer, case, Dim("batch"), Dim("frames", max=40))
    path = tmp_path / "layer.onnx"
    torch.onnx.export(layer, (case.input(),), path, dynamo=True, verbose=False, dynamic_shapes=dynamic)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in lengths(case):
        x = case.input(length)
        output = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(output), first(layer(x)), rtol=1e-4, atol=1e-5)


@each_class
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
def test_a_traced_layer_takes_any_length(case: Case):
    layer = case.make().eval()
    with torch.no_grad():
        traced = torch.jit.trace(layer, case.input(), check_trace=False)
        for length in (9, 5, 23):
            x = case.input(length)
            torch.testing.assert_close(first(traced(x)), first(layer(x)))


def lengths(case: Case) -> tuple[int, ...]:
    """Lengths for calls of an exported graph. torch unrolls recurrent layers, so they take only the exported length."""
    return (9,) if case.recurrent else (9, 5, 23)


def any_length(layer: nn.Module, case: Case, batch: object, frames: object) -> dict:
    first_argument = next(iter(inspect.signature(layer.forward).parameters))
    return {first_argument: {0: batch, 2 if case.channels_first else 1: frames}}


@each_class
def test_the_layer_runs_in_bfloat16_under_autocast(case: Case):
    layer, x = case.make(), case.input().requires_grad_()
    if isinstance(layer, nn.LSTM) and not torchs_lstm_runs_in_bfloat16():
        pytest.skip("torch's own LSTM does not run in bfloat16 on this processor")
    expected = first(layer(x))
    with torch.autocast("cpu", torch.bfloat16):
        y = first(layer(x))
        found = gradients(layer, x)
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    for gradient, parameter in zip(found, [x, *layer.parameters()], strict=True):
        assert gradient.dtype == parameter.dtype
        assert gradient.isfinite().all()


def torchs_lstm_runs_in_bfloat16() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(8, 8)(torch.randn(2, 1, 8))
    except RuntimeError:  # oneDNN lacks the primitive on processors without bfloat16 instructions
        return False
    return True


@each_class
def test_functional_call_uses_other_weights(case: Case):
    layer, other, x = case.make(), case.make(), case.input()
    before = copy.deepcopy(layer.state_dict())
    output = torch.func.functional_call(layer, dict(other.named_parameters()), (x,))
    assert equal(output, other(x))
    assert equal(layer.state_dict(), before)


@each_class
def test_the_output_is_deterministic_and_the_same_in_train_and_eval_mode(case: Case):
    layer, x = case.make(), case.input()
    expected = layer.train()(x)
    assert equal(layer(x), expected)
    torch.testing.assert_close(layer.eval()(x), expected)
    assert equal(layer(x), layer(x))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("case", "stride", "training"),
    [*((case, stride, True) for case in CASES for stride in (0, -2)), *((case, 1, False) for case in CASES)],
    ids=str,
)
def test_padding_affects_no_valid_frame_and_no_gradient(case: Case, stride, training, poison):
    layer = case.make(stride=stride).train(training)
    padding = torch.arange(max(LENGTHS)) >= LENGTHS[:, None]
    frames = padding[:, None] if case.channels_first else padding[..., None]
    x = case.input().masked_fill(frames, 0.0)
    y, found = results(case, layer, x.masked_fill(frames, poison), frames, poison)
    clean, expected = results(case, layer, x, frames, 0.0)
    torch.testing.assert_close(y, clean, rtol=0, atol=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert not found[0].masked_select(frames).any()
    for n, length in enumerate(LENGTHS.tolist()):
        if length >= max(case.min_frames, 1):
            alone, valid = (
                (x[n : n + 1, :, :length], y[n, :, :length].T)
                if case.channels_first
                else (
                    x[n : n + 1, :length],
                    y[n, :length],
                )
            )
            output = first(layer(alone))[0]
            torch.testing.assert_close(valid, output.T if case.channels_first else output)


def results(case: Case, layer: nn.Module, x: torch.Tensor, padding: torch.Tensor, poison: float):
    """The output with zeros in the padding, and the gradients for an upstream gradient of ``poison`` in the padding."""
    x = x.clone().requires_grad_()
    y = case.ragged(layer, x, LENGTHS)
    if not case.zeroes_padding:
        y = y.masked_fill(padding, 0.0)
    loss = torch.linspace(-1, 1, y.numel()).reshape(y.shape).masked_fill(padding, poison)
    return y.masked_fill(padding, 0.0), torch.autograd.grad(y, [x, *layer.parameters()], loss)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("case", [case for case in CASES if not case.channels_first], ids=str)
def test_a_nested_tensor_is_processed_sequence_by_sequence_or_raises_an_error(case: Case, layout, training):
    layer = case.make().train(training)
    sequences = [torch.randn(length, CHANNELS, requires_grad=True) for length in (5, 1, 3)]
    nested = torch.nested.as_nested_tensor(sequences, layout=layout)
    if not case.nested:
        with pytest.raises(TypeError, match=r"must be dense.*nested tensor: pass "):
            layer(nested)
        return
    output = layer(nested)
    assert output.layout == layout
    weights = [torch.randn_like(y) for y in output.unbind()]
    found = gradient_of(output.unbind(), weights, sequences, layer)
    alone = [layer(x) for x in sequences]
    torch.testing.assert_close(output.unbind(), tuple(alone))
    torch.testing.assert_close(found, gradient_of(alone, weights, sequences, layer))
    with torch.no_grad():  # in eval mode, torch's Transformer layer may then use its fused path
        torch.testing.assert_close(layer(nested).unbind(), tuple(alone))


def gradient_of(outputs, weights, sequences, layer):
    loss = sum((y * weight).sum() for y, weight in zip(outputs, weights, strict=True))
    return torch.autograd.grad(loss, [*sequences, *layer.parameters()])


@each_class
def test_sequences_may_be_shorter_than_the_stride(case: Case):
    layer = case.make(stride=3)
    for length in range(case.min_frames, 6):
        time = 2 if case.channels_first else 1
        assert first(layer(case.input(length))).shape[time] == length


@each_class
def test_the_layer_can_be_created_on_the_meta_device_and_loaded_later(case: Case):
    with torch.device("meta"):
        layer = case.make()
    assert all(parameter.is_meta for parameter in layer.parameters())
    assert first(layer(case.input().to("meta"))).is_meta
    filled, x = case.make(), case.input()
    layer.to_empty(device="cpu").load_state_dict(filled.state_dict())
    assert equal(layer(x), filled(x))


@each_class
def test_the_repr_shows_the_shift(case: Case):
    assert case.repr in repr(case.make())


@each_class
def test_the_layer_works_in_float64(case: Case):
    layer, x = case.make(), case.input()
    torch.testing.assert_close(first(layer.double()(x.double())).float(), first(layer.float()(x)))


def test_the_weights_of_all_layers_survive_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    layers, others = (nn.ModuleList([case.make() for case in CASES]) for _ in range(2))
    safetensors.save_model(layers, tmp_path / "layers.safetensors")
    safetensors.load_model(others, tmp_path / "layers.safetensors")
    assert equal(dict(others.state_dict()), dict(layers.state_dict()))
