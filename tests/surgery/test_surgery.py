"""Adding shifts to a model and removing them: effects, copies, compilers and errors."""

from __future__ import annotations

import copy
import gc
import io
import json
import pickle
import re
import threading
import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils.rnn import pack_sequence, unpack_sequence
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from temporal_shift import temporal_shift
from temporal_shift.surgery import (
    add_temporal_shift,
    find_temporal_shifts,
    remove_temporal_shift,
    restore_temporal_shifts,
    temporal_shift_settings,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.ao.quantization is deprecated", "ignore:The PyTorch API of nested tensors"
)
BOTH_WAYS = {"n_div": 4, "bidirectional": True}


class Block(nn.Module):
    """A pre-norm skip connection."""

    def __init__(self, dim=8):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.linear = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(0.0)

    def forward(self, x, broken=False):
        branch = self.norm(x)
        if broken:
            raise RuntimeError("broken")
        return x + self.dropout(self.linear(branch))


class Named(nn.Module):
    """Calls a net with a keyword argument."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(input=x)


def blocks():
    return nn.Sequential(Block(), Block())


def with_residual(model):
    return add_temporal_shift(model, Block, placement="residual", branch="dropout", **BOTH_WAYS)


def with_inplace(model):
    return add_temporal_shift(model, Block, **BOTH_WAYS)


def by_hand(model, x, residual):
    """The output of ``blocks()`` with a shift of the skip connection, and of the branch unless ``residual``."""
    for block in model:
        shifted = temporal_shift(x, **BOTH_WAYS)
        x = shifted + block.linear(block.norm(x if residual else shifted))
    return x


def hooks_of(model):
    names = [name for name in vars(model) if name.startswith("_forward")]
    return [entry for module in model.modules() for name in names for entry in getattr(module, name)]


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_the_model_keeps_its_class_names_and_state_dict(put):
    model = blocks()
    names, keys = dict(model.named_modules()), list(model.state_dict())
    assert put(model) is model
    assert dict(model.named_modules()) == names
    assert list(model.state_dict()) == keys
    assert type(model[0]) is Block


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_removing_the_shifts_restores_the_model(put):
    model, x = blocks(), torch.randn(2, 5, 8)
    expected = model(x)
    put(model)
    torch.testing.assert_close(model(x), by_hand(model, x, put is with_residual))
    assert not torch.allclose(model(x), expected)
    assert remove_temporal_shift(model) is model
    assert torch.equal(model(x), expected)
    assert hooks_of(model) == []
    assert find_temporal_shifts(model) == {}
    assert repr(model) == repr(blocks())


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_only_chosen_shifts_are_removed(put):
    model, x = put(blocks()), torch.randn(2, 5, 8)
    remove_temporal_shift(model, "0")
    assert list(find_temporal_shifts(model)) == ["1"]
    plain = remove_temporal_shift(copy.deepcopy(model))
    torch.testing.assert_close(model(x), by_hand(plain[1:], plain[0](x), put is with_residual))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    ("put", "copied"), [(with_inplace, copy.deepcopy), (with_residual, copy.deepcopy), (with_residual, saved)]
)
def test_a_copy_has_its_own_shifts(put, copied):
    model, x = put(blocks()), torch.randn(2, 5, 8)
    expected = model(x)
    duplicate = copied(model)
    assert torch.equal(duplicate(x), expected)
    remove_temporal_shift(duplicate)
    assert hooks_of(duplicate) == []
    assert torch.equal(model(x), expected)
    assert not torch.allclose(duplicate(x), expected)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_new_hooks_do_not_replace_the_shifts_of_an_unpickled_model(put, monkeypatch):
    model, x = put(blocks()), torch.randn(2, 5, 8)
    file = pickle.dumps(model)
    monkeypatch.setattr(RemovableHandle, "next_id", 0)
    loaded = pickle.loads(file)
    for module in loaded.modules():
        for _ in range(20):
            module.register_forward_pre_hook(lambda module, args: None)
            module.register_forward_hook(lambda module, args, output: None)
    assert torch.equal(loaded(x), model(x))


def test_a_quantized_lstm_keeps_its_shift():
    model, x = nn.Sequential(nn.LSTM(8, 8)), torch.randn(5, 2, 8)
    plain = quantize_dynamic(model, {nn.LSTM})
    quantized = quantize_dynamic(add_temporal_shift(model, nn.LSTM, **BOTH_WAYS), {nn.LSTM})
    assert type(quantized[0]) is not nn.LSTM
    assert torch.equal(quantized(x)[0], plain(temporal_shift(x, **BOTH_WAYS, time_dim=0))[0])
    assert torch.equal(remove_temporal_shift(quantized)(x)[0], plain(x)[0])


def test_a_quantized_branch_keeps_its_shift():
    model, x = blocks(), torch.randn(2, 5, 8)
    plain = quantize_dynamic(model, {nn.Linear})
    add_temporal_shift(model, Block, placement="residual", branch="linear", **BOTH_WAYS)
    torch.testing.assert_close(quantize_dynamic(model, {nn.Linear})(x), by_hand(plain, x, True))


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_of_calls_does_not_change_gradients(reentrant):
    model, x = with_residual(blocks()), torch.randn(2, 5, 8, requires_grad=True)
    model(x).pow(3).sum().backward()
    expected, x.grad = x.grad, None
    y = x
    for block in model:
        y = checkpoint(block, y, use_reentrant=reentrant)
    y.pow(3).sum().backward()
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_gradients_equal_those_of_code_written_by_hand(put):
    plain, x = blocks().double(), torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    model = put(copy.deepcopy(plain))
    y, expected = model(x), by_hand(plain, x, put is with_residual)
    weight = torch.randn_like(y)
    gradients = torch.autograd.grad(y, (x, *model.parameters()), weight)
    for one, right in zip(gradients, torch.autograd.grad(expected, (x, *plain.parameters()), weight), strict=True):
        torch.testing.assert_close(one, right)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_no_input_is_kept_after_a_forward_that_succeeds_or_fails(put):
    model = put(blocks())
    for broken in (False, True):
        x = torch.randn(2, 5, 8)
        if broken:
            with pytest.raises(RuntimeError, match="broken"):
                model[0](x, broken=True)
        else:
            model(x)
        alive = weakref.ref(x)
        del x
        gc.collect()
        assert alive() is None


def test_a_forward_after_a_failed_one_is_right():
    model, x = with_residual(blocks()), torch.randn(2, 5, 8)
    expected = model(x)
    with pytest.raises(RuntimeError, match="broken"):
        model[0](torch.randn(1, 3, 8), broken=True)
    linear = model[0].linear(x)
    assert torch.equal(model[0].dropout(linear), linear)  # outside its block, the branch does not add a shift
    assert torch.equal(model(x), expected)


def test_threads_do_not_share_inputs():
    model, meet = with_residual(blocks()), threading.Barrier(2)
    inputs = torch.randn(2, 2, 5, 8)
    expected = [model(x) for x in inputs]

    def wait(module, args):
        meet.wait(10)

    model[0].norm.register_forward_pre_hook(wait)
    outputs = [None, None]

    def work(i):
        with torch.no_grad():
            outputs[i] = model(inputs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for y, right in zip(outputs, expected, strict=True):
        assert torch.equal(y, right)


def test_other_hooks_survive():
    model, calls = blocks(), []
    model[0].register_forward_pre_hook(lambda module, args: calls.append("before"))
    model[0].dropout.register_forward_hook(lambda module, args, kwargs, output: calls.append("after"), with_kwargs=True)
    remove_temporal_shift(with_residual(model))(torch.randn(2, 5, 8))
    assert calls == ["before", "after"]


@pytest.mark.parametrize("placement", ["inplace", "residual"])
def test_with_stride_0_the_output_does_not_change(placement):
    arguments = {"placement": placement, "stride": 0}
    model, x = blocks(), torch.randn(2, 5, 8)
    expected = model(x)
    branch = None if placement == "inplace" else "dropout"
    assert torch.equal(add_temporal_shift(model, Block, branch=branch, **arguments)(x), expected)
    layer, padding = (
        nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True),
        torch.tensor([[False] * 4 + [True]] * 2),
    )
    expected = layer(x, src_key_padding_mask=padding)
    branch = None if placement == "inplace" else "dropout1"
    assert torch.equal(add_temporal_shift(layer, "", branch=branch, **arguments)(x, None, padding), expected)


@pytest.mark.parametrize("groups", [None, [(2, 1), (3, 0), (1, -2)]])
def test_a_residual_does_not_change_channels_that_do_not_move(groups):
    x = torch.randn(2, 5, 8)
    x[:, :, [3, 4, 7]] = torch.tensor([float("inf"), float("nan"), -0.0])
    arguments = {"n_div": 4} if groups is None else {"groups": groups}
    y = add_temporal_shift(nn.Tanh(), nn.Tanh, placement="residual", **arguments)(x)
    moved = [0, 1] if groups is None else [0, 1, 5]
    still = [c for c in range(8) if c not in moved]
    assert torch.equal(y[..., still].view(torch.int32), x.tanh()[..., still].view(torch.int32))
    expected = x.tanh() + temporal_shift(x, **arguments) - x
    torch.testing.assert_close(y[..., moved], expected[..., moved])


def test_the_input_is_not_overwritten():
    model, x = with_inplace(blocks()), torch.randn(2, 5, 8)
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


def test_an_input_passed_by_name_is_shifted():
    model, x = Named(nn.Linear(8, 8)), torch.randn(2, 5, 8)
    expected = model.net(temporal_shift(x))
    assert torch.equal(add_temporal_shift(model, nn.Linear)(x), expected)


@pytest.mark.parametrize("placement", ["inplace", "residual"])
def test_each_sequence_of_a_packed_sequence_is_shifted_on_its_own(placement):
    lstm = nn.LSTM(8, 8)
    sequences = [torch.randn(length, 8) for length in (3, 6, 1)]
    shifted = [temporal_shift(x, **BOTH_WAYS) for x in sequences]
    if placement == "inplace":
        expected = [lstm(x)[0] for x in shifted]
    else:
        expected = [lstm(x)[0] + y - x for x, y in zip(sequences, shifted, strict=True)]
    add_temporal_shift(lstm, nn.LSTM, placement=placement, **BOTH_WAYS)
    output, state = lstm(pack_sequence(sequences, enforce_sorted=False))
    assert [one.shape for one in state] == [(1, 3, 8)] * 2
    for y, right in zip(unpack_sequence(output), expected, strict=True):
        torch.testing.assert_close(y, right)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_each_sequence_of_a_nested_tensor_is_shifted_on_its_own(layout):
    sequences = [torch.randn(length, 8) for length in (3, 6, 1)]
    model = nn.Sequential(Block())
    expected = [by_hand(model, x[None], True)[0] for x in sequences]
    outputs = with_residual(model)(torch.nested.nested_tensor(sequences, layout=layout))
    for y, right in zip(outputs.unbind(), expected, strict=True):
        torch.testing.assert_close(y, right)


def test_under_autocast_the_output_has_the_dtype_of_the_sum():
    model, x = nn.Linear(8, 8), torch.randn(2, 5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(x) + (temporal_shift(x) - x)
        y = add_temporal_shift(model, nn.Linear, placement="residual")(x)
    assert y.dtype == torch.float32
    assert torch.equal(y, expected)


def test_a_shared_module_is_chosen_once_by_any_of_its_names():
    shared = nn.Linear(8, 8)
    model, x = nn.Sequential(shared, shared), torch.randn(2, 5, 8)
    expected = shared(temporal_shift(shared(temporal_shift(x))))
    assert torch.equal(add_temporal_shift(model, "1")(x), expected)


def test_blocks_can_share_a_branch():
    model, x = blocks(), torch.randn(2, 5, 8)
    model[1].dropout = model[0].dropout
    torch.testing.assert_close(with_residual(model)(x), by_hand(copy.deepcopy(remove_temporal_shift(model)), x, True))


ADDED = {
    "inplace": with_inplace,
    "residual": partial(add_temporal_shift, where=r"\d", placement="residual", **BOTH_WAYS),
    "branch": with_residual,
}


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_compiled_with_fullgraph_equals_eager_forward_and_backward(put):
    torch.compiler.reset()
    model = put(blocks())
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for length in (5, 7):
        x = torch.randn(2, length, 8, requires_grad=True)
        y, expected = compiled(x), model(x)
        torch.testing.assert_close(y, expected)
        weight = torch.randn_like(y)
        torch.testing.assert_close(torch.autograd.grad(y, x, weight), torch.autograd.grad(expected, x, weight))


@pytest.mark.parametrize(
    ("put", "strict"), [(ADDED["inplace"], False), (ADDED["residual"], False), (ADDED["branch"], True)]
)
def test_exported_equals_eager(put, strict):
    torch.compiler.reset()
    model, x = put(blocks()), torch.randn(2, 5, 8)
    frames = torch.export.Dim("frames", min=2)
    exported = torch.export.export(model, (x,), dynamic_shapes=({1: frames},), strict=strict).module()
    for length in (5, 9):
        x = torch.randn(2, length, 8)
        torch.testing.assert_close(exported(x), model(x))


@pytest.mark.parametrize("put", ADDED.values(), ids=ADDED.keys())
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
def test_traced_by_torchscript_equals_eager_on_other_lengths(put):
    model = put(blocks())
    traced = torch.jit.trace(model, torch.randn(2, 5, 8))
    for length in (5, 1, 9):
        x = torch.randn(2, length, 8)
        torch.testing.assert_close(traced(x), model(x))


def test_shifts_can_be_added_to_and_removed_from_a_compiled_model():
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), torch.randn(2, 5, 8)
    compiled = torch.compile(model, backend="eager")
    plain = compiled(x)
    add_temporal_shift(model, nn.Linear)
    assert not torch.equal(compiled(x), plain)
    assert torch.equal(compiled(x), model(x))
    remove_temporal_shift(model)
    assert torch.equal(compiled(x), plain)


def test_compiled_with_a_graph_break_in_a_block_equals_eager():
    torch.compiler.reset()
    model, x = with_residual(blocks()), torch.randn(2, 5, 8)
    model[0].linear.register_forward_pre_hook(lambda module, args: torch._dynamo.graph_break())
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x), model(x))


@pytest.mark.parametrize("model", [nn.Linear(8, 8), nn.Sequential(Block())], ids=["Linear", "Block"])
def test_a_shift_that_does_not_fit_the_channels_raises_an_error_when_called(model):
    add_temporal_shift(model, type(model), n_div=9)
    with pytest.raises(ValueError, match=r"n_div.*\[1, 8\].*9"):
        model(torch.randn(2, 5, 8))


class Dictionary(nn.Module):
    def forward(self, x):
        return {"x": x}


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        return x + nn.functional.linear(x, self.linear.weight)


X = torch.zeros(2, 5, 8)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (
            lambda: add_temporal_shift(blocks(), Block, placement="before"),
            ValueError,
            "placement.*'inplace', 'residual'.*'before'",
        ),
        (
            lambda: add_temporal_shift(blocks(), Block, branch="linear"),
            ValueError,
            "branch must be None.*placement='inplace'.*'linear'",
        ),
        (
            lambda: add_temporal_shift(blocks(), Block, placement="residual", branch="conv"),
            ValueError,
            r"branch.*'0' \(Block\).*'norm', 'linear', 'dropout'.*'conv'",
        ),
        (
            lambda: add_temporal_shift(blocks(), "layer"),
            ValueError,
            r"where.*Sequential.*'0', '0\.norm', '0\.linear', '0\.dropout', '1', \.\.\..*'layer'",
        ),
        (lambda: add_temporal_shift(nn.ReLU(), "layer"), ValueError, "where.*ReLU.*'layer'"),
        (
            lambda: add_temporal_shift(with_inplace(blocks()), "1"),
            ValueError,
            r"'1' \(Block\) already has a temporal shift; call remove_temporal_shift\(\)",
        ),
        (lambda: add_temporal_shift(nn.ModuleList([nn.Linear(8, 8)]), ""), ValueError, "where.*ModuleList.*no forward"),
        (
            lambda: add_temporal_shift(nn.TransformerEncoderLayer(8, 2, batch_first=True), nn.Linear),
            ValueError,
            r"where.*'self_attn\.out_proj'.*does not call",
        ),
        (
            lambda: add_temporal_shift(torch.jit.trace(nn.Sequential(nn.ReLU()), torch.randn(2, 5, 8)), "0"),
            ValueError,
            "where.*'0'.*before it is scripted or traced",
        ),
        (lambda: add_temporal_shift([nn.ReLU()], nn.ReLU), TypeError, r"model must be a torch\.nn\.Module, got list"),
        (lambda: add_temporal_shift(blocks(), "*.0"), ValueError, r"where must be a valid regular expression.*'\*\.0'"),
        (lambda: add_temporal_shift(blocks(), ["0"]), TypeError, r"where must be a class.*\['0'\]"),
        (lambda: remove_temporal_shift(blocks(), nn.ELU()), TypeError, "where must be a class.*ELU"),
        (
            lambda: add_temporal_shift(nn.Linear(8, 4), nn.Linear, placement="residual")(X),
            ValueError,
            r"\(Linear\) must return.*\(2, 5, 8\).*got \(2, 5, 4\)",
        ),
        (
            lambda: add_temporal_shift(Dictionary(), Dictionary, placement="residual")(X),
            TypeError,
            r"\(Dictionary\) must return a tensor.*dict",
        ),
        (
            lambda: add_temporal_shift(Unused(), Unused, placement="residual", branch="linear")(X),
            ValueError,
            r"branch.*'linear' of '' \(Unused\) was not called",
        ),
        (
            lambda: add_temporal_shift(Named(Block()), Block)(X),
            ValueError,
            r"'net' \(Block\) must get its input.*'x'",
        ),
        (
            lambda: add_temporal_shift(blocks(), Block, groups=[(2, 1)], n_div=8),
            ValueError,
            r"n_div.*None.*groups.*n_div=8",
        ),
        (lambda: add_temporal_shift(blocks(), Block, n_div=2.0), TypeError, r"n_div.*int.*2\.0"),
        (lambda: add_temporal_shift(blocks(), Block, time_dim=-1), ValueError, "time_dim=-1.*channel_dim=-1"),
    ],
)
def test_errors_name_the_wrong_argument_or_module(act, error, message):
    with pytest.raises(error, match=message):
        act()


def test_the_repr_shows_each_shift_until_it_is_removed():
    model = nn.Sequential(nn.Linear(8, 8), Block())
    plain = repr(model)
    add_temporal_shift(model, "0", n_div=4)
    add_temporal_shift(model, "1", placement="residual", branch="dropout", stride=2)
    lines = repr(model).splitlines()
    assert lines[1] == (
        "  (0): Linear(in_features=8, out_features=8, bias=True, "
        "temporal_shift=(n_div=4, stride=1, bidirectional=False, placement='inplace'))"
    )
    assert lines[3] == (
        "    temporal_shift=(n_div=8, stride=2, bidirectional=False, placement='residual', branch='dropout')"
    )
    duplicate = copy.deepcopy(model)
    assert repr(duplicate) == repr(saved(model)) == repr(model)
    duplicate[0].out_features = 9
    assert "out_features=9" in repr(duplicate)
    assert "out_features=9" not in repr(model)
    assert repr(remove_temporal_shift(model)) == plain


def test_settings_survive_json_and_restore_the_shifts_in_another_model():
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 8), Block()), nn.Conv1d(5, 5, 1))
    duplicate, x = copy.deepcopy(model), torch.randn(2, 5, 8)
    add_temporal_shift(model, "0.1", placement="residual", branch="dropout", groups=[(2, 1), (1, -2)])
    add_temporal_shift(model, "1", n_div=4, padding_mode="replicate", bidirectional=True)
    settings = json.loads(json.dumps(temporal_shift_settings(model)))
    assert restore_temporal_shifts(duplicate, settings) is duplicate
    assert torch.equal(duplicate(x), model(x))
    assert json.loads(json.dumps(temporal_shift_settings(duplicate))) == settings


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ([], TypeError, "settings.*dict.*list"),
        ({"0": {}, "1": None}, TypeError, "settings.*dict.*'1'.*NoneType"),
        ({"0": {}, "dropout": {}}, ValueError, "settings.*'dropout'.*'0.dropout', '1.dropout'"),
        ({"0": {}, "1": {"where": "0"}}, ValueError, "'1' must be among placement, .*'where'"),
        ({"0": {}, "1": {"n_div": 0}}, ValueError, "n_div.*0"),
    ],
)
def test_wrong_settings_raise_an_error_and_do_not_change_the_model(settings, error, message):
    model = blocks()
    with pytest.raises(error, match=message):
        restore_temporal_shifts(model, settings)
    assert hooks_of(model) == []


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("encoder.layers.0", "'model.encoder.layers.0'"),
        (r"encoder\.layers\.\d", "'model.encoder.layers.0', 'model.encoder.layers.1'"),
        ("model.encoder.layer.0", "'model.encoder.layers.0', .*"),
        ("(?i)LAYERS.1", "'model.encoder.layers.1'"),
    ],
)
def test_similar_names_are_suggested(where, meant):
    layers = nn.ModuleDict({"layers": blocks()})
    model = nn.ModuleDict({"model": nn.ModuleDict({"encoder": layers})})
    for act in (add_temporal_shift, remove_temporal_shift):
        with pytest.raises(ValueError, match=rf"where must.*got {re.escape(repr(where))}; did you mean {meant}\?$"):
            act(model, where)
        with pytest.raises(ValueError, match="got 'Block'; 'Block' is the name of a class: pass the class itself"):
            act(model, "Block")


def test_an_error_does_not_change_the_model():
    model = nn.Sequential(Block(), nn.Linear(8, 8))
    with pytest.raises(ValueError, match="branch must be a submodule of '1'"):
        add_temporal_shift(model, r"\d", placement="residual", branch="linear")
    assert hooks_of(model) == []
    model = blocks()
    add_temporal_shift(model, "1")
    with pytest.raises(ValueError, match="already has"):
        add_temporal_shift(model, Block)
    assert list(find_temporal_shifts(model)) == ["1"]
