"""The whole model with Hugging Face's libraries: forward, save, load, Auto classes, pipeline, hub, card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForAudioClassification, Wav2Vec2Model, WhisperFeatureExtractor, pipeline
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from temporal_shift import ser
from temporal_shift.ser import Recognizer, SpeechClassifier, SpeechClassifierConfig, config
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.encoders.pretrained import load_backbone
from temporal_shift.ser.encoders.whisper_spectrogram import log_mel
from temporal_shift.ser.models import speech_classifier
from temporal_shift.ser.models.frame_classifier import FrameClassifier, FrameClassifierConfig
from temporal_shift.ser.models.speech_classifier import load_speech_classifier
from temporal_shift.ser.utils.errors import RecipeError

from ..small_model import ENCODERS, LABELS, SECONDS, small_model

ROOT = Path(__file__).parents[3]
SAMPLES = round(SECONDS * 16000)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=0.1, size=shape).astype(np.float32)


def probabilities(model: torch.nn.Module, waves: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(waves)).logits.softmax(dim=1).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "saved"
    small_model().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "clip.wav"
    soundfile.write(path, noise(SAMPLES), 16000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("bins", [80, 128])
def test_the_spectrogram_in_the_model_equals_the_spectrogram_of_whisper(bins):
    clips = np.stack([read_clip(path, 2.5) for path in sorted((ROOT / "examples/quickstart").rglob("*F00*.ogg"))[:8]])
    theirs = WhisperFeatureExtractor(feature_size=bins)(
        list(clips), sampling_rate=16000, padding="max_length", max_length=40000, return_tensors="pt"
    ).input_features
    # Hugging Face computes in single precision, so quiet bins next to loud ones differ in the last digits.
    torch.testing.assert_close(log_mel(torch.from_numpy(clips), bins), theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize("family", ENCODERS)
def test_waveforms_are_cut_or_padded_to_one_clip(family):
    model = small_model(family)
    wave = noise(2, 2 * SAMPLES)
    heard = probabilities(model, wave[:, :SAMPLES])
    np.testing.assert_array_equal(probabilities(model, wave), heard)
    padded = np.pad(wave[:, :1234], ((0, 0), (0, SAMPLES - 1234)))
    np.testing.assert_array_equal(probabilities(model, wave[:, :1234]), probabilities(model, padded))
    assert np.abs(heard[0] - heard[1]).max() > 1e-6


@pytest.mark.parametrize("normalize", [False, True])
def test_a_combined_model_prepares_waveforms_as_in_training(tmp_path, normalize):
    torch.manual_seed(0)
    Wav2Vec2Model(ENCODERS["wav2vec2"]).save_pretrained(tmp_path)
    settings = config.Backbone(name=str(tmp_path), normalize=normalize)
    backbone = load_backbone(settings, SECONDS, average=5)
    classifier = FrameClassifier(FrameClassifierConfig("conv", None, 16, 5, id2label=dict(enumerate(LABELS)))).eval()
    model = SpeechClassifier.of(backbone, classifier, settings, SECONDS).eval()
    clips = noise(3, SAMPLES)
    with torch.no_grad():
        logits = classifier(backbone.encode(clips)).logits
    torch.testing.assert_close(torch.from_numpy(probabilities(model, clips)), logits.softmax(1), rtol=0, atol=1e-6)
    assert str(tmp_path) not in json.dumps(model.config.backbone_config)


@pytest.mark.parametrize("normalize", [False, True])
def test_a_clip_with_a_partial_frame_is_prepared_like_its_features(tmp_path, normalize):
    torch.manual_seed(0)
    WhisperEncoder(ENCODERS["whisper"]).save_pretrained(tmp_path)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(tmp_path)
    settings, seconds = config.Backbone(name=str(tmp_path), normalize=normalize), 0.411
    backbone = load_backbone(settings, seconds)
    classifier = FrameClassifier(FrameClassifierConfig("conv", None, 16, backbone.frames)).eval()
    model = SpeechClassifier.of(backbone, classifier, settings, seconds).eval()
    clips = noise(2, round(seconds * 16000))
    with torch.no_grad():
        logits = classifier(backbone.encode(clips)).logits
    torch.testing.assert_close(torch.from_numpy(probabilities(model, clips)), logits.softmax(1), rtol=0, atol=1e-5)


def test_encoder_and_classifier_train_together_also_with_gradient_accumulation():
    model = small_model()
    waves, labels = torch.from_numpy(noise(2, SAMPLES)), torch.tensor([1, 2])
    whole = model(waves, labels=labels).loss
    torch.testing.assert_close(model(waves, labels=labels, num_items_in_batch=4).loss, whole / 2)
    whole.backward()
    assert model.backbone.model.encoder.layers[0].attention.q_proj.weight.grad.abs().sum() > 0
    assert model.classifier.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("family", "layer"), list(zip(ENCODERS, ("last", 1, "weighted", "weighted"), strict=True)))
def test_a_saved_model_gives_the_same_probabilities(family, layer, tmp_path):
    model = small_model(family, layer=layer, average=2)
    if layer == "weighted":
        torch.nn.init.normal_(model.classifier.layer_weights)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    waves = noise(2, SAMPLES)
    loaded, info = SpeechClassifier.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    np.testing.assert_array_equal(probabilities(loaded, waves), probabilities(model, waves))


def test_half_precision_weights_are_loaded_as_float32_and_are_close(tmp_path):
    model = small_model()
    model.save_pretrained(tmp_path, half=True)
    assert {weight.dtype for weight in load_file(tmp_path / "model.safetensors").values()} == {torch.float16}
    loaded = SpeechClassifier.from_pretrained(tmp_path)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    waves = noise(2, SAMPLES)
    np.testing.assert_allclose(probabilities(loaded, waves), probabilities(model, waves), atol=2e-3)


def test_without_its_encoder_the_folder_is_small_and_refers_to_it(tmp_path):
    model = small_model("wav2vec2")
    model.backbone.model.save_pretrained(tmp_path / "encoder")
    model.config.backbone = {"name": "../encoder", "revision": None}
    model.save_pretrained(tmp_path / "model", holds_backbone=False)
    assert model.config.holds_backbone
    assert all(name.startswith("classifier.") for name in load_file(tmp_path / "model" / "model.safetensors"))
    waves = noise(2, SAMPLES)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("encoder", "model"):
        (tmp_path / name).rename(moved / name)
    loaded = load_speech_classifier(str(moved / "model"))
    np.testing.assert_array_equal(probabilities(loaded, waves), probabilities(model, waves))

    other = model.backbone.model.state_dict()
    other["encoder.layers.0.attention.k_proj.weight"] = other["encoder.layers.0.attention.k_proj.weight"] + 0.1
    saved = (moved / "encoder" / "model.safetensors").read_bytes()
    save_file(other, moved / "encoder" / "model.safetensors")
    with pytest.raises(RecipeError, match=r"backbone .*/encoder must be the encoder .*/model was saved with"):
        load_speech_classifier(str(moved / "model"))
    (moved / "encoder" / "model.safetensors").write_bytes(saved)

    loaded.save_pretrained(moved / "whole")  # contains the encoder
    (moved / "encoder").rename(moved / "away")
    whole = SpeechClassifier.from_pretrained(moved / "whole")
    np.testing.assert_array_equal(probabilities(whole, waves), probabilities(model, waves))
    with pytest.raises(
        RecipeError, match=r"the encoder of the model .* must be at .*/model/\.\./encoder, which does not exist: put it"
    ):
        load_speech_classifier(str(moved / "model"))


def test_a_clip_that_is_longer_than_a_whisper_encoder_is_an_error(tmp_path):
    small_model("whisper").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "clip_seconds": 0.75}))
    with pytest.raises(RecipeError, match=r"clip_seconds must be at most 0\.5 .*, got 0\.75"):
        SpeechClassifier.from_pretrained(tmp_path)


def test_a_whisper_encoder_in_another_folder_is_cut_to_the_clip(tmp_path):
    model = small_model("whisper")
    longer = ENCODERS["whisper"].to_dict() | {"max_source_positions": 60}
    encoder = WhisperEncoder(type(ENCODERS["whisper"])(**longer))
    state = model.backbone.model.state_dict()
    table = encoder.state_dict()["embed_positions.weight"]
    table[:25] = state["embed_positions.weight"]
    encoder.load_state_dict(state | {"embed_positions.weight": table})
    encoder.save_pretrained(tmp_path / "encoder")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(tmp_path / "encoder")
    model.config.backbone = {"name": "../encoder"}
    model.save_pretrained(tmp_path / "model", holds_backbone=False)
    loaded = load_speech_classifier(str(tmp_path / "model"))
    waves = noise(2, SAMPLES)
    np.testing.assert_array_equal(probabilities(loaded, waves), probabilities(model, waves))


def test_auto_classes_load_it_and_run_no_code_of_the_folder(folder):
    assert isinstance(AutoConfig.from_pretrained(folder, trust_remote_code=False), SpeechClassifierConfig)
    model = AutoModelForAudioClassification.from_pretrained(folder, trust_remote_code=False)
    assert isinstance(model, SpeechClassifier)
    assert "auto_map" not in json.loads((folder / "config.json").read_text())
    assert not list(folder.glob("*.py"))


def test_a_pickled_model_is_not_read(folder, tmp_path):
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save(load_file(folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(RecipeError, match=r"^the model .* has no model\.safetensors: pickled"):
        load_speech_classifier(str(tmp_path))


def test_the_pipeline_gives_the_same_probabilities_for_files_bytes_and_arrays(folder, clip):
    classify = pipeline("audio-classification", model=str(folder), device="cpu")
    wave = read_clip(clip, SECONDS)
    expected = probabilities(SpeechClassifier.from_pretrained(folder), wave[None])[0]
    for heard in (
        str(clip),
        clip.read_bytes(),
        wave,
        {"array": wave, "sampling_rate": 16000},
        {"raw": wave, "sampling_rate": 16000},
    ):
        scores = {each["label"]: each["score"] for each in classify(heard)}
        np.testing.assert_allclose([scores[label] for label in LABELS], expected, rtol=0, atol=1e-5)


def test_the_pipeline_resamples_and_averages_channels(folder, tmp_path):
    classify = pipeline("audio-classification", model=str(folder), device="cpu")
    times = np.arange(round(SECONDS * 48000)) / 48000
    stereo = np.stack([np.sin(2 * np.pi * 440 * times), np.zeros_like(times)]).astype(np.float32)
    soundfile.write(tmp_path / "stereo.flac", stereo.T, 48000)
    mono = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SAMPLES) / 16000).astype(np.float32)
    expected = probabilities(SpeechClassifier.from_pretrained(folder), mono[None])[0]
    for heard in (str(tmp_path / "stereo.flac"), {"array": stereo, "sampling_rate": 48000}):
        scores = {each["label"]: each["score"] for each in classify(heard)}
        np.testing.assert_allclose([scores[label] for label in LABELS], expected, rtol=0, atol=1e-3)


def test_the_pipeline_of_other_models_is_unchanged(tmp_path, clip):
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    theirs = Wav2Vec2ForSequenceClassification(ENCODERS["wav2vec2"]).eval()
    theirs.save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    wave = read_clip(clip, SECONDS)
    scores = {each["label"]: each["score"] for each in pipeline("audio-classification", model=str(tmp_path))(wave)}
    normal = torch.from_numpy((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))
    with torch.no_grad():
        expected = theirs(normal[None]).logits.softmax(1)[0].tolist()
    np.testing.assert_allclose(list(scores.values()), sorted(expected, reverse=True), atol=1e-5)


def test_one_import_registers_the_model_and_nothing_heavy_is_imported_before(folder, clip):
    program = f"""
