"""The shift put into models that exist: Hugging Face's, torch's, a ResNet; and taken out again."""

from __future__ import annotations

import copy
import gc
import io
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

from temporal_shift import ShiftTransformerLayer, TemporalShift, temporal_shift
from temporal_shift.surgery import add_temporal_shift, find_temporal_shifts, remove_temporal_shift

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


class BasicBlock(nn.Module):
    """That of a ResNet, along time."""

    def __init__(self, dim):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm1d(dim)
        self.conv2, self.bn2 = nn.Conv1d(dim, dim, 3, padding=1, bias=False), nn.BatchNorm1d(dim)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        identity = x
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.conv1 = nn.Conv1d(dim, dim, 3, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(dim), BasicBlock(dim))
        self.layer2 = nn.Sequential(BasicBlock(dim))

    def forward(self, x):
        return self.layer2(self.layer1(self.conv1(x)))


class Named(nn.Module):
    """Calls a net by the name of its argument alone."""

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
    """What blocks() compute with a shift."""
    for block in model:
        shifted = temporal_shift(x, **BOTH_WAYS)
        x = shifted + block.linear(block.norm(x if residual else shifted))
    return x


def hooks_of(model):
    names = [name for name in vars(model) if name.startswith("_forward")]
    return [entry for module in model.modules() for name in names for entry in getattr(module, name)]


@pytest.fixture(scope="module")
def wav2vec2():
    return pytest.importorskip("transformers.models.wav2vec2.modeling_wav2vec2")


def tiny_config(wav2vec2, **arguments):
    config = wav2vec2.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8),
        conv_stride=(2, 2),
        conv_kernel=(3, 3),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        **arguments,
    )
    config._attn_implementation = "eager"
    return config


def post_norm(layer, skip, read):
    h = layer.layer_norm(skip + layer.attention(read)[0])
    return layer.final_layer_norm(h + layer.feed_forward(h))


def pre_norm(layer, skip, read):
    h = skip + layer.attention(layer.layer_norm(read))[0]
    return h + layer.feed_forward(layer.final_layer_norm(h))


@pytest.mark.parametrize(
    ("name", "computed"), [("Wav2Vec2EncoderLayer", post_norm), ("Wav2Vec2EncoderLayerStableLayerNorm", pre_norm)]
)
@pytest.mark.parametrize("branch", [None, "attention", "dropout"])
def test_a_wav2vec2_layer_computes_what_is_written_out_by_hand(wav2vec2, name, computed, branch):
    layer = getattr(wav2vec2, name)(tiny_config(wav2vec2)).eval()
    plain, x = copy.deepcopy(layer), torch.randn(2, 9, 16)
    shifted = temporal_shift(x, **BOTH_WAYS)
    placement = "inplace" if branch is None else "residual"
    add_temporal_shift(layer, type(layer), placement=placement, branch=branch, **BOTH_WAYS)
    torch.testing.assert_close(layer(x), computed(plain, shifted, shifted if branch is None else x))


def test_a_residual_without_branch_is_beside_a_module_whose_input_the_skip_carries(wav2vec2):
    layer = wav2vec2.Wav2Vec2EncoderLayer(tiny_config(wav2vec2)).eval()
    plain, x = copy.deepcopy(layer), torch.randn(2, 9, 16)
    add_temporal_shift(layer, "attention", placement="residual", **BOTH_WAYS)
    torch.testing.assert_close(layer(x), post_norm(plain, temporal_shift(x, **BOTH_WAYS), x))
    assert isinstance(layer.attention(x), tuple)


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("chosen", ["class", "regex", "function"])
def test_in_a_whole_wav2vec2_every_layer_chosen_shifts_its_input(wav2vec2, stable, chosen):
    model = wav2vec2.Wav2Vec2Model(tiny_config(wav2vec2, do_stable_layer_norm=stable)).eval()
    wrapped, audio = copy.deepcopy(model), torch.randn(2, 200)
    layers = wrapped.encoder.layers
    cls = type(layers[0])
    for i, layer in enumerate(layers):
        layers[i] = TemporalShift(layer, **BOTH_WAYS)
    ways = {"class": cls, "regex": r"encoder\.layers\.\d+", "function": lambda _, module: isinstance(module, cls)}
    add_temporal_shift(model, ways[chosen], **BOTH_WAYS)
    assert list(find_temporal_shifts(model)) == ["encoder.layers.0", "encoder.layers.1"]
    mask = torch.ones(2, 200).long()
    assert torch.equal(model(audio, attention_mask=mask)[0], wrapped(audio, attention_mask=mask)[0])


