"""Checkpoints of ShiftSER. ``published_models.py`` contains its six models, written from the paper."""

from __future__ import annotations

import re
import warnings
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from temporal_shift.ser import SpeechClassifier
from temporal_shift.ser.models import shiftser_checkpoints
from temporal_shift.ser.models.frame_classifier import FrameClassifier, FrameClassifierConfig
from temporal_shift.ser.models.shiftser_checkpoints import to_shiftser

from ..published_models import SHIFTS, PublishedModel
from ..torchaudio_layout import DIM as BACKBONE_DIM
from ..torchaudio_layout import ShiftSERModel, TorchaudioModel, randomise

DIM, FRAMES, HEADS = 32, 11, 4
TOLD_BY_NAMES = ("LSTM", "ShiftLSTM", "Transformer", "Shiftformer")
from_shiftser, convert_shiftser, speech_classifier_from_shiftser = (
    partial(getattr(shiftser_checkpoints, name), position="relative_key_query")
    for name in ("from_shiftser", "convert_shiftser", "speech_classifier_from_shiftser")
)


def reference(name, dim=DIM, frames=FRAMES, classes=5):
    model = PublishedModel(name, dim, frames, HEADS, classes).double().eval()
    for parameter in model.parameters():  # including norms and biases, so that tests detect a lost one
        nn.init.normal_(parameter, std=0.3)
    return model


def weights(name):
    return dict(reference(name).state_dict())


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without(state_dict, *names):
    return {name: tensor for name, tensor in state_dict.items() if name not in names}


def raises(error, *parts):
    """Expect an error with these parts in its message, in this order."""
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
def test_the_names_determine_whether_there_is_a_shift(name):
    state_dict, frames = weights(name), torch.randn(3, FRAMES, DIM, dtype=torch.float64)
    told, given = from_shiftser(state_dict), from_shiftser(state_dict, SHIFTS[name])
    assert torch.equal(told(frames).logits, given(frames).logits)
    assert (told.config.shift is None) == (SHIFTS[name] is None)


def test_names_and_shapes_determine_the_sizes_and_arguments_the_rest():
    config = from_shiftser(weights("Transformer"), spec_augment={"time_prob": 0.1}).config
    assert (config.blocks, config.hidden_size, config.num_labels) == ("transformer", DIM, 5)
    assert (config.num_frames, config.num_attention_heads) == (FRAMES, HEADS)
    assert config.spec_augment["time_prob"] == 0.1
    config = from_shiftser(weights("LSTM"), id2label=dict(enumerate("abcde")), num_frames=50).config
    assert (config.num_frames, config.id2label[4]) == (50, "e")
    assert from_shiftser(weights("Shiftformer")).config.num_frames == 374


@pytest.mark.parametrize("placement", ["residual", "inplace"])
def test_a_residual_or_inplace_shift_has_the_names_of_a_transformer(placement):
    given = {"placement": placement, "n_div": 4}
    model = from_shiftser(weights("Transformer"), given)
    assert model.config.shift == {**given, "stride": 1, "bidirectional": False}
    frames = torch.randn(3, FRAMES, DIM, dtype=torch.float64)
    assert not torch.allclose(model(frames).logits, from_shiftser(weights("Transformer"))(frames).logits)


