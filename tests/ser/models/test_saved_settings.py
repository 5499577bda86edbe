"""Invalid config.json files and weights are a one-line error before much memory is allocated."""

from __future__ import annotations

import json
import math
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from temporal_shift.ser import Recognizer, SpeechClassifier, SpeechClassifierConfig
from temporal_shift.ser.cli import app
from temporal_shift.ser.models.frame_classifier import FrameClassifierConfig
from temporal_shift.ser.models.speech_classifier import load_speech_classifier
from temporal_shift.ser.utils.errors import RecipeError

from ..small_model import LABELS, small_model

NAN, INFINITY = math.nan, math.inf

FIELDS = [  # a key, invalid values, and a part of the message
    ("average", (1.5, 0, -1, 10**9, "x", None, NAN, INFINITY, [1]), "average must be"),
    ("layer", (1.5, "evil", None, [1], {}), "layer must be last, weighted or an integer"),
    ("layer", ("weighted",), "num_layers .* layer weighted"),
    ("clip_seconds", (0, -1, 10**9, 1e308, "x", None, NAN, INFINITY), "clip_seconds must be"),
    ("normalize", (2, "x", None, []), "normalize must be"),
    ("holds_backbone", (False,), "backbone must have a name if holds_backbone is false"),
    ("backbone", ("x", [], {"name": 5}, {"evil": "x"}), "backbone"),
    ("provenance", (5, "x", [1]), "provenance must be"),
    ("temporal_shifts", (5, {"backbone": 5}), "temporal_shifts"),
    ("id2label", ([1], 5, "abc"), "id2label must be a dictionary"),
    ("id2label", ({}, {"0": "a"}, {"1": "a", "2": "b"}), r"id2label must have 2 to 10000 classes .*0, 1, 2"),
    ("id2label", ({"x": "a", "1": "b"}, {"-1": "a", "0": "b"}), r"id2label must .*indices 0, 1, 2, .*('x'|-1)"),
    ("id2label", ({"0": "a", "1": "a"}, {"0": "a", "1": "a\u200b"}), "id2label must have different names"),
    (
        "id2label",
        ({"0": 1, "1": 2}, {"0": "", "1": "b"}, {"0": None, "1": "b"}),
        "id2label must have a name for each class",
    ),
    ("id2label", ({"0": "a", "1": "b"},), "label2id must be the inverse of id2label"),
    ("label2id", ({"a": 0}, {name: 3 - index for index, name in enumerate(LABELS)}), "label2id must be the inverse"),
    ("num_labels", (7, -1, "x", 10**12), "num_labels must be"),
    ("averge", (2,), "key 'averge' is not known"),
    ("auto_map", ({"AutoConfig": "evil.C"},), "key 'auto_map' is not known"),
    ("quantization_config", ({"quant_method": "bitsandbytes"},), "key 'quantization_config' is not known"),
    ("_attn_implementation", ("somebody/kernel",), "key '_attn_implementation' is not known"),
    ("attn_implementation", ("somebody/kernel", 5), "attn_implementation must"),
    ("dtype", ("evil", "int8", 5, [1]), "dtype must be one of float16, bfloat16, float32, float64"),
    ("problem_type", ("regression",), "problem_type must be"),
    ("model_type", ("wav2vec2", 5), "model_type must be"),
    ("classifier_config", (5, "x", [], {"evil": 1}), "classifier_config"),
    ("classifier_config.blocks", ("evil", None, 5), "blocks must be 'conv', 'lstm', 'transformer' or 'linear'"),
    ("classifier_config.blocks", ("conv", "lstm"), "placement must be .* got replace"),
    ("classifier_config.shift", (5, {}, {"placement": "evil", "n_div": 4}), "shift"),
    ("classifier_config.shift", ({"placement": "replace", "n_div": 0},), "n_div must be"),
    ("classifier_config.hidden_size", (0, -1, 1.5, 10**9, "x", None), "hidden_size must be"),
    ("clip_seconds", (True,), "clip_seconds must be a number, got true"),
    ("layer", (True,), "layer must be last, weighted or an integer, got True"),
    ("classifier_config.shift", ({"placement": "replace", "n_div": 4, "stride": False},), "stride must be a number"),
    ("classifier_config.num_frames", (0, 10**12, "x"), "num_frames must be"),
    ("classifier_config.num_attention_heads", (0, 3, 10**9, "x"), "num_attention_heads must"),
    ("classifier_config.num_layers", (-1, 3, 10**12), "num_layers"),
    ("classifier_config.spec_augment", ({"time_prob": 2}, {"time_prob": NAN}, {"time_length": 0}), "time_"),
    ("backbone_config", (5, "x", []), "backbone_config must be"),
    ("backbone_config.layer_norm_eps", (NAN, INFINITY, 10**400), "layer_norm_eps must be a finite number"),
]
MODELS = [  # the error is found when the model is built on the meta device
    ("layer", (999, -5), r"layer must be .*\[-4, 3\], got (999|-5)"),
    ("clip_seconds", (1e-9,), r"clips of 1e-09 s"),
    ("temporal_shifts", ({"x": {}}, {"backbone": {"evil": 1}}), "settings"),
    ("classifier_config.hidden_size", (17,), "cannot process clips of"),
    ("classifier_config.shift", ({"placement": "replace", "n_div": 10**9},), "n_div must be"),
    ("backbone_config.model_type", ("evil", "bert", "pix2struct", None, 5), "model_type of backbone_config must be"),
    ("backbone_config.hidden_size", (0, -1, 10**9, "x"), "hidden_size"),
    ("backbone_config.num_hidden_layers", (-1, 0, 10**9, "x"), "num_hidden_layers"),
    ("backbone_config.conv_dim", ([], [8], [-8, 8], "x"), "conv"),
    ("backbone_config.conv_stride", ([0, 0], [-5, 64]), "conv_stride"),
]
FOLDERS = [  # the error is found by comparison with the weights
    ("backbone_config.num_hidden_layers", 77_000, "num_hidden_layers .* got 77000"),
    ("backbone_config.num_hidden_layers", 1, "weights of layers that its configuration lacks, .*layers"),
    ("backbone_config.num_hidden_layers", 4, "lacks .* of its weights"),
    ("backbone_config.intermediate_size", 10**6, "must describe at most .* parameters"),
    ("backbone_config.conv_stride", [1, 1], "conv_stride .* frames"),
    ("backbone_config.hidden_act", "evil", "configuration .* is invalid: 'evil' is not known"),
    ("classifier_config.blocks", "lstm", "placement must be"),
    ("classifier_config.shift", None, "lacks .* of its weights, for example classifier"),
]


