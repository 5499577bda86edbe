"""Checkpoints of the reference implementation: its six models, written here from the paper, give the same logits."""

from __future__ import annotations

import math
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from temporal_shift.ser.models.frame_classifier import FrameClassifier, FrameClassifierConfig
from temporal_shift.ser.models.shiftser_checkpoints import convert_shiftser, from_shiftser, to_shiftser

DIM, FRAMES, HEADS = 32, 11, 4
SHIFTS = {
    "CNN": None,
    "ShiftCNN": {"placement": "residual", "n_div": 16},
    "LSTM": None,
    "ShiftLSTM": {"placement": "inplace", "n_div": 4},
    "Transformer": None,
    "Shiftformer": {"placement": "replace", "n_div": 4, "bidirectional": True},
}
TOLD_BY_NAMES = ("LSTM", "ShiftLSTM", "Transformer", "Shiftformer")


def shift(x, n_div, bidirectional=False):
    moved, fold = x.clone(), x.shape[-1] // n_div
    moved[:, 0, :fold] = 0
    moved[:, 1:, :fold] = x[:, :-1, :fold]
    if bidirectional:
        moved[:, -1, fold : 2 * fold] = 0
        moved[:, :-1, fold : 2 * fold] = x[:, 1:, fold : 2 * fold]
    return moved


