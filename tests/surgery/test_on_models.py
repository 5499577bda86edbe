"""The shift in existing models: Hugging Face's Wav2Vec2, a ResNet over time, torch's Transformers."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from temporal_shift import ShiftTransformerLayer, TemporalShift, temporal_shift
from temporal_shift.surgery import (
    add_temporal_shift,
    find_temporal_shifts,
    remove_temporal_shift,
    restore_temporal_shifts,
    temporal_shift_settings,
)
from tests.layers.cases import first

BOTH_WAYS = {"n_div": 4, "bidirectional": True}


class BasicBlock(nn.Module):
    """The basic block of a ResNet, over time."""

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
def test_a_wav2vec2_layer_equals_code_written_by_hand(wav2vec2, name, computed, branch):
    layer = getattr(wav2vec2, name)(tiny_config(wav2vec2)).eval()
    plain, x = copy.deepcopy(layer), torch.randn(2, 9, 16)
    shifted = temporal_shift(x, **BOTH_WAYS)
    placement = "inplace" if branch is None else "residual"
    add_temporal_shift(layer, type(layer), placement=placement, branch=branch, **BOTH_WAYS)
    torch.testing.assert_close(first(layer(x)), computed(plain, shifted, shifted if branch is None else x))


def test_a_residual_without_branch_shifts_the_skip_beside_the_module(wav2vec2):
    layer = wav2vec2.Wav2Vec2EncoderLayer(tiny_config(wav2vec2)).eval()
    plain, x = copy.deepcopy(layer), torch.randn(2, 9, 16)
    add_temporal_shift(layer, "attention", placement="residual", **BOTH_WAYS)
    torch.testing.assert_close(first(layer(x)), post_norm(plain, temporal_shift(x, **BOTH_WAYS), x))
    assert isinstance(layer.attention(x), tuple)


@pytest.mark.parametrize(("stable", "chosen"), [(False, "class"), (True, "regex"), (False, "function")])
def test_in_a_wav2vec2_model_every_chosen_layer_shifts_its_input(wav2vec2, stable, chosen):
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


def checkpointed(wav2vec2, without_hooks=False, **arguments):
    """The gradient of a tiny model with a shift, and a function that computes the gradient with checkpointing."""
    dropouts = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")
    config = tiny_config(wav2vec2, **dict.fromkeys(dropouts, 0.0), apply_spec_augment=False)
    model = add_temporal_shift(wav2vec2.Wav2Vec2Model(config).train(), **arguments, **BOTH_WAYS)
    audio, weight = torch.randn(2, 200), model.feature_projection.projection.weight

    def gradient():
        return torch.autograd.grad(model(audio)[0].pow(3).sum(), weight)[0]

    expected = gradient()
    for layer in model.encoder.layers:
        if without_hooks:  # as transformers after 5.20; up to 5.20, checkpointing also recomputes the hooks
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
        else:
            layer.gradient_checkpointing = True
            layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)
    return expected, gradient


@pytest.mark.parametrize(
    "arguments",
    [{"where": r"encoder\.layers\.\d+"}, {"where": r".*\.attention", "placement": "residual"}],
    ids=["inplace", "residual"],
)
def test_gradient_checkpointing_of_hugging_face_does_not_change_gradients(wav2vec2, arguments):
    expected, gradient = checkpointed(wav2vec2, **arguments)
    torch.testing.assert_close(gradient(), expected)


def test_checkpointing_that_recomputes_a_branch_without_hooks_raises_an_error(wav2vec2):
    where = {"where": r"encoder\.layers\.1", "placement": "residual", "branch": "dropout"}
    _, gradient = checkpointed(wav2vec2, without_hooks=True, **where)
    with pytest.raises(ValueError, match=r"checkpointing.*'encoder\.layers\.1' \(Wav2Vec2EncoderLayer\).*'dropout'"):
        gradient()


def test_tsms_shift_in_a_resnet_equals_wrapped_convolutions():
    model, x = ResNet(), torch.randn(2, 8, 9)
    tsm = {"n_div": 4, "stride": -1, "bidirectional": True}
    wrapped = copy.deepcopy(model)
    for block in (*wrapped.layer1, *wrapped.layer2):
        block.conv1 = TemporalShift(block.conv1, **tsm)
    assert "layer1.0.conv1.net.weight" in wrapped.state_dict()
    add_temporal_shift(model, r"layer\d+\.\d+\.conv1", **tsm)
    assert torch.equal(model(x), wrapped(x))


@pytest.mark.parametrize("dims", [{}, {"time_dim": -1, "channel_dim": -2}])
def test_the_residual_shift_in_a_resnet_equals_code_written_by_hand(dims):
    model, x = ResNet(), torch.randn(2, 8, 9)
    plain = copy.deepcopy(model)
    expected = plain.conv1(x)
    for block in (*plain.layer1, *plain.layer2):
        f = block.bn2(block.conv2(block.bn1(block.conv1(expected)).relu()))
        expected = (f + temporal_shift(expected, **BOTH_WAYS, time_dim=-1, channel_dim=-2)).relu()
    add_temporal_shift(model, BasicBlock, placement="residual", branch="bn2", **dims, **BOTH_WAYS)
    torch.testing.assert_close(model(x), expected)


def encoders(batch_first, norm_first, placement, branch):
    """torch's encoder with added shifts, and an encoder of ShiftTransformerLayer."""
    arguments = (16, 2, 24, 0.1, "gelu", 1e-5, batch_first, norm_first)
    layer = ShiftTransformerLayer(*arguments, placement=placement, **BOTH_WAYS)
    nested = batch_first and not norm_first
    built = nn.TransformerEncoder(layer, 2, enable_nested_tensor=nested)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(*arguments), 2, enable_nested_tensor=nested)
    model.load_state_dict(built.state_dict())
    add_temporal_shift(model, nn.TransformerEncoderLayer, placement=placement, branch=branch, **BOTH_WAYS)
    return model, built