def changed(settings: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    settings = json.loads(json.dumps(settings))
    *outer, last = key.split(".")
    section = settings
    for name in outer:
        section = section[name]
    section[last] = value
    return settings


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small_model().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((saved / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(("key", "values", "message"), FIELDS)
def test_an_invalid_value_is_a_one_line_error(key, values, message, saved):
    settings = json.loads((saved / "config.json").read_text())
    SpeechClassifierConfig(**settings)
    for value in values:
        with pytest.raises(RecipeError, match=message) as raised:
            SpeechClassifierConfig(**changed(settings, key, value))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("key", "values", "message"), MODELS)
def test_parts_that_do_not_fit_are_a_one_line_error(key, values, message, saved):
    settings = json.loads((saved / "config.json").read_text())
    for value in values:
        with torch.device("meta"), pytest.raises(ValueError, match=message) as raised:
            SpeechClassifier(SpeechClassifierConfig(**changed(settings, key, value)))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_a_key_that_occurs_twice_is_refused(name, folder):
    path = folder / name
    text = path.read_text() if path.exists() else '{"feature_size": 1}'
    path.write_text(text.replace("{", '{"clip_seconds": 0.25, "clip_seconds": 0.5, ', 1))
    with pytest.raises(RecipeError, match=f"{name} of the model .* the key 'clip_seconds' occurs twice"):
        Recognizer.load(str(folder))


@pytest.mark.parametrize(("key", "value", "message"), FOLDERS)
def test_a_configuration_that_does_not_fit_the_weights_is_refused_without_memory(key, value, message, folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changed(settings, key, value)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RecipeError, match=message) as raised:
        load_speech_classifier(str(folder))
    assert "\n" not in str(raised.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weight: weight.to(torch.int32), r"weights .* must be floating-point numbers, got int32"),
        (lambda weight: weight.fill_(NAN), r"weights .* must be finite, got NaN .* classifier\.head\.bias"),
        (lambda weight: weight[:3].clone(), r"classifier\.head\.bias with the right shape"),
        (None, r"lacks 1 of its weights, for example classifier\.head\.bias$"),
    ],
)
def test_invalid_weights_are_refused(change, message, folder):
    weights = load_file(folder / "model.safetensors")
    bias = weights.pop("classifier.head.bias")
    if change is not None:
        weights["classifier.head.bias"] = change(bias)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(RecipeError, match=message):
        load_speech_classifier(str(folder))


def test_the_command_line_names_the_key_without_a_traceback(folder):
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(changed(settings, "classifier_config.blocks", "evil")))
    done = CliRunner().invoke(app, ["ser", "predict", "--model", str(folder), str(folder)], catch_exceptions=False)
    assert done.exit_code == 2
    assert "blocks must be 'conv', 'lstm', 'transformer' or 'linear', got 'evil'" in " ".join(done.output.split())


def test_a_frame_classifier_is_checked_by_the_same_rules():
    for arguments in ({"blocks": "evil"}, {"hidden_size": -1}, {"averge": 1}, {"num_labels": 1}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            FrameClassifierConfig(**arguments)


def test_models_saved_by_earlier_versions_are_loaded(folder):
    """Their classifier section has Hugging Face's common fields, and lacks some fields of this package."""
    settings = json.loads((folder / "config.json").read_text())
    del settings["temporal_shifts"]
    settings["classifier_config"] = {
        "model_type": "temporal-shift-frame-classifier",
        "transformers_version": "5.0.0",
        "dtype": "float32",
        "blocks": "transformer",
        "shift": {"placement": "replace", "n_div": 4, "bidirectional": True},
        "hidden_size": 16,
        "num_frames": 25,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    waves = torch.linspace(-1, 1, 8000)[None]
    with torch.no_grad():
        torch.testing.assert_close(load_speech_classifier(str(folder))(waves).logits, small_model()(waves).logits)


def test_a_model_that_overflows_is_an_error():
    model = small_model()
    torch.nn.init.constant_(model.classifier.head.weight, 3e38)
    with pytest.raises(RecipeError, match=r"probabilities .* must be finite"):
        Recognizer(model).probabilities(np.ones((1, 8000), dtype=np.float32))
