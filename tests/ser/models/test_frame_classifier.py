"""The six classifiers of the ShiftSER paper, the identity mixer and the linear baseline."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn

from temporal_shift import ShiftConv, ShiftLSTM, ShiftTransformerLayer
from temporal_shift.layers import RelativeTransformerLayer
from temporal_shift.ser.models.frame_classifier import FrameClassifier, FrameClassifierConfig
from temporal_shift.ser.utils.errors import RecipeError

SHIFTS = {
    "CNN": ("conv", None),
    "ShiftCNN": ("conv", {"placement": "residual", "n_div": 16}),
    "LSTM": ("lstm", None),
    "ShiftLSTM": ("lstm", {"placement": "inplace", "n_div": 4}),
    "Transformer": ("transformer", None),
    "Shiftformer": ("transformer", {"placement": "replace", "n_div": 4, "bidirectional": True}),
    "Identity mixer": ("transformer", {"placement": "replace", "n_div": 4, "bidirectional": True, "stride": 0}),
    "residual Transformer": ("transformer", {"placement": "residual", "n_div": 4}),
    "Linear": ("linear", None),
    "Linear, mean and deviation": ("linear", None),
}


def classifier(name: str, hidden_size: int = 64, num_frames: int = 21, num_layers: int = 0) -> FrameClassifier:
    blocks, shift = SHIFTS[name]
    return FrameClassifier(
        FrameClassifierConfig(
            blocks=blocks,
            shift=shift,
            hidden_size=hidden_size,
            num_frames=num_frames,
            num_layers=num_layers,
            pooling="mean_std" if name.endswith("deviation") else "mean",
            spec_augment={"time_length": 3, "feature_length": 8},
            num_labels=4,
        )
    )


@pytest.mark.parametrize("name", SHIFTS)
def test_every_parameter_of_every_model_gets_a_gradient(name):
    model = classifier(name).train()
    output = model(torch.randn(3, 21, 64), labels=torch.tensor([0, 1, 3]))
    assert output.logits.shape == (3, 4)
    output.loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("name", SHIFTS)
def test_layer_weights_start_uniform_and_get_a_gradient(name):
    model, plain = classifier(name, num_layers=5), classifier(name)
    assert model.state_dict().keys() - plain.state_dict().keys() == {"layer_weights"}
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if key != "layer_weights"})
    layers = torch.randn(3, 5, 21, 64)
    torch.testing.assert_close(model.eval()(layers).logits, plain.eval()(layers.mean(dim=1)).logits)
    model.train()(layers, labels=torch.tensor([0, 1, 3])).loss.backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_layer_weights_are_a_softmax():
    model, plain = classifier("CNN", num_layers=3).eval(), classifier("CNN").eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if key != "layer_weights"})
    layers = torch.randn(2, 3, 21, 64)
    with torch.no_grad():
        model.layer_weights.copy_(torch.tensor([0.0, 100.0, 0.0]))
        torch.testing.assert_close(model(layers).logits, plain(layers[:, 1]).logits)
        model.layer_weights.copy_(torch.tensor([0.1, 0.2, 0.7]).log() + 3)
        weighed = 0.1 * layers[:, 0] + 0.2 * layers[:, 1] + 0.7 * layers[:, 2]
        torch.testing.assert_close(model(layers).logits, plain(weighed).logits)


def test_a_single_layer_has_no_layer_weights():
    assert classifier("CNN").layer_weights is None


def test_the_loss_is_the_mean_over_the_batch_unless_the_step_has_more_utterances():
    model, frames, labels = classifier("CNN").eval(), torch.randn(6, 21, 64), torch.tensor([0, 1, 2, 3, 0, 1])
    whole = model(frames, labels).loss
    torch.testing.assert_close(whole, nn.functional.cross_entropy(model(frames).logits, labels))
    torch.testing.assert_close(model(frames, labels, num_items_in_batch=6).loss, whole)
    for number in (6, torch.tensor(6)):
        passes = [model(frames[part], labels[part], number).loss for part in (slice(0, 4), slice(4, 6))]
        torch.testing.assert_close(sum(passes), whole)


def test_the_label_minus_100_is_ignored():
    model, frames = classifier("CNN").eval(), torch.randn(3, 21, 64)
    torch.testing.assert_close(
        model(frames, torch.tensor([0, -100, 2]), 2).loss, model(frames[::2], torch.tensor([0, 2])).loss
    )
    alone = model(frames[:1], torch.tensor([-100]), num_items_in_batch=2).loss
    assert alone == 0
    alone.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_without_labels_there_is_no_loss():
    assert classifier("CNN")(torch.randn(3, 21, 64)).loss is None


@pytest.mark.parametrize("placement", ["residual", "replace"])
def test_an_lstm_supports_only_the_placement_inplace(placement):
    shift = {"placement": placement, "n_div": 4}
    with pytest.raises(ValueError, match=rf"placement must be inplace for lstm, got {placement}$"):
        FrameClassifier(FrameClassifierConfig("lstm", shift, hidden_size=64))


@pytest.mark.parametrize(("name", "num_layers"), list(zip(SHIFTS, itertools.cycle((0, 3)))))
def test_a_saved_model_gives_the_same_logits(name, num_layers, tmp_path):
    model = classifier(name, num_layers=num_layers).eval()
    if num_layers:
        nn.init.normal_(model.layer_weights)
    frames = torch.randn(3, *([num_layers] if num_layers else []), 21, 64)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    again = FrameClassifier.from_pretrained(tmp_path).eval()
    assert again.config.shift == model.config.shift
    assert torch.equal(again(frames).logits, model(frames).logits)


def test_the_blocks_match_the_paper():
    cnn, shift_cnn = classifier("CNN").encoder, classifier("ShiftCNN").encoder
    assert [type(m) for m in cnn] == [type(m) for m in shift_cnn] == [ShiftConv, ShiftConv, nn.LayerNorm]
    assert [m.stride for m in cnn[:2]] == [0, 0]
    assert [m.stride for m in shift_cnn[:2]] == [0, 1]
    assert (shift_cnn[1].placement, shift_cnn[1].n_div, shift_cnn[1].bidirectional) == ("residual", 16, False)
    lstm, shift_lstm = classifier("LSTM").encoder, classifier("ShiftLSTM").encoder
    assert (type(lstm[0].lstm), type(shift_lstm[0].lstm)) == (nn.LSTM, ShiftLSTM)
    assert (lstm[0].lstm.bidirectional, lstm[0].lstm.hidden_size, lstm[1].normalized_shape) == (True, 64, (128,))
    assert [type(m) for m in classifier("Transformer").encoder] == [RelativeTransformerLayer] * 2
    shiftformer = classifier("Shiftformer").encoder
    assert [type(m) for m in shiftformer] == [ShiftTransformerLayer] * 2
    assert (shiftformer[0].placement, shiftformer[0].n_div, shiftformer[0].bidirectional) == ("replace", 4, True)


def test_the_linear_baseline_is_a_linear_layer_on_statistics_of_the_frames():
    frames = torch.randn(3, 21, 64)
    mean, deviation = (torch.from_numpy(of(frames.numpy(), axis=1)) for of in (np.mean, np.std))
    for name, pooled in (("Linear", mean), ("Linear, mean and deviation", torch.cat([mean, deviation], dim=1))):
        model = classifier(name).eval()
        assert {key for key, _ in model.named_parameters()} == {"spec_augment.masked_frame", "head.weight", "head.bias"}
        expected = pooled @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(frames).logits, expected)


def test_the_deviation_of_constant_frames_has_a_finite_gradient():
    model, frames = classifier("Linear, mean and deviation").eval(), torch.ones(2, 21, 64, requires_grad=True)
    model(frames, torch.tensor([0, 1])).loss.backward()
    assert frames.grad.isfinite().all()


def test_only_the_linear_baseline_supports_the_deviation():
    with pytest.raises(RecipeError, match=r"pooling must be mean for conv, got mean_std$"):
        FrameClassifierConfig("conv", hidden_size=64, pooling="mean_std")
    with pytest.raises(RecipeError, match=r"shift must be left out for linear, got .*replace$"):
        FrameClassifierConfig("linear", {"placement": "replace", "n_div": 4}, hidden_size=64)
    with pytest.raises(ValueError, match=r"pooling must be mean to stream, got mean_std$"):
        classifier("Linear, mean and deviation").stream()


def test_at_the_papers_size_the_transformer_has_12_heads_and_373_frames_each_way():
    with torch.device("meta"):
        layer = classifier("Transformer", hidden_size=768, num_frames=374).encoder[0]
    assert layer.self_attn.num_heads == 12
    assert layer.self_attn.distance_embedding.num_embeddings == 2 * 374 - 1


@pytest.mark.parametrize(("plain", "shifted"), [("CNN", "ShiftCNN"), ("LSTM", "ShiftLSTM")])
def test_a_shift_adds_no_parameter(plain, shifted):
    plain, shifted = classifier(plain).eval(), classifier(shifted).eval()
    assert plain.state_dict().keys() == shifted.state_dict().keys()
    shifted.load_state_dict(plain.state_dict())
    frames = torch.randn(3, 21, 64)
    assert not torch.allclose(plain(frames).logits, shifted(frames).logits)


def test_the_identity_mixer_cannot_tell_the_order_of_frames_and_the_shiftformer_can():
    identity, shiftformer = classifier("Identity mixer").eval(), classifier("Shiftformer").eval()
    shiftformer.load_state_dict(identity.state_dict())
    frames = torch.randn(3, 21, 64)
    torch.testing.assert_close(identity(frames.flip(1)).logits, identity(frames).logits)
    assert not torch.allclose(shiftformer(frames.flip(1)).logits, shiftformer(frames).logits, atol=1e-3)


@pytest.mark.parametrize("chunk", [1, 4, 21])
@pytest.mark.parametrize(("name", "delay"), [("Shiftformer", 2), ("Identity mixer", 0), ("Linear", 0)])
def test_a_stream_predicts_chunk_by_chunk_and_ends_with_the_logits_of_the_whole(chunk, name, delay):
    model, frames = classifier(name).eval(), torch.randn(2, 21, 64)
    live = model.stream()
    assert live.delay == delay
    with torch.no_grad():
        for fed, part in enumerate(frames.split(chunk, dim=1), start=1):
            logits = live(part)
            complete = min(fed * chunk, 21) - live.delay
            if complete <= 0:
                assert logits.isnan().all()
            else:
                expected = model.head(model.encoder(frames)[:, :complete].mean(1))
                torch.testing.assert_close(logits, expected)
        torch.testing.assert_close(live.flush(), model(frames).logits)


def test_a_stream_continues_from_a_saved_state():
    model, frames = classifier("Shiftformer").eval(), torch.randn(2, 21, 64)
    first = model.stream()
    first(frames[:, :8])
    second = model.stream(first.state)
    second(frames[:, 8:])
    torch.testing.assert_close(second.flush(), model(frames).logits)


@pytest.mark.parametrize("name", ["Linear", "Shiftformer"])
def test_flush_without_a_chunk_is_an_error(name):
    live = classifier(name).eval().stream()
    with pytest.raises(ValueError, match=r"flush\(\) must come after the first chunk"):
        live.flush()
    live(torch.randn(2, 0, 64))
    assert live.flush().isnan().all()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ShiftCNN", "ShiftConv cannot stream"),
        ("ShiftLSTM", "_BidirectionalLSTM cannot stream"),
        ("Transformer", "placement must be 'replace' to stream, got 'inplace'"),
    ],
)
def test_blocks_that_need_the_whole_sequence_cannot_stream(name, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        classifier(name).stream()


def test_a_stream_uses_the_layer_weights():
    shift = {"placement": "replace", "n_div": 4, "bidirectional": True}
    model = FrameClassifier(FrameClassifierConfig("transformer", shift, hidden_size=32, num_layers=3)).eval()
    torch.nn.init.normal_(model.layer_weights)
    frames, live = torch.randn(1, 3, 10, 32), model.stream()
    for chunk in frames.split(4, dim=2):
        live(chunk)
    torch.testing.assert_close(live.flush(), model(frames).logits)


def test_a_shift_that_moves_no_channel_is_refused():
    with pytest.raises(RecipeError, match=r"n_div must be at most 32, .* got 64"):
        FrameClassifierConfig("conv", {"placement": "residual", "n_div": 64}, hidden_size=32)
