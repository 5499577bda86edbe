"""The input that an encoder's preprocessor states, compared with the input that the encoder gets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import yaml
from transformers import HubertConfig, HubertModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from typer.testing import CliRunner

from temporal_shift.ser import config
from temporal_shift.ser.cli import app
from temporal_shift.ser.encoders.preprocessor import notes
from temporal_shift.ser.encoders.pretrained import backbone_identity
from temporal_shift.ser.utils.errors import RecipeError

from ..tiny import TINY, write_noise_corpus

OWN = {
    "hubert": {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000, "do_normalize": False},
    "whisper": {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16000, "feature_size": 80},
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(root / "hubert")
    sizes = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}
    WhisperEncoder(WhisperConfig(**sizes, max_source_positions=25)).save_pretrained(root / "whisper")
    return {folder.name: folder for folder in root.iterdir()}


def identity(encoder: Path, stated: dict[str, object], file: str = "preprocessor_config.json") -> dict[str, object]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        (encoder / name).unlink(missing_ok=True)
    (encoder / file).write_text(json.dumps(stated))
    return backbone_identity(config.Backbone(name=str(encoder)))


@pytest.mark.parametrize(
    ("family", "statement", "right"),
    [
        ("hubert", {"sampling_rate": 8000}, "16000"),
        ("hubert", {"sampling_rate": 22050}, "16000"),
        ("hubert", {"feature_size": 80}, "1"),
        ("hubert", {"padding_value": -1.0}, "0.0"),
        ("hubert", {"feature_extractor_type": "SeamlessM4TFeatureExtractor"}, "Wav2Vec2FeatureExtractor"),
        ("whisper", {"sampling_rate": 8000}, "16000"),
        ("whisper", {"feature_size": 128}, "80"),
        ("whisper", {"feature_size": 10**9}, "80"),
        ("whisper", {"n_fft": 512}, "400"),
        ("whisper", {"dither": 1e-3}, "0.0"),
        ("whisper", {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, "WhisperFeatureExtractor"),
    ],
    ids=str,
)
def test_an_encoder_that_expects_another_input_is_an_error(encoders, family, statement, right):
    assert identity(encoders[family], OWN[family])["model_type"] == family
    ((key, value),) = statement.items()
    message = rf"^{key} of .*{family} must be {right}, got {re.escape(repr(value))}$"
    with pytest.raises(RecipeError, match=message):
        identity(encoders[family], OWN[family] | statement)
    with pytest.raises(RecipeError, match=message):  # as a processor saves its extractor
        identity(encoders[family], {"feature_extractor": OWN[family] | statement}, "processor_config.json")


@pytest.mark.parametrize(
    ("stated", "normalize", "expected"),
    [
        ({"do_normalize": True}, False, [r"do_normalize: true.* normalize is false"]),
        ({"do_normalize": False}, True, [r"do_normalize: false.* normalize is true"]),
        ({}, False, [r"do_normalize: true.* normalize is false"]),  # the extractor's default
        ({"do_normalize": True}, True, []),
        ({"do_normalize": False, "return_attention_mask": True}, False, [r"return_attention_mask: true"]),
    ],
    ids=str,
)
def test_each_overridden_expectation_is_a_note(encoders, stated, normalize, expected):
    of = identity(encoders["hubert"], {"feature_extractor_type": "Wav2Vec2FeatureExtractor"} | stated)
    found = notes(config.Backbone(name=str(encoders["hubert"]), normalize=normalize), of)
    assert len(found) == len(expected)
    assert all(map(re.search, expected, found))


def test_an_encoder_without_a_preprocessor_config_has_no_notes(encoders):
    (encoders["hubert"] / "preprocessor_config.json").unlink(missing_ok=True)
    (encoders["hubert"] / "processor_config.json").unlink(missing_ok=True)
    backbone = config.Backbone(name=str(encoders["hubert"]))
    assert notes(backbone, backbone_identity(backbone)) == []


def test_a_run_prints_its_notes_once_at_the_start(encoders, tmp_path, monkeypatch):
    identity(encoders["hubert"], {"do_normalize": True})
    write_noise_corpus(tmp_path / "corpus", 8)
    experiment = {
        "name": "small",
        "corpus": {"path": "corpus"},
        "backbone": {"name": str(encoders["hubert"])},
        "features": {"clip_seconds": 0.25},
        "training": {"epochs": 1, "warmup_epochs": 0},
        "models": [{"name": "CNN", "blocks": "conv"}],
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    monkeypatch.chdir(tmp_path)
    # the cache is not a folder, so the command stops before it encodes
    command = ["ser", "run", "experiment.yaml", "--cache", "experiment.yaml"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 2
    assert done.output.count("note: the backbone") == done.output.count("expects do_normalize: true") == 1
    assert done.output.index("note:") < done.output.index("error:")
