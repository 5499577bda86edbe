"""Encoders with inconsistent configuration and weights: an error in bounded time and memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import HubertConfig, HubertModel, SEWDConfig, SEWDModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from temporal_shift.ser import config
from temporal_shift.ser.encoders.pretrained import load_backbone
from temporal_shift.ser.utils.errors import RecipeError

from ..tiny import TINY

WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(root / "hubert")
    SEWDModel(SEWDConfig(**TINY, position_buckets=8, max_position_embeddings=64)).save_pretrained(root / "sew-d")
    WhisperEncoder(WhisperConfig(**WHISPER, max_source_positions=25)).save_pretrained(root / "whisper")
    return root


def changed(encoder: Path, folder: Path, **settings: object) -> config.Backbone:
    """A copy of the encoder with other settings."""
    content = json.loads((encoder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "model.safetensors").write_bytes((encoder / "model.safetensors").read_bytes())
    return config.Backbone(name=str(folder))


@pytest.mark.parametrize(
    ("encoder", "key", "value", "message"),
    [
        ("hubert", "num_hidden_layers", 2, r"weights of layers .*encoder\.layers\.2"),
        ("sew-d", "num_hidden_layers", 2, r"weights of layers .*encoder.*layer\.2"),
        ("sew-d", "pos_att_type", [], r"pos_att_type must be c2p or p2c, got \[\]$"),
        ("sew-d", "norm_rel_ebd", "evil", r"norm_rel_ebd must be layer_norm or none, got 'evil'$"),
        ("sew-d", "max_position_embeddings", -3, r"max_position_embeddings must be an integer in \[1, .*, got -3$"),
        ("whisper", "encoder_layers", 1, r"weights of layers .*layers\.1"),
        ("hubert", "num_hidden_layers", 4, r"lacks \d+ of its weights, for example encoder\.layers\.3"),
        ("hubert", "num_hidden_layers", -1, r"num_hidden_layers must be an integer in \[1, .*, got -1$"),
        ("whisper", "encoder_layers", -1, r"encoder_layers must be an integer in \[1, .*, got -1$"),
        ("hubert", "num_hidden_layers", 10**6, r"num_hidden_layers .* at most \d+, .* got 1000000$"),
        ("hubert", "intermediate_size", 10**6, r"must describe at most \d+ parameters, .*, got \d+$"),
        ("hubert", "conv_stride", [1, 1], r"conv_stride .* at most 100 frames in 0\.5 s, got \d+$"),
        ("whisper", "num_mel_bins", 10**6, r"must describe at most \d+ parameters, .*, got \d+$"),
        ("hubert", "layer_norm_eps", float("nan"), r"layer_norm_eps must be a number in \[0, 0\.01\], got nan$"),
        ("hubert", "hidden_size", "evil", r"hidden_size.*evil"),
        ("hubert", "quantization_config", {"quant_method": "evil"}, r"not quantised.*quantization_config$"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_an_error(encoders, tmp_path, encoder, key, value, message):
    with pytest.raises(RecipeError, match=message) as raised:
        load_backbone(changed(encoders / encoder, tmp_path, **{key: value}), 0.5)
    assert "\n" not in str(raised.value)


def test_integer_weights_are_an_error(encoders, tmp_path):
    backbone = changed(encoders / "hubert", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer_norm.weight"] = weights["encoder.layer_norm.weight"].to(torch.int8)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecipeError, match=r"floating-point numbers, got int8 in encoder\.layer_norm\.weight$"):
        load_backbone(backbone, 0.5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../model.safetensors", r"weight_map .* same folder, got '\.\./model\.safetensors'$"),
        ("/etc/passwd", r"weight_map .* same folder, got '/etc/passwd'$"),
        ("evil.bin", r"weight_map .* same folder, got 'evil\.bin'$"),
        ("missing.safetensors", r"lacks missing\.safetensors, named in its model\.safetensors\.index\.json$"),
    ],
)
def test_an_index_can_only_name_weights_in_the_models_folder(encoders, tmp_path, name, message):
    (tmp_path / "model").mkdir()
    backbone = changed(encoders / "hubert", tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"encoder.layer_norm.weight": name}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(RecipeError, match=message):
        load_backbone(backbone, 0.5)


def test_weights_in_several_files_are_read(encoders, tmp_path):
    backbone = changed(encoders / "hubert", tmp_path)
    clip = torch.randn(1, 8000).numpy()
    expected = load_backbone(backbone, 0.5).encode(clip)
    HubertModel.from_pretrained(tmp_path).save_pretrained(tmp_path, max_shard_size="10kB")
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(load_backbone(backbone, 0.5).encode(clip), expected)