import sys
import temporal_shift.ser
assert "transformers" not in sys.modules
from temporal_shift.ser import SpeechClassifier
from transformers import pipeline
assert len(pipeline("audio-classification", model={str(folder)!r})({str(clip)!r})) == {len(LABELS)}
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    with pytest.raises(AttributeError, match=r"^module 'temporal_shift\.ser' has no attribute 'Nothing'$"):
        ser.Nothing  # noqa: B018


def test_push_to_hub_uploads_the_card(monkeypatch):
    sent = {}

    class Hub:
        def __init__(self, token=None):
            sent["token"] = token

        def create_repo(self, repo_id, private, exist_ok):
            sent.update(repo=repo_id, private=private)
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def upload_folder(self, repo_id, folder_path, commit_message):
            sent["files"] = {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}

    monkeypatch.setattr(speech_classifier, "HfApi", Hub)
    model = small_model()
    assert model.push_to_hub("somebody/emotions", private=True, token="secret").endswith("somebody/emotions")
    assert (sent["repo"], sent["private"], sent["token"]) == ("somebody/emotions", True, "secret")
    assert set(sent["files"]) == {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert (
        "not known, because neither temporal-shift ser package nor temporal-shift ser train saved this model"
        in sent["files"]["README.md"].decode()
    )
    with pytest.raises(TypeError, match=r"^push_to_hub must be False, got True: call push_to_hub\(name\)"):
        model.save_pretrained("anywhere", push_to_hub=True)


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("missing", r"^there is no model folder .*nowhere$"),
        ("empty", r"^the model folder .* has no config\.json$"),
        ("parent", r"^the model folder .* has no config\.json; its subfolders one and two do$"),
        ("another", r"^the model .* must be one that `temporal-shift ser package` .*, got the type wav2vec2$"),
        ("short", r"^the model .* lacks 1 of its weights, for example classifier\.head\.bias$"),
        ("text", r"^the model .* cannot be loaded: "),
        ("no weights", r"^the model .* has no model\.safetensors: pickled"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_a_one_line_error(broken, sentence, folder, tmp_path):
    from safetensors.torch import save_file

    name = tmp_path / "nowhere" if broken == "missing" else tmp_path
    if broken == "another":
        Wav2Vec2Model(ENCODERS["wav2vec2"]).save_pretrained(tmp_path)
    if broken in ("short", "text", "no weights"):
        (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    if broken == "short":
        weights = load_file(folder / "model.safetensors")
        weights.pop("classifier.head.bias")
        save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    if broken == "text":
        (tmp_path / "model.safetensors").write_text("no tensors")
    for below in ("one", "two") if broken == "parent" else ():
        (tmp_path / below).mkdir()
        (tmp_path / below / "config.json").touch()
    with pytest.raises(RecipeError, match=sentence) as raised:
        load_speech_classifier(str(name))
    assert "\n" not in str(raised.value)


def test_a_recognizer_gives_the_same_probabilities_as_the_model(folder):
    recognizer = Recognizer.load(str(folder))
    assert (recognizer.labels, recognizer.window) == (LABELS, SECONDS)
    waves = noise(3, SAMPLES)
    expected = probabilities(SpeechClassifier.from_pretrained(folder), waves)
    np.testing.assert_allclose(recognizer.probabilities(waves), expected, rtol=0, atol=1e-6)