@pytest.mark.parametrize("name", SHIFTS)
def test_converted_names_match_the_model(name):
    model = FrameClassifier(
        FrameClassifierConfig(
            {"CNN": "conv", "STM": "lstm"}.get(name[-3:], "transformer"), SHIFTS[name], DIM, FRAMES, HEADS, num_labels=5
        )
    )
    converted = convert_shiftser(weights(name))
    assert {n: t.shape for n, t in converted.items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize("name", SHIFTS)
def test_converting_back_gives_the_same_names_and_tensors(name):
    state_dict = weights(name)
    assert equal(to_shiftser(convert_shiftser(state_dict), SHIFTS[name]), state_dict)
    assert equal(to_shiftser(from_shiftser(state_dict, SHIFTS[name]).state_dict(), SHIFTS[name]), state_dict)


def test_converting_back_needs_shift_only_for_an_lstm():
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


@pytest.fixture(scope="module")
def whole():
    """A fine-tuned model. Its weights have the names that ShiftSER saves."""
    torch.manual_seed(0)
    return ShiftSERModel(randomise(TorchaudioModel()), reference("Transformer", BACKBONE_DIM)).double().eval()


@pytest.mark.parametrize("is_old", [False, True])
def test_a_checkpoint_with_its_encoder_becomes_the_whole_model(is_old, whole, tmp_path):
    state_dict, waves = whole.state_dict(), 0.1 * torch.randn(2, 4000, dtype=torch.float64)
    if is_old:  # the older names of torch's weight norm
        new = (("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v"))
        for name, older in new:
            position = f"pretrain.encoder.transformer.pos_conv_embed.conv.{name}"
            state_dict[position.replace(name, older)] = state_dict.pop(position)
    model = speech_classifier_from_shiftser(state_dict, clip_seconds=0.24, id2label=dict(enumerate("abcde")))
    assert (model.training, model.labels) == (False, tuple("abcde"))
    torch.testing.assert_close(model(waves).logits, whole(waves[:, :3840]))
    torch.testing.assert_close(model(waves[:, :3000]).logits, whole(nn.functional.pad(waves[:, :3000], (0, 840))))
    model.save_pretrained(tmp_path)
    again = SpeechClassifier.from_pretrained(tmp_path, dtype=torch.float64)
    torch.testing.assert_close(again(waves).logits, model(waves).logits)


def test_a_whole_model_from_data_parallel_training_converts_to_the_same_model(whole):
    wrapped = {f"module.{name}": tensor for name, tensor in whole.state_dict().items()}
    one, other = (speech_classifier_from_shiftser(each, clip_seconds=0.24) for each in (whole.state_dict(), wrapped))
    assert equal(one.state_dict(), other.state_dict())


@pytest.mark.parametrize("name", ["ShiftCNN", "ShiftLSTM", "Shiftformer"])
def test_every_kind_of_blocks_converts_with_an_encoder_of_other_frames(name):
    backbone = randomise(TorchaudioModel())
    whole = ShiftSERModel(backbone, reference(name, BACKBONE_DIM)).double().eval()
    waves = 0.1 * torch.randn(1, 8000, dtype=torch.float64)
    model = speech_classifier_from_shiftser(whole.state_dict(), SHIFTS[name], clip_seconds=0.5)
    torch.testing.assert_close(model(waves).logits, whole(waves))
    assert model.config.classifier_config["num_frames"] == 24


def test_an_ignored_encoder_is_a_warning(whole):
    downstream = whole.model.state_dict()
    with pytest.warns(UserWarning, match=r"pretrain\.\*.*ignored.*speech_classifier_from_shiftser"):
        assert equal(from_shiftser(whole.state_dict()).state_dict(), convert_shiftser(downstream))
    with pytest.warns(UserWarning, match=r"pretrain\.\*.*ignored"):
        assert equal(convert_shiftser(whole.state_dict()), convert_shiftser(downstream))


def test_a_classifier_alone_may_have_its_prefix():
    state_dict = weights("LSTM")
    assert equal(convert_shiftser({f"model.{name}": t for name, t in state_dict.items()}), convert_shiftser(state_dict))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: {k: v for k, v in names.items() if k.startswith("pretrain.")}, r"model\..*backbone only"),
        (lambda names: {k: v for k, v in names.items() if k.startswith("model.")}, r"pretrain\..*got none"),
        (lambda names: {**names, "pretrain.aux.weight": torch.zeros(1)}, r"base.*unknown names aux\.weight"),
        (
            lambda names: without(names, "pretrain.encoder.transformer.layer_norm.bias"),
            r"missing names encoder\.layer_norm",
        ),
        (
            lambda names: {k: v for k, v in names.items() if ".layers." not in k},
            r"missing names encoder\.layers\.0\.feed_forward\.intermediate_dense\.weight$",
        ),
        (
            lambda names: {**names, "pretrain.encoder.transformer.layer_norm.bias": torch.zeros(3)},
            r"encoder\.layer_norm\.bias must be \(128,\), got \(3,\)",
        ),
        (
            lambda names: {**names, "pretrain.feature_extractor.conv_layers.1.conv.weight": torch.zeros(16, 16, 4)},
            r"kernel sizes.*must be \(10, 3, 3, 3, 3, 2, 2\), got \(10, 4,",
        ),
        (
            lambda names: {**names, "pretrain.encoder.feature_projection.projection.weight": torch.zeros(16)},
            r"projection\.weight.*must have 2 dimensions of at least 1, got \(16,\)",
        ),
        (
            lambda names: {**names, "pretrain.encoder.feature_projection.projection.weight": torch.zeros(96, 16)},
            r"channels.*multiple of 64.*got 96",
        ),
        (
            lambda names: {
                **names,
                "pretrain.encoder.transformer.pos_conv_embed.conv.weight_g": torch.zeros(1),
                "pretrain.encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original0": torch.zeros(1),
            },
            r"each weight once",
        ),
        (
            lambda names: {k: t.to(torch.int8) if k.endswith("v_proj.bias") else t for k, t in names.items()},
            r"floating-point.*v_proj\.bias of torch\.int8",
        ),
        (
            lambda names: {k: t.to(torch.bool) if k.endswith("head.bias") else t for k, t in names.items()},
            r"floating-point.*head\.bias of torch\.bool",
        ),
        (
            lambda names: {k: t * float("nan") if k.endswith(".fc1.bias") else t for k, t in names.items()},
            r"must be finite, got NaN or infinity in transformer\.0\.mlp\.fc1\.bias",
        ),
        (
            lambda names: {k: t / 0 if k.endswith("k_proj.weight") else t for k, t in names.items()},
            r"must be finite, got NaN or infinity in encoder\.layers\.0\.attention\.k_proj\.weight",
        ),
        (
            lambda names: {k: t.to(torch.float8_e4m3fn) if k.endswith("head.bias") else t for k, t in names.items()},
            r"16 to 64 bits.*head\.bias of torch\.float8",
        ),
        (
            lambda names: {k: t.to("meta") if k.endswith("head.bias") else t for k, t in names.items()},
            r"dense tensors with data.*head\.bias on the meta device",
        ),
        (
            lambda names: {k: t.to_sparse() if k.endswith("v_proj.bias") else t for k, t in names.items()},
            r"dense tensors with data.*v_proj\.bias of torch\.sparse",
        ),
        (lambda names: {**names, "odd": torch.zeros(1)}, r"model\. or pretrain\..*got odd$"),
    ],
)
def test_a_whole_model_that_does_not_fit_is_a_short_error(whole, change, message):
    with pytest.raises(ValueError, match=message) as error:
        speech_classifier_from_shiftser(change(whole.state_dict()), clip_seconds=0.24)
    assert len(str(error.value)) < 250