def checkpointed(wav2vec2, **arguments):
    """The gradient of a tiny model with a shift, plain, and a function that gives it with checkpointing."""
    dropouts = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")
    config = tiny_config(wav2vec2, **dict.fromkeys(dropouts, 0.0), apply_spec_augment=False)
    model = add_temporal_shift(wav2vec2.Wav2Vec2Model(config).train(), **arguments, **BOTH_WAYS)
    audio, weight = torch.randn(2, 200), model.feature_projection.projection.weight

    def gradient():
        return torch.autograd.grad(model(audio)[0].pow(3).sum(), weight)[0]

    expected = gradient()
    for layer in model.encoder.layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    return expected, gradient


@pytest.mark.parametrize(
    "arguments",
    [{"where": r"encoder\.layers\.\d+"}, {"where": r".*\.attention", "placement": "residual"}],
    ids=["inplace", "residual"],
)
def test_checkpointing_of_hugging_face_changes_no_gradient(wav2vec2, arguments):
    expected, gradient = checkpointed(wav2vec2, **arguments)
    torch.testing.assert_close(gradient(), expected)


def test_checkpointing_that_recomputes_a_branch_without_the_hooks_of_its_module_is_an_error(wav2vec2):
    where = {"where": r"encoder\.layers\.1", "placement": "residual", "branch": "dropout"}
    _, gradient = checkpointed(wav2vec2, **where)
    sentence = (
        "branch 'dropout' of 'encoder.layers.1' (Wav2Vec2EncoderLayer) is recomputed without the hooks of "
        "'encoder.layers.1' (Wav2Vec2EncoderLayer): activation checkpointing must be of its call, not of its forward, "
        "or the shift must need no branch"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        gradient()


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_of_calls_changes_no_gradient(reentrant):
    model, x = with_residual(blocks()), torch.randn(2, 5, 8, requires_grad=True)
    model(x).pow(3).sum().backward()
    expected, x.grad = x.grad, None
    y = x
    for block in model:
        y = checkpoint(block, y, use_reentrant=reentrant)
    y.pow(3).sum().backward()
    torch.testing.assert_close(x.grad, expected)


def test_a_resnet_gets_tsms_shift_as_by_wrapping_its_convolutions():
    model, x = ResNet(), torch.randn(2, 8, 9)
    tsm = {"n_div": 4, "stride": -1, "bidirectional": True}
    wrapped = copy.deepcopy(model)
    for block in (*wrapped.layer1, *wrapped.layer2):
        block.conv1 = TemporalShift(block.conv1, **tsm)
    assert "layer1.0.conv1.net.weight" in wrapped.state_dict()
    add_temporal_shift(model, r"layer\d+\.\d+\.conv1", **tsm)
    assert torch.equal(model(x), wrapped(x))


@pytest.mark.parametrize("dims", [{}, {"time_dim": -1, "channel_dim": -2}])
def test_a_resnet_gets_the_papers_residual_shift(dims):
    model, x = ResNet(), torch.randn(2, 8, 9)
    plain = copy.deepcopy(model)
    expected = plain.conv1(x)
    for block in (*plain.layer1, *plain.layer2):
        f = block.bn2(block.conv2(block.bn1(block.conv1(expected)).relu()))
        expected = (f + temporal_shift(expected, **BOTH_WAYS, time_dim=-1, channel_dim=-2)).relu()
    add_temporal_shift(model, BasicBlock, placement="residual", branch="bn2", **dims, **BOTH_WAYS)
    torch.testing.assert_close(model(x), expected)


def encoders(batch_first, norm_first, placement, branch):
    """torch's encoder with a shift put in, and one made of ShiftTransformerLayer."""
    arguments = (16, 2, 24, 0.1, "gelu", 1e-5, batch_first, norm_first)
    layer = ShiftTransformerLayer(*arguments, placement=placement, **BOTH_WAYS)
    nested = batch_first and not norm_first
    built = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(*arguments), 2, enable_nested_tensor=nested)
    model.load_state_dict(built.state_dict())
    add_temporal_shift(model, nn.TransformerEncoderLayer, placement=placement, branch=branch, **BOTH_WAYS)
    return model, built


