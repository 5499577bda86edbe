"""Encoders of every family, and layers of another length or width than the output."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import CONFIG_MAPPING, MODEL_MAPPING

from temporal_shift.ser import config
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.encoders.families import WAVEFORM_FAMILIES
from temporal_shift.ser.encoders.feature_cache import cached_features
from temporal_shift.ser.encoders.pretrained import PretrainedEncoder, load_backbone
from temporal_shift.ser.utils.errors import RecipeError

from ..tiny import TINY

CONV = {"conv_pos_kernel_size": 3}  # a setting of data2vec
ADAPTER = {"add_adapter": True, "num_adapter_layers": 1}
SQUEEZED = {"squeeze_factor": 2, "position_buckets": 8, "max_position_embeddings": 64}
PLAIN = {family: CONV if family == "data2vec-audio" else {} for family in WAVEFORM_FAMILIES if "sew" not in family}
OTHER_SHAPES = {  # family, settings, (frames, channels) of the layers, and of the output
    "adapter": ("wav2vec2", ADAPTER, (24, 16), (12, 16)),
    "wide adapter": ("wav2vec2", {**ADAPTER, "output_hidden_size": 24}, (24, 16), (12, 24)),
    "conformer's adapter": ("wav2vec2-conformer", ADAPTER, (24, 16), (12, 16)),
    "WavLM's adapter": ("wavlm", ADAPTER, (24, 16), (12, 16)),
    "data2vec's adapter": ("data2vec-audio", {**CONV, **ADAPTER}, (24, 16), (12, 16)),
    "sew": ("sew", {"squeeze_factor": 2}, (12, 16), (24, 16)),
    "sew-d": ("sew-d", SQUEEZED, (12, 16), (24, 16)),
}


def saved(folder: Path, family: str, changes: dict[str, object]):
    torch.manual_seed(0)
    config_class = CONFIG_MAPPING[family]
    model = MODEL_MAPPING[config_class](config_class(**{**TINY, **changes})).eval()
    model.save_pretrained(folder)
    return model


def load(folder: Path, layer: int | str) -> PretrainedEncoder:
    return load_backbone(config.Backbone(name=str(folder), layer=layer), 0.5)


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=(2, 8000)).astype(np.float32)


@pytest.mark.parametrize("family", PLAIN)
def test_every_family_returns_the_models_output_and_layers(family, clips, tmp_path):
    model = saved(tmp_path, family, PLAIN[family])
    with torch.inference_mode():
        output = model(torch.from_numpy(clips), output_hidden_states=True)
    last = output.last_hidden_state
    for layer, expected in {"last": last, 3: last, 1: output.hidden_states[1]}.items():
        encoder = load(tmp_path, layer)
        assert encoder.shape == tuple(expected.shape[1:])
        assert torch.equal(encoder.encode(clips), expected)


@pytest.mark.parametrize("case", OTHER_SHAPES)
def test_the_shape_matches_the_selected_layer(case, clips, tmp_path):
    family, changes, of_layers, of_output = OTHER_SHAPES[case]
    model = saved(tmp_path, family, changes)
    with torch.inference_mode():
        output = model(torch.from_numpy(clips), output_hidden_states=True)
    last = load(tmp_path, "last")
    assert last.shape == (last.frames, last.hidden_size) == of_output
    assert torch.equal(last.encode(clips), output.last_hidden_state)
    for layer in (1, -2, 3):  # 3 is the last layer, which is not the output
        encoder = load(tmp_path, layer)
        assert encoder.shape == of_layers
        assert torch.equal(encoder.encode(clips), output.hidden_states[layer])
    with pytest.raises(RecipeError, match=r"layer must be .*\[-4, 3\].*, got weighted: .*cannot be added$"):
        load(tmp_path, "weighted")
    with pytest.raises(RecipeError, match=r"layer must be .*\[-4, 3\].*, got 4$"):
        load(tmp_path, 4)


@pytest.mark.parametrize("case", ["adapter", "sew"])
def test_each_utterance_in_the_cache_has_its_frames_of_the_layer(case, tmp_path):
    family, changes, of_layers, _ = OTHER_SHAPES[case]
    saved(tmp_path / "encoder", family, changes)
    utterances = []
    for number in range(3):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.random.default_rng(number).uniform(-0.5, 0.5, 8000), 16000)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        utterances.append(Utterance(f"u{number}", path, "sad", "1F", "Session1", 0.0, 0.5, 8000, 16000, sha256, ""))
    backbone = config.Backbone(name=str(tmp_path / "encoder"), layer=1)
    manifest = Manifest(tuple(utterances), ("sad", "happy"))
    cache = cached_features(manifest, backbone, config.Features(clip_seconds=0.5), tmp_path / "cache")
    assert cache.shape == of_layers
    encoder = load(tmp_path / "encoder", 1)
    for number, utterance in enumerate(utterances):
        alone = encoder.encode(read_clip(utterance.path, 0.5)[None])[0].numpy()
        np.testing.assert_allclose(cache[number], alone, rtol=1e-4, atol=1e-5)


def test_frames_of_another_shape_than_the_file_header_are_an_error(tmp_path, monkeypatch):
    saved(tmp_path / "encoder", "hubert", {})
    path = tmp_path / "0.wav"
    soundfile.write(path, np.zeros(8000), 16000)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = Manifest((Utterance("u0", path, "sad", "1F", "Session1", 0.0, 0.5, 8000, 16000, sha256, ""),), ("sad",))
    encode = PretrainedEncoder.encode
    monkeypatch.setattr(PretrainedEncoder, "encode", lambda self, clips: encode(self, clips)[:, 1:])
    backbone = config.Backbone(name=str(tmp_path / "encoder"))
    with pytest.raises(RecipeError, match=r"u0 .*\(24, 16\), got \(23, 16\)$"):
        cached_features(manifest, backbone, config.Features(clip_seconds=0.5), tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy*"))