def test_encoder_classifier_and_clip_must_fit_each_other(whole):
    other = ShiftSERModel(whole.pretrain, reference("Transformer", 64)).state_dict()
    with pytest.raises(ValueError, match=r"64 channels.*got 128"):
        speech_classifier_from_shiftser(other, clip_seconds=0.24)
    for clip_seconds in (0, -1.0, float("nan"), float("inf"), "7.5", None):
        with pytest.raises(ValueError, match=rf"clip_seconds must be a positive, finite number, got {clip_seconds!r}"):
            speech_classifier_from_shiftser(whole.state_dict(), clip_seconds=clip_seconds)
    for clip_seconds in (0.01, 0.5):
        with pytest.raises(ValueError, match=rf"clip_seconds.*1 to 11 frames.*got {clip_seconds}"):
            speech_classifier_from_shiftser(whole.state_dict(), clip_seconds=clip_seconds)


@pytest.mark.parametrize("position", ["relative_key", "absolute", "x"])
def test_kinds_of_positions_that_cannot_be_converted_are_refused(position):
    for convert in (shiftser_checkpoints.convert_shiftser, shiftser_checkpoints.from_shiftser):
        with raises(ValueError, "position must be 'relative_key_query'", f"got {position!r}"):
            convert(weights("Transformer"), position=position)


