"""Features that Hugging Face's own audio classifiers have."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForAudioClassification, Trainer, TrainingArguments

from temporal_shift import add_temporal_shift, find_temporal_shifts
from temporal_shift.ser import SpeechClassifier, SpeechClassifierConfig

from ..small_model import ENCODERS, LABELS, SECONDS, small_model

SAMPLES = round(SECONDS * 16000)
WAVES = torch.linspace(-1, 1, 2 * SAMPLES).sin().reshape(2, SAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    small_model("hubert", "lstm").save_pretrained(folder / "inner")
    return folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"num_labels": 7}, [f"LABEL_{index}" for index in range(7)]),
        ({"num_labels": 4}, list(LABELS)),
        ({"id2label": {0: "calm", 1: "tense"}}, ["calm", "tense"]),
        ({"label2id": {"tense": "1", "calm": "0"}}, ["calm", "tense"]),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "num_labels": 2}, ["a", "b"]),
    ],
)
@pytest.mark.parametrize("model_class", [SpeechClassifier, AutoModelForAudioClassification])
def test_other_classes_replace_those_of_the_saved_model(model_class, arguments, expected, folder):
    model, loading = model_class.from_pretrained(
        folder / "inner", ignore_mismatched_sizes=True, output_loading_info=True, **arguments
    )
    saved = small_model("hubert", "lstm").state_dict()
    assert list(model.labels) == expected
    assert model.config.label2id == {name: index for index, name in enumerate(expected)}
    assert model(WAVES).logits.shape == (2, len(expected))
    new = {name for name, *_ in loading["mismatched_keys"]}
    assert new == (set() if len(expected) == 4 else {"classifier.head.weight", "classifier.head.bias"})
    weights = model.state_dict()
    assert [name for name in saved if name not in new and not torch.equal(saved[name], weights[name])] == []


@pytest.mark.parametrize("lacking", ["head", "classifier"])
def test_weights_that_a_checkpoint_lacks_are_initialised_as_in_a_new_model(lacking, folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "inner" / "config.json").read_bytes())
    weights = load_file(folder / "inner" / "model.safetensors")
    save_file({key: weight for key, weight in weights.items() if lacking not in key}, tmp_path / "model.safetensors")
    models = []
    for filler in (math.nan, 1e9):
        memory = [torch.full((size,), filler) for size in (4, 16, 64, 128, 1024, 4096) for _ in range(20)]
        del memory  # uninitialised weights would reuse this freed memory
        torch.manual_seed(1)
        models.append(SpeechClassifier.from_pretrained(tmp_path).classifier)
    states = [model.state_dict() for model in models]
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    bound = models[0].head.in_features ** -0.5
    assert bound / 2 < models[0].head.weight.abs().max() <= bound
    if lacking == "classifier":
        assert torch.equal(models[0].encoder[1].weight, torch.ones(32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 3, "id2label": {0: "a", 1: "b"}}, r"num_labels must be 2, .*got 3"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, r"label2id must be the inverse of id2label"),
        ({"average": 1.5}, r"average .* got 1\.5"),
        ({"layer": 9}, r"layer must be .*\[-4, 3\].* got 9"),
    ],
)
def test_arguments_of_from_pretrained_are_validated_like_the_file(arguments, message, folder):
    with pytest.raises(ValueError, match=message):
        SpeechClassifier.from_pretrained(folder / "inner", **arguments)


def test_a_model_is_found_by_keyword_and_in_a_subfolder(folder):
    model = SpeechClassifier.from_pretrained(pretrained_model_name_or_path=folder, subfolder="inner", dtype="bfloat16")
    assert (model.labels, model.dtype) == (LABELS, torch.bfloat16)
    with pytest.raises(OSError, match=r"config\.json"):
        SpeechClassifier.from_pretrained(folder, subfolder="outer")
    with pytest.raises(OSError, match=r"config\.json"):
        SpeechClassifier.from_pretrained(folder)


def test_the_encoders_hidden_states_and_attentions_are_returned_on_request():
    model = small_model("whisper", layer=1)
    plain = model(WAVES)
    assert plain.hidden_states is plain.attentions is None
    model.set_attn_implementation("eager")
    output = model(WAVES, output_hidden_states=True, output_attentions=True)
    assert [tuple(states.shape) for states in output.hidden_states] == [(2, 25, 16)] * 3
    assert [tuple(weights.shape) for weights in output.attentions] == [(2, 2, 25, 25)] * 2
    torch.testing.assert_close(output.logits, plain.logits)
    frames = output.hidden_states[1]
    torch.testing.assert_close(model.classifier(frames).logits, plain.logits)
    logits, states, _ = model(WAVES, output_hidden_states=True, output_attentions=True, return_dict=False)
    torch.testing.assert_close(logits, plain.logits)
    assert len(states) == 3
    model.config.output_hidden_states = True
    assert len(model(WAVES).hidden_states) == 3


def test_unknown_attributes_of_the_configuration_are_dropped_with_a_warning(tmp_path):
    model = small_model()
    model.config.my_note = "x"
    with pytest.warns(UserWarning, match=r"config\.json has no field for my_note"):
        model.save_pretrained(tmp_path)
    assert SpeechClassifier.from_pretrained(tmp_path).labels == LABELS


def test_renamed_classes_are_saved_so_that_the_model_loads(tmp_path):
    model = small_model("hubert", "lstm")
    model.config.id2label = dict(enumerate("wxyz"))
    with pytest.warns(UserWarning, match="label2id is not the inverse of id2label"):
        model.save_pretrained(tmp_path)
    assert SpeechClassifier.from_pretrained(tmp_path).labels == ("w", "x", "y", "z")


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_a_loaded_model_trains_the_same_parameters_as_a_new_one(family, tmp_path):
    model = small_model(family)
    model.save_pretrained(tmp_path)
    loaded = SpeechClassifier.from_pretrained(tmp_path)
    trained, expected = (
        [name for name, each in one.named_parameters() if each.requires_grad] for one in (loaded, model)
    )
    assert trained == expected


@pytest.mark.parametrize("waves", [WAVES[0], WAVES[:, None], WAVES.to(torch.int16)])
def test_waveforms_of_other_shapes_and_types_are_refused(waves):
    with pytest.raises(ValueError, match=r"input_values must be .*floating-point .*\(batch, samples\), got torch"):
        small_model()(waves)


def test_a_state_dict_replaces_the_saved_weights(folder):
    weights = {name: weight + 1 for name, weight in small_model("hubert", "lstm").state_dict().items()}
    found = SpeechClassifier.from_pretrained(folder / "inner", state_dict=weights).state_dict()
    assert [name for name in weights if not torch.equal(weights[name], found[name])] == []


def test_only_the_first_process_saves(tmp_path):
    small_model("hubert", "lstm").save_pretrained(tmp_path, is_main_process=False)
    assert list(tmp_path.iterdir()) == []


def test_invalid_places_and_arguments_are_refused(folder, tmp_path):
    saved, model = folder / "inner", small_model("hubert", "lstm")
    (tmp_path / "file").touch()
    for act, message in (
        (lambda: SpeechClassifier.from_pretrained(None), "config and state_dict must be given"),
        (lambda: SpeechClassifier.from_pretrained(saved, config={}), "config must be a SpeechClassifierConfig.*dict"),
        (lambda: SpeechClassifier.from_pretrained(saved, variant="fp16"), "variant must be None"),
        (lambda: model.save_pretrained(tmp_path / "new", variant="fp16"), "variant must be None, got 'fp16'"),
        (lambda: model.save_pretrained(tmp_path / "file"), "save_directory must be a folder, got the file"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            act()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_encoder_uses_the_given_attn_implementation(folder):
    for kind in ("sdpa", "eager"):
        model = SpeechClassifier.from_pretrained(folder / "inner", attn_implementation=kind)
        assert model.backbone.model.config._attn_implementation == model.config._attn_implementation == kind
    wavlm = small_model("wavlm")  # supports only eager
    assert wavlm.config._attn_implementation == "eager"
    with pytest.raises(ValueError, match=r"WavLMModel does not support .*scaled_dot_product_attention"):
        SpeechClassifier(SpeechClassifierConfig(**{**wavlm.config.to_dict(), "attn_implementation": "sdpa"}))


@pytest.mark.parametrize("family", ["hubert", "whisper"])
def test_gradient_checkpointing_gives_the_same_gradients(family):
    gradients = []
    for checkpointing in (False, True):
        model = small_model(family, encoder={"hidden_dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0})
        model.train()
        model.classifier.spec_augment.eval()
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert model.is_gradient_checkpointing
        torch.manual_seed(0)
        model(WAVES, labels=torch.tensor([1, 2])).loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, msg=name)


def test_the_trainer_trains_with_gradient_checkpointing(tmp_path):
    model = small_model("whisper", "lstm")
    before = model.classifier.head.weight.detach().clone()
    rows = [{"input_values": wave, "labels": label} for label, wave in enumerate(WAVES)]
    settings = TrainingArguments(
        tmp_path, max_steps=1, gradient_checkpointing=True, report_to=[], use_cpu=True, disable_tqdm=True
    )
    Trainer(model, settings, train_dataset=rows).train()
    assert model.is_gradient_checkpointing
    assert not torch.equal(model.classifier.head.weight, before)


@pytest.mark.parametrize(("family", "layer"), [("whisper", "last"), ("hubert", 1)])
def test_the_model_compiles_as_one_graph_with_the_same_output(family, layer):
    model = small_model(family, layer=layer)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="eager")(WAVES)
        torch.testing.assert_close(compiled.logits, model(WAVES).logits)


@pytest.mark.parametrize("family", ["whisper", "hubert"])
def test_one_graph_accepts_clips_of_any_length(family):
    model = small_model(family)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="eager")
    with torch.no_grad():
        for samples in (SAMPLES, SAMPLES // 3, 2 * SAMPLES):
            clips = torch.linspace(-1, 1, samples).sin().expand(2, -1)
            torch.testing.assert_close(compiled(clips).logits, model(clips).logits)


def test_an_added_shift_is_saved_and_loaded(tmp_path):
    model = add_temporal_shift(small_model("wav2vec2", "conv"), r".*\.feed_forward", n_div=4, bidirectional=True)
    assert len(find_temporal_shifts(model)) == ENCODERS["wav2vec2"].num_hidden_layers
    model.save_pretrained(tmp_path)
    loaded = SpeechClassifier.from_pretrained(tmp_path)
    assert repr(loaded) == repr(model)
    with torch.no_grad():
        logits = loaded(WAVES).logits
        torch.testing.assert_close(logits, model(WAVES).logits)
        assert not torch.allclose(logits, small_model("wav2vec2", "conv")(WAVES).logits)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["temporal_shifts"] = {"nowhere": {}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"settings must name modules .*'nowhere'"):
        SpeechClassifier.from_pretrained(tmp_path)