@pytest.mark.parametrize(("placement", "branch"), [("inplace", None), ("residual", "dropout1")])
@pytest.mark.parametrize(
    ("batch_first", "norm_first"), [(True, False), (False, False), (True, True), (False, True)], ids=str
)
@pytest.mark.parametrize("train", [True, False])
def test_an_encoder_computes_what_shift_transformer_layers_do_on_valid_frames(
    placement, branch, batch_first, norm_first, train
):
    model, built = encoders(batch_first, norm_first, placement, branch)
    x, lengths = torch.randn(3, 9, 16), torch.tensor([9, 4, 1])
    padding = torch.arange(9) >= lengths[:, None]

    def valid(encoder, x):
        torch.manual_seed(1)
        x = x if batch_first else x.transpose(0, 1)
        with torch.set_grad_enabled(train):
            y = encoder.train(train)(x, src_key_padding_mask=padding)
        return (y if batch_first else y.transpose(0, 1))[~padding]

    output = valid(model, x)
    torch.testing.assert_close(output, valid(built, x))
    noisy = torch.where(padding[..., None], 100 * torch.randn(3, 9, 16), x)
    torch.testing.assert_close(valid(model, noisy), output)


@pytest.mark.parametrize("branch", ["dropout1", "self_attn"])
def test_an_encoder_that_nests_its_batch_computes_what_it_does_on_a_padded_one(branch):
    model, _ = encoders(True, False, "residual", branch)
    model.eval()
    seen = []
    model.layers[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].is_nested))
    x, padding = torch.randn(3, 9, 16), torch.arange(9) >= torch.tensor([[9], [4], [1]])
    padded = model(x, src_key_padding_mask=padding)
    with torch.no_grad():
        nested = model(x, src_key_padding_mask=padding)
    assert seen == [False, True]
    torch.testing.assert_close(nested[~padding], padded[~padding])


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("placement", ["inplace", "residual"])
def test_padding_content_never_reaches_a_valid_frame_however_the_mask_is_given(placement, padding_mode):
    layer = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True)
    branch = None if placement == "inplace" else "dropout1"
    add_temporal_shift(layer, "", placement=placement, branch=branch, padding_mode=padding_mode, **BOTH_WAYS)
    x, padding = torch.randn(2, 5, 8), torch.tensor([[False] * 5, [False] * 2 + [True] * 3])
    score = torch.zeros(2, 5).masked_fill(padding, float("-inf"))
    noisy = torch.where(padding[..., None], 100 * torch.randn(2, 5, 8), x)
    expected = layer(x, src_key_padding_mask=padding)[~padding]
    for y in (layer(noisy, None, padding), layer(noisy, src_key_padding_mask=score)):
        torch.testing.assert_close(y[~padding], expected)
    one = layer(noisy[1], src_key_padding_mask=padding[1])
    torch.testing.assert_close(one[:2], expected[-2:])


def test_a_decoder_layer_shifts_its_padding_as_zeros_too():
    layer = add_temporal_shift(nn.TransformerDecoderLayer(8, 2, 8, 0.0, batch_first=True), "", **BOTH_WAYS)
    x, memory, padding = torch.randn(1, 5, 8), torch.randn(1, 3, 8), torch.tensor([[False, False, True, True, True]])
    noisy = torch.where(padding[..., None], 100 * torch.randn(1, 5, 8), x)
    y, expected = (layer(one, memory, tgt_key_padding_mask=padding)[:, :2] for one in (noisy, x))
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_the_model_keeps_its_class_its_names_and_its_state(put):
    model = blocks()
    names, keys, attributes = dict(model.named_modules()), list(model.state_dict()), set(vars(model[0]))
    assert put(model) is model
    assert dict(model.named_modules()) == names
    assert list(model.state_dict()) == keys
    assert set(vars(model[0])) == attributes
    assert type(model[0]) is Block


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_added_and_removed_it_leaves_the_model_as_it_was(put):
    model, x = blocks(), torch.randn(2, 5, 8)
    expected = model(x)
    put(model)
    torch.testing.assert_close(model(x), by_hand(model, x, put is with_residual))
    assert not torch.allclose(model(x), expected)
    assert remove_temporal_shift(model) is model
    assert torch.equal(model(x), expected)
    assert hooks_of(model) == []
    assert find_temporal_shifts(model) == {}


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_only_those_chosen_are_removed(put):
    model, x = put(blocks()), torch.randn(2, 5, 8)
    remove_temporal_shift(model, "0")
    assert list(find_temporal_shifts(model)) == ["1"]
    plain = remove_temporal_shift(copy.deepcopy(model))
    torch.testing.assert_close(model(x), by_hand(plain[1:], plain[0](x), put is with_residual))


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_a_copy_has_a_shift_of_its_own(put, copied):
    model, x = put(blocks()), torch.randn(2, 5, 8)
    expected = model(x)
    twin = copied(model)
    assert torch.equal(twin(x), expected)
    remove_temporal_shift(twin)
    assert hooks_of(twin) == []
    assert torch.equal(model(x), expected)
    assert not torch.allclose(twin(x), expected)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_in_a_process_that_unpickled_a_model_another_hook_does_not_replace_the_shift(put, monkeypatch):
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


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_gradients_are_those_of_the_model_written_by_hand(put):
    plain, x = blocks().double(), torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    model = put(copy.deepcopy(plain))
    y, expected = model(x), by_hand(plain, x, put is with_residual)
    weight = torch.randn_like(y)
    gradients = torch.autograd.grad(y, (x, *model.parameters()), weight)
    for one, right in zip(gradients, torch.autograd.grad(expected, (x, *plain.parameters()), weight), strict=True):
        torch.testing.assert_close(one, right)