@pytest.mark.parametrize("convert", [shiftser_checkpoints.convert_shiftser, shiftser_checkpoints.from_shiftser])
def test_a_transformer_without_position_is_converted_with_a_warning(convert):
    with pytest.warns(UserWarning, match=r"position.*'relative_key_query'.*relative_key has the same names"):
        convert(weights("Transformer"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(weights("Transformer"), position="relative_key_query")
        convert(weights("Shiftformer"))  # has no position embeddings


def test_the_prefix_of_distributed_training_is_dropped():
    state_dict = weights("ShiftCNN")
    wrapped = {f"module.{key}": tensor for key, tensor in state_dict.items()}
    assert equal(convert_shiftser(wrapped), convert_shiftser(state_dict))


def test_a_prefix_on_only_some_names_is_not_dropped():
    state_dict = weights("LSTM")
    state_dict["module.head.bias"] = state_dict.pop("head.bias")
    with raises(ValueError, "the LSTM, got unknown names module.head.bias; missing names head.bias"):
        convert_shiftser(state_dict)


def test_linear_layers_replace_1x1_convolutions():
    state_dict = weights("CNN")
    linear = {n: t.squeeze(-1) if re.search(r"[46]\.weight$", n) else t for n, t in state_dict.items()}
    assert linear["conv_block.0.sequential.4.weight"].shape == (4 * DIM, DIM)
    assert equal(convert_shiftser(linear), convert_shiftser(state_dict))
    # a linear layer of one channel: the 1 is not the kernel size of a convolution
    linear["conv_block.0.sequential.4.weight"] = torch.zeros(4, 1)
    assert convert_shiftser(linear)["encoder.0.expand.weight"].shape == (4, 1)


def test_a_stored_norm1_of_a_shiftformer_is_left_out():
    state_dict = weights("Shiftformer")
    unused = {f"transformer.{i}.norm1.{p}": torch.full((DIM,), 7.0) for i in (0, 1) for p in ("weight", "bias")}
    assert equal(convert_shiftser({**state_dict, **unused}), convert_shiftser(state_dict))


@pytest.mark.parametrize("name", ["CNN", "Transformer"])
def test_training_the_model_does_not_change_the_callers_tensors(name):
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
def test_a_shift_that_contradicts_the_names_is_refused(name, given):
    with raises(ValueError, "shift", name, "placement='replace'", f"got {given!r}"):
        from_shiftser(weights(name), given)


def test_names_that_are_unknown_or_missing_are_listed():
    state_dict = without(weights("LSTM"), "head.bias", "rnn.bias_ih_l0")
    state_dict["rnn.weight_ih_l1"] = state_dict["odd"] = torch.zeros(1)
    with raises(
        ValueError, "the LSTM, got unknown names rnn.weight_ih_l1, odd; missing names head.bias, rnn.bias_ih_l0"
    ):
        convert_shiftser(state_dict)
    with raises(ValueError, "the CNN, got missing names specaugment.masked_spec_embed"):
        convert_shiftser(without(weights("CNN"), "specaugment.masked_spec_embed"))


def test_the_names_of_two_kinds_of_blocks_are_refused():
    transformer, lstm = weights("Transformer"), weights("LSTM")
    with raises(ValueError, "the Transformer, got unknown names rnn.weight_ih_l0", "and 5 more"):
        convert_shiftser({**transformer, **lstm})


def test_converting_back_lists_the_names_of_a_foreign_model():
    ours = convert_shiftser(weights("Shiftformer"))
    with raises(ValueError, "the Shiftformer, got unknown names classifier.weight; missing names head.weight"):
        to_shiftser({**without(ours, "head.weight"), "classifier.weight": ours["head.weight"]})


def test_shapes_that_do_not_fit_are_listed():
    state_dict = weights("Shiftformer")
    state_dict["transformer.1.norm2.bias"] = torch.zeros(DIM + 1)
    state_dict["head.weight"] = torch.zeros(5)
    with raises(
        ValueError, "head.weight must be (5, 32), got (5,)", "transformer.1.norm2.bias must be (32,), got (33,)"
    ):
        from_shiftser(state_dict)


def test_a_checkpoint_has_no_weighted_layers():
    weights = to_shiftser(FrameClassifier(FrameClassifierConfig("lstm", hidden_size=32)).state_dict(), None)
    with pytest.raises(ValueError, match=r"^num_layers must be 0 for a ShiftSER checkpoint, got 3$"):
        from_shiftser(weights, num_layers=3)


def test_a_table_of_relative_positions_of_a_wrong_shape_is_listed():
    state_dict = weights("Transformer")
    for shape in ((), (0, 8), (21,), (20, 8), (21, 12), (21, 0)):
        state_dict["transformer.0.token_mixer.distance_embedding.weight"] = torch.zeros(shape)
        with pytest.raises(ValueError, match=r"shapes .* transformer\.0\.token_mixer.* must be .*, got"):
            from_shiftser(state_dict)


def test_sizes_that_do_not_fit_are_refused_before_a_model_is_built():
    state_dict = weights("Transformer")
    state_dict["specaugment.masked_spec_embed"] = torch.zeros(1_000_000)  # a model of this width needs 100 TB
    with raises(ValueError, "shapes that match each other", "head.weight must be (5, 1000000), got (5, 32)"):
        from_shiftser(state_dict)


def test_an_argument_that_contradicts_the_shapes_is_refused():
    with raises(ValueError, "head.weight must be (2, 64), got (5, 64)", "head.bias must be (2,), got (5,)"):
        from_shiftser(weights("LSTM"), id2label={0: "calm", 1: "tense"})


@pytest.mark.parametrize("convert", [convert_shiftser, from_shiftser, to_shiftser])
def test_a_whole_checkpoint_is_refused_with_the_key_to_pass(convert):
    for key in ("model", "state_dict"):
        with pytest.raises(TypeError, match=rf"state_dict .*'epoch': int.* checkpoint\['{key}'\]"):
            convert({"epoch": 3, key: weights("LSTM")})


def test_anything_but_a_mapping_of_tensors_is_refused():
    with raises(TypeError, "state_dict", "got Linear"):
        convert_shiftser(nn.Linear(2, 2))
    with raises(TypeError, "state_dict", "got 'head.bias': list"):
        convert_shiftser({"head.bias": [1.0]})