@pytest.mark.parametrize(
    ("placement", "branch", "batch_first", "norm_first", "train"),
    [
        ("inplace", None, True, False, False),
        ("inplace", None, False, True, True),
        ("residual", "dropout1", True, False, False),
        ("residual", "dropout1", True, True, True),
        ("residual", "dropout1", False, False, True),
        ("residual", "dropout1", False, True, False),
    ],
)
def test_torchs_encoder_equals_shift_transformer_layers_on_valid_frames(
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
def test_an_encoder_with_nested_tensors_equals_the_padded_one(branch):
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
def test_padding_affects_no_valid_frame_for_every_form_of_mask(placement, padding_mode):
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


def test_a_decoder_layer_shifts_its_padding_as_zeros():
    layer = add_temporal_shift(nn.TransformerDecoderLayer(8, 2, 8, 0.0, batch_first=True), "", **BOTH_WAYS)
    x, memory, padding = torch.randn(1, 5, 8), torch.randn(1, 3, 8), torch.tensor([[False, False, True, True, True]])
    noisy = torch.where(padding[..., None], 100 * torch.randn(1, 5, 8), x)
    y, expected = (layer(one, memory, tgt_key_padding_mask=padding)[:, :2] for one in (noisy, x))
    torch.testing.assert_close(y, expected)


def test_a_hugging_face_model_warns_if_it_is_saved_without_its_shifts(tmp_path):
    transformers = pytest.importorskip("transformers")
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.HubertConfig(
        **tiny,
        conv_dim=(8,),
        conv_kernel=(10,),
        conv_stride=(5,),
        num_conv_pos_embeddings=2,
        num_conv_pos_embedding_groups=1,
    )
    model = add_temporal_shift(transformers.HubertModel(config), r".*\.feed_forward", n_div=4)
    whole = nn.ModuleDict({"encoder": copy.deepcopy(model)})
    with pytest.warns(UserWarning, match=r"HubertModel .* 1 temporal shift .*'encoder\.layers\.0\.feed_forward'"):
        model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"HubertModel .* 1 temporal shift"):
        whole.state_dict()
    settings = temporal_shift_settings(model)
    restored = restore_temporal_shifts(transformers.HubertModel.from_pretrained(tmp_path), settings)
    removed = remove_temporal_shift(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for quiet in (model, restored, removed):
            quiet.state_dict()