class Transpose(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class ConvBlock(nn.Module):
    def __init__(self, shifted):
        super().__init__()
        self.shifted = shifted
        self.sequential = nn.Sequential(
            nn.Conv1d(DIM, DIM, 7, padding=3, groups=DIM),
            Transpose(),
            nn.LayerNorm(DIM),
            Transpose(),
            nn.Conv1d(DIM, 4 * DIM, 1),
            nn.GELU(),
            nn.Conv1d(4 * DIM, DIM, 1),
        )

    def forward(self, x):
        return (shift(x, 16) if self.shifted else x) + self.sequential(x.transpose(1, 2)).transpose(1, 2)


class Shifted(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(shift(x, 4))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(DIM, 3 * DIM)
        self.distance_embedding = nn.Embedding(2 * FRAMES - 1, DIM // HEADS)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        steps = torch.arange(length)
        relative = self.distance_embedding(steps[:, None] - steps[None, :] + FRAMES - 1)  # (L, L, d)
        scores = torch.einsum("bhid,bhjd->bhij", q, k)
        scores = scores + torch.einsum("bhid,ijd->bhij", q, relative) + torch.einsum("bhjd,ijd->bhij", k, relative)
        weights = (scores / math.sqrt(DIM // HEADS)).softmax(-1)
        return torch.einsum("bhij,bhjd->bihd", weights, v).reshape(batch, length, DIM)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(DIM, 4 * DIM)
        self.fc2 = nn.Linear(4 * DIM, DIM)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class AttentionBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.token_mixer = Attention()
        self.norm1 = nn.LayerNorm(DIM)
        self.mlp = MLP()
        self.norm2 = nn.LayerNorm(DIM)

    def forward(self, x):
        x = self.norm1(x + self.token_mixer(x))
        return self.norm2(x + self.mlp(x))


class ShiftBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = MLP()
        self.norm2 = nn.LayerNorm(DIM)

    def forward(self, x):
        x = shift(x, 4, bidirectional=True)
        return self.norm2(x + self.mlp(x))


class SpecAugment(nn.Module):
    def __init__(self):
        super().__init__()
        self.masked_spec_embed = nn.Parameter(torch.rand(DIM))


class Reference(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.specaugment = SpecAugment()
        if name in ("CNN", "ShiftCNN"):
            self.conv_block = nn.Sequential(ConvBlock(False), ConvBlock(name == "ShiftCNN"))
            self.norm = nn.LayerNorm(DIM)
        elif name in ("LSTM", "ShiftLSTM"):
            lstm = nn.LSTM(DIM, DIM, batch_first=True, bidirectional=True)
            self.rnn = lstm if name == "LSTM" else Shifted(lstm)
            self.norm = nn.LayerNorm(2 * DIM)
        else:
            block = AttentionBlock if name == "Transformer" else ShiftBlock
            self.transformer = nn.Sequential(block(), block())
        self.head = nn.Linear(2 * DIM if name in ("LSTM", "ShiftLSTM") else DIM, 5)

    def forward(self, x):
        if hasattr(self, "conv_block"):
            x = self.norm(self.conv_block(x))
        elif hasattr(self, "rnn"):
            x = self.norm(self.rnn(x)[0])
        else:
            x = self.transformer(x)
        return self.head(x.mean(1))


def reference(name):
    model = Reference(name).double()
    for parameter in model.parameters():  # norms and biases too, so that none can be lost unseen
        nn.init.normal_(parameter, std=0.3)
    return model


def weights(name):
    return dict(reference(name).state_dict())


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without(state_dict, *names):
    return {name: tensor for name, tensor in state_dict.items() if name not in names}


def raises(error, *parts):
    """The message contains these parts, in this order."""
    return pytest.raises(error, match=".*".join(map(re.escape, parts)))


@pytest.mark.parametrize("name", SHIFTS)
def test_a_converted_model_gives_the_logits_of_the_reference(name):
    model = reference(name)
    converted = from_shiftser(model.state_dict(), SHIFTS[name])
    assert not converted.training
    for length in (FRAMES, 8):
        frames = torch.randn(3, length, DIM, dtype=torch.float64)
        torch.testing.assert_close(converted(frames).logits, model(frames))


@pytest.mark.parametrize("name", TOLD_BY_NAMES)
def test_the_names_tell_a_shift_of_the_papers_from_none(name):
    state_dict, frames = weights(name), torch.randn(3, FRAMES, DIM, dtype=torch.float64)
    told, given = from_shiftser(state_dict), from_shiftser(state_dict, SHIFTS[name])
    assert torch.equal(told(frames).logits, given(frames).logits)
    assert (told.config.shift is None) == (SHIFTS[name] is None)


def test_names_and_shapes_tell_the_sizes_and_arguments_the_rest():
    config = from_shiftser(weights("Transformer"), spec_augment={"time_prob": 0.1}).config
    assert (config.blocks, config.hidden_size, config.num_labels) == ("transformer", DIM, 5)
    assert (config.num_frames, config.num_attention_heads) == (FRAMES, HEADS)
    assert config.spec_augment["time_prob"] == 0.1
    config = from_shiftser(weights("LSTM"), id2label=dict(enumerate("abcde")), num_frames=50).config
    assert (config.num_frames, config.id2label[4]) == (50, "e")
    assert from_shiftser(weights("Shiftformer")).config.num_frames == 374


@pytest.mark.parametrize("placement", ["residual", "inplace"])
def test_a_shift_beside_or_before_attention_has_the_names_of_a_transformer(placement):
    given = {"placement": placement, "n_div": 4}
    model = from_shiftser(weights("Transformer"), given)
    assert model.config.shift == given
    frames = torch.randn(3, FRAMES, DIM, dtype=torch.float64)
    assert not torch.allclose(model(frames).logits, from_shiftser(weights("Transformer"))(frames).logits)


@pytest.mark.parametrize("name", SHIFTS)
def test_converted_names_are_those_of_the_model(name):
    model = FrameClassifier(
        FrameClassifierConfig(
            {"CNN": "conv", "STM": "lstm"}.get(name[-3:], "transformer"), SHIFTS[name], DIM, FRAMES, HEADS, num_labels=5
        )
    )
    converted = convert_shiftser(weights(name))
    assert {n: t.shape for n, t in converted.items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize("name", SHIFTS)
def test_the_way_back_gives_the_same_names_and_tensors(name):
    state_dict = weights(name)
    assert equal(to_shiftser(convert_shiftser(state_dict), SHIFTS[name]), state_dict)
    assert equal(to_shiftser(from_shiftser(state_dict, SHIFTS[name]).state_dict(), SHIFTS[name]), state_dict)


def test_the_way_back_needs_a_shift_for_an_lstm_only():
    for name in ("CNN", "Transformer", "Shiftformer"):
        state_dict = weights(name)
        assert equal(to_shiftser(convert_shiftser(state_dict)), state_dict)
    with pytest.raises(ValueError, match=r"shift must be .*LSTM.*ShiftLSTM"):
        to_shiftser(convert_shiftser(weights("LSTM")))


@pytest.mark.parametrize("name", ["Transformer", "ShiftLSTM"])
def test_weights_in_safetensors_convert_and_the_model_saves_and_loads(name, tmp_path):
    state_dict, frames = weights(name), torch.randn(3, FRAMES, DIM, dtype=torch.float64)
    save_file(state_dict, tmp_path / "reference.safetensors")
    model = from_shiftser(load_file(tmp_path / "reference.safetensors"), SHIFTS[name])
    model.save_pretrained(tmp_path / "model")
    again = FrameClassifier.from_pretrained(tmp_path / "model", dtype=torch.float64)
    assert again.config.shift == model.config.shift
    assert equal(again.state_dict(), model.state_dict())
    torch.testing.assert_close(again(frames).logits, model(frames).logits)


def test_weights_in_a_torch_file_are_read_without_unpickling_code(tmp_path):
    torch.save({"model": weights("ShiftLSTM"), "epoch": 3}, tmp_path / "reference.pt")
    checkpoint = torch.load(tmp_path / "reference.pt", weights_only=True)
    assert from_shiftser(checkpoint["model"]).config.shift["n_div"] == 4


def test_the_prefix_of_distributed_training_is_dropped():
    state_dict = weights("ShiftCNN")
    wrapped = {f"module.{key}": tensor for key, tensor in state_dict.items()}
    assert equal(convert_shiftser(wrapped), convert_shiftser(state_dict))


def test_a_prefix_on_some_names_only_is_not_that_of_distributed_training():
    state_dict = weights("LSTM")
    state_dict["module.head.bias"] = state_dict.pop("head.bias")
    with raises(ValueError, "the LSTM: unknown module.head.bias; missing head.bias"):
        convert_shiftser(state_dict)


def test_linear_layers_stand_for_1x1_convolutions():
    state_dict = weights("CNN")
    linear = {n: t.squeeze(-1) if re.search(r"[46]\.weight$", n) else t for n, t in state_dict.items()}
    assert linear["conv_block.0.sequential.4.weight"].shape == (4 * DIM, DIM)
    assert equal(convert_shiftser(linear), convert_shiftser(state_dict))
    linear["conv_block.0.sequential.4.weight"] = torch.zeros(4, 1)  # of one channel: not a convolution's last dimension
    assert convert_shiftser(linear)["encoder.0.expand.weight"].shape == (4, 1)


def test_a_stored_norm1_of_a_shiftformer_is_left_out():
    state_dict = weights("Shiftformer")
    unused = {f"transformer.{i}.norm1.{p}": torch.full((DIM,), 7.0) for i in (0, 1) for p in ("weight", "bias")}
    assert equal(convert_shiftser({**state_dict, **unused}), convert_shiftser(state_dict))


@pytest.mark.parametrize("name", ["CNN", "Transformer"])
def test_training_the_model_leaves_the_callers_tensors_as_they_were(name):
    state_dict = weights(name)
    before = {key: tensor.clone() for key, tensor in state_dict.items()}
    model = from_shiftser(state_dict, SHIFTS[name]).train()
    frames = torch.randn(3, FRAMES, DIM, dtype=torch.float64)
    model(frames, labels=torch.tensor([0, 1, 2])).loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not equal(model.state_dict(), convert_shiftser(before))
    assert equal(state_dict, before)


def test_a_conversion_of_names_copies_no_weight():
    state_dict = weights("CNN")
    converted = convert_shiftser(state_dict)
    assert sorted(t.data_ptr() for t in converted.values()) == sorted(t.data_ptr() for t in state_dict.values())


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("CNN", torch.float16), ("LSTM", torch.bfloat16), ("Transformer", torch.float32), ("Shiftformer", torch.float64)],
)
def test_weights_keep_their_dtype(name, dtype):
    state_dict = {key: tensor.to(dtype) for key, tensor in weights(name).items()}
    converted = from_shiftser(state_dict, SHIFTS[name]).state_dict()
    assert {tensor.dtype for tensor in converted.values()} == {dtype}
    assert equal(converted, convert_shiftser(state_dict))


def test_a_cnn_needs_a_shift_argument():
    with raises(ValueError, "shift must be", "CNN", "ShiftCNN", "{'placement': 'residual', 'n_div': 16}"):
        from_shiftser(weights("ShiftCNN"))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Shiftformer", None),
        ("Shiftformer", {"placement": "residual", "n_div": 4}),
        ("Transformer", SHIFTS["Shiftformer"]),
    ],
)
def test_a_shift_that_the_names_contradict_is_refused(name, given):
    with raises(ValueError, "shift", name, "placement='replace'", f"got {given!r}"):
        from_shiftser(weights(name), given)


def test_names_that_are_unknown_or_missing_are_listed():
    state_dict = without(weights("LSTM"), "head.bias", "rnn.bias_ih_l0")
    state_dict["rnn.weight_ih_l1"] = state_dict["odd"] = torch.zeros(1)
    with raises(ValueError, "the LSTM: unknown rnn.weight_ih_l1, odd; missing head.bias, rnn.bias_ih_l0"):
        convert_shiftser(state_dict)
    with raises(ValueError, "the CNN: missing specaugment.masked_spec_embed"):
        convert_shiftser(without(weights("CNN"), "specaugment.masked_spec_embed"))


def test_the_names_of_two_kinds_of_blocks_are_refused():
    transformer, lstm = weights("Transformer"), weights("LSTM")
    unknown = [name for name in lstm if name not in transformer]
    with raises(ValueError, f"the Transformer: unknown {', '.join(unknown)}"):
        convert_shiftser({**transformer, **lstm})


def test_the_way_back_lists_the_names_of_a_model_that_is_not_ours():
    ours = convert_shiftser(weights("Shiftformer"))
    with raises(ValueError, "the Shiftformer: unknown classifier.weight; missing head.weight"):
        to_shiftser({**without(ours, "head.weight"), "classifier.weight": ours["head.weight"]})


def test_shapes_that_do_not_fit_are_listed():
    state_dict = weights("Shiftformer")
    state_dict["transformer.1.norm2.bias"] = torch.zeros(DIM + 1)
    state_dict["head.weight"] = torch.zeros(5)
    with raises(
        ValueError, "head.weight must be (5, 32), got (5,)", "transformer.1.norm2.bias must be (32,), got (33,)"
    ):
        from_shiftser(state_dict)


def test_a_table_of_relative_positions_of_a_wrong_shape_is_listed():
    state_dict = weights("Transformer")
    for shape in ((), (0, 8), (21,), (20, 8), (21, 12), (21, 0)):
        state_dict["transformer.0.token_mixer.distance_embedding.weight"] = torch.zeros(shape)
        with pytest.raises(ValueError, match=r"shapes .* transformer\.0\.token_mixer.* must be .*, got"):
            from_shiftser(state_dict)


def test_an_argument_that_contradicts_the_shapes_is_refused():
    with raises(ValueError, "head.weight must be (2, 64), got (5, 64)", "head.bias must be (2,), got (5,)"):
        from_shiftser(weights("LSTM"), id2label={0: "calm", 1: "tense"})


@pytest.mark.parametrize("convert", [convert_shiftser, from_shiftser, to_shiftser])
def test_a_whole_checkpoint_is_refused_with_the_key_to_pass(convert):
    for key in ("model", "state_dict"):
        with pytest.raises(TypeError, match=rf"state_dict .*'epoch': int.* checkpoint\['{key}'\]"):
            convert({"epoch": 3, key: weights("LSTM")})


def test_what_is_not_a_mapping_of_tensors_is_refused():
    with raises(TypeError, "state_dict", "got Linear"):
        convert_shiftser(nn.Linear(2, 2))
    with raises(TypeError, "state_dict", "got 'head.bias': list"):
        convert_shiftser({"head.bias": [1.0]})