@pytest.mark.parametrize("put", [with_inplace, with_residual])
def test_no_input_stays_alive_after_a_forward_that_succeeds_or_fails(put):
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


def test_after_a_forward_that_failed_the_next_one_is_right():
    model, x = with_residual(blocks()), torch.randn(2, 5, 8)
    expected = model(x)
    with pytest.raises(RuntimeError, match="broken"):
        model[0](torch.randn(1, 3, 8), broken=True)
    linear = model[0].linear(x)
    assert torch.equal(model[0].dropout(linear), linear)  # alone, the branch has no input of its block
    assert torch.equal(model(x), expected)


def test_threads_do_not_mix_their_inputs():
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
def test_with_stride_0_the_model_is_itself_bit_for_bit(placement):
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
def test_a_residual_leaves_what_does_not_move_bit_for_bit(groups):
    x = torch.randn(2, 5, 8)
    x[:, :, [3, 4, 7]] = torch.tensor([float("inf"), float("nan"), -0.0])
    arguments = {"n_div": 4} if groups is None else {"groups": groups}
    y = add_temporal_shift(nn.Tanh(), nn.Tanh, placement="residual", **arguments)(x)
    moved = [0, 1] if groups is None else [0, 1, 5]
    still = [c for c in range(8) if c not in moved]
    assert torch.equal(y[..., still].view(torch.int32), x.tanh()[..., still].view(torch.int32))
    expected = x.tanh() + temporal_shift(x, **arguments) - x
    torch.testing.assert_close(y[..., moved], expected[..., moved])


def test_the_callers_tensor_is_not_overwritten():
    model, x = with_inplace(blocks()), torch.randn(2, 5, 8)
    before = x.clone()
    model(x)
    assert torch.equal(x, before)


def test_an_input_given_by_name_is_shifted():
    model, x = Named(nn.Linear(8, 8)), torch.randn(2, 5, 8)
    expected = model.net(temporal_shift(x))
    assert torch.equal(add_temporal_shift(model, nn.Linear)(x), expected)


@pytest.mark.parametrize("placement", ["inplace", "residual"])
def test_of_a_packed_sequence_each_sequence_is_shifted_as_if_alone(placement):
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
def test_of_a_nested_tensor_each_sequence_is_shifted_as_if_alone(layout):
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


def test_a_branch_that_blocks_share_gains_what_each_of_them_is_given():
    model, x = blocks(), torch.randn(2, 5, 8)
    model[1].dropout = model[0].dropout
    torch.testing.assert_close(with_residual(model)(x), by_hand(copy.deepcopy(remove_temporal_shift(model)), x, True))


ADDED = {
    "inplace": with_inplace,
    "residual": partial(add_temporal_shift, where=r"\d", placement="residual", **BOTH_WAYS),
    "branch": with_residual,
}


@pytest.mark.parametrize("put", ADDED.values(), ids=ADDED)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_fullgraph_it_equals_eager_forward_and_backward(put, dynamic):
    torch.compiler.reset()
    model = put(blocks())
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for length in (5, 7):
        x = torch.randn(2, length, 8, requires_grad=True)
        y, expected = compiled(x), model(x)
        torch.testing.assert_close(y, expected)
        weight = torch.randn_like(y)
        torch.testing.assert_close(torch.autograd.grad(y, x, weight), torch.autograd.grad(expected, x, weight))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("put", ADDED.values(), ids=ADDED)
def test_exported_it_equals_eager(put, strict):
    torch.compiler.reset()
    model, x = put(blocks()), torch.randn(2, 5, 8)
    frames = torch.export.Dim("frames", min=2)
    exported = torch.export.export(model, (x,), dynamic_shapes=({1: frames},), strict=strict).module()
    for length in (5, 9):
        x = torch.randn(2, length, 8)
        torch.testing.assert_close(exported(x), model(x))


def test_compiled_with_a_break_inside_a_block_it_equals_eager():
    torch.compiler.reset()
    model, x = with_residual(blocks()), torch.randn(2, 5, 8)
    model[0].linear.register_forward_pre_hook(lambda module, args: torch._dynamo.graph_break())
    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x), model(x))


@pytest.mark.parametrize("model", [nn.Linear(8, 8), nn.Sequential(Block())], ids=["Linear", "Block"])
def test_a_wrong_shift_is_told_so_when_called(model):
    add_temporal_shift(model, type(model), n_div=9)
    with pytest.raises(ValueError, match=r"^n_div=9 moves none of the 8 channels: it must be at most 8$"):
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


@pytest.mark.parametrize(
    ("act", "error", "sentence"),
    [
        (
            lambda: add_temporal_shift(blocks(), Block, placement="before"),
            ValueError,
            "placement='before' is not known here: it must be one of 'inplace', 'residual'",
        ),
        (
            lambda: add_temporal_shift(blocks(), Block, branch="linear"),
            ValueError,
            "branch='linear' needs placement=\"residual\": with placement='inplace' it must be None",
        ),
        (
            lambda: add_temporal_shift(blocks(), Block, placement="residual", branch="conv"),
            ValueError,
            "branch='conv' is no submodule of '0' (Block), which has 'norm', 'linear', 'dropout'",
        ),
        (
            lambda: add_temporal_shift(blocks(), "layer"),
            ValueError,
            "where='layer' matches no module of Sequential, which has '0', '0.norm', '0.linear', '0.dropout', '1', ...",
        ),
        (
            lambda: add_temporal_shift(nn.ReLU(), "layer"),
            ValueError,
            "where='layer' matches no module of ReLU, which has none but itself",
        ),
        (
            lambda: add_temporal_shift(with_inplace(blocks()), "1"),
            ValueError,
            "'1' (Block) has a shift: it must be taken out first, by remove_temporal_shift",
        ),
        (
            lambda: add_temporal_shift(blocks(), ["0"]),
            TypeError,
            "where=['0'] chooses no module: it must be a class of modules or a tuple of them, a regular expression for "
            "names, or a function of name and module",
        ),
        (
            lambda: remove_temporal_shift(blocks(), nn.ELU()),
            TypeError,
            "where=ELU(alpha=1.0) chooses no module: it must be a class of modules or a tuple of them, a regular "
            "expression for names, or a function of name and module",
        ),
        (
            lambda: add_temporal_shift(nn.Linear(8, 4), nn.Linear, placement="residual")(torch.randn(2, 5, 8)),
            ValueError,
            "'' (Linear) gives shape (2, 5, 4), and the input of '' (Linear) has (2, 5, 8): they must be the same, as "
            "the two that a skip connection adds",
        ),
        (
            lambda: add_temporal_shift(Dictionary(), Dictionary, placement="residual")(torch.randn(2, 5, 8)),
            TypeError,
            "'' (Dictionary) gives dict: it must give a tensor, or a tuple whose first element is one",
        ),
        (
            lambda: add_temporal_shift(Unused(), Unused, placement="residual", branch="linear")(torch.randn(2, 5, 8)),
            ValueError,
            "branch 'linear' of '' (Unused) was not called: branch must name a submodule that the forward calls",
        ),
        (
            lambda: add_temporal_shift(Named(Block()), Block)(torch.randn(2, 5, 8)),
            ValueError,
            "'net' (Block) was called without an input: it must come first, or as 'x'",
        ),
    ],
)
def test_what_cannot_be_done_is_told_so(act, error, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        act()


def test_an_error_leaves_the_model_as_it_was():
    model = nn.Sequential(Block(), nn.Linear(8, 8))
    with pytest.raises(ValueError, match="is no submodule of '1'"):
        add_temporal_shift(model, r"\d", placement="residual", branch="linear")
    assert hooks_of(model) == []
    model = blocks()
    add_temporal_shift(model, "1")
    with pytest.raises(ValueError, match="has a shift"):
        add_temporal_shift(model, Block)
    assert list(find_temporal_shifts(model)) == ["1"]
