import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from temporal_shift.ser import config
from temporal_shift.ser.encoders.model_files import ModelFiles
from temporal_shift.ser.encoders.pretrained import backbone_identity, load_backbone
from temporal_shift.ser.utils.errors import RecipeError

from ..tiny import TINY

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart" / "backbone" / "whisper-tiny-en-encoder"

PRE_NORM = {**TINY, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}
WAVEFORM_MODELS = {
    "wav2vec2": lambda: Wav2Vec2Model(Wav2Vec2Config(**TINY)),
    "wav2vec2-pre-norm": lambda: Wav2Vec2Model(Wav2Vec2Config(**PRE_NORM)),
    "wav2vec2-ctc": lambda: Wav2Vec2ForCTC(Wav2Vec2Config(**TINY)),
    "hubert": lambda: HubertModel(HubertConfig(**TINY)),
    "wavlm": lambda: WavLMModel(WavLMConfig(**TINY)),
    "data2vec-audio": lambda: Data2VecAudioModel(Data2VecAudioConfig(**TINY, conv_pos_kernel_size=3)),
}
TINY_WHISPER = {
    "d_model": 16,
    "encoder_layers": 3,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "vocab_size": 8,
    "max_source_positions": 50,  # 1 s of sound
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A random model of each kind, saved by its library."""
    root = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(0)
    for name, build in WAVEFORM_MODELS.items():
        build().save_pretrained(root / name)
    WhisperForConditionalGeneration(WhisperConfig(**TINY_WHISPER)).save_pretrained(root / "whisper")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(root / "whisper")
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture
def clips():
    return np.random.default_rng(0).normal(scale=0.1, size=(2, 8000)).astype(np.float32)


def settings(folder: Path | str, **changes: object) -> config.Backbone:
    return config.Backbone(name=str(folder), **changes)


@pytest.mark.parametrize("kind", [*WAVEFORM_MODELS, "whisper"])
def test_every_encoder_returns_frames_of_its_shape(folders, kind, clips):
    backbone = load_backbone(settings(folders[kind]), 0.5)
    frames = backbone.encode(clips)
    assert frames.shape == (2, *backbone.shape) == (2, backbone.frames, backbone.hidden_size)
    assert backbone.frames in (24, 25)
    assert backbone.hidden_size == 16
    assert frames.dtype == torch.float32
    assert not frames.requires_grad


@pytest.mark.parametrize("kind", WAVEFORM_MODELS)
def test_frames_equal_the_models_output(folders, kind, clips):
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(folders[kind]).eval()(torch.from_numpy(clips)).last_hidden_state
    assert torch.equal(load_backbone(settings(folders[kind]), 0.5).encode(clips), expected)


@pytest.mark.parametrize("kind", [*WAVEFORM_MODELS, "whisper"])
def test_the_last_layer_has_three_names_and_other_layers_differ(folders, kind, clips):
    last, third, first = (
        load_backbone(settings(folders[kind], layer=layer), 0.5).encode(clips) for layer in (-1, 3, 0)
    )
    assert torch.equal(last, third)
    assert torch.equal(last, load_backbone(settings(folders[kind], layer="last"), 0.5).encode(clips))
    assert not torch.allclose(last, first)


def test_negative_layers_count_from_the_end(folders, clips):
    from_end, from_start = (
        load_backbone(settings(folders["hubert"], layer=layer), 0.5).encode(clips) for layer in (-2, 2)
    )
    assert torch.equal(from_end, from_start)


@pytest.mark.parametrize("layer", [4, -5])
def test_a_layer_out_of_range_is_an_error_that_names_the_range(folders, layer):
    with pytest.raises(RecipeError, match=rf"layer must be .*\[-4, 3\].*hubert, got {layer}$"):
        load_backbone(settings(folders["hubert"], layer=layer), 0.5)


@pytest.mark.parametrize("kind", WAVEFORM_MODELS)
def test_weighted_returns_all_hidden_states_with_the_models_output_last(folders, kind, clips):
    with torch.inference_mode():
        model = AutoModel.from_pretrained(folders[kind]).eval()
        output = model(torch.from_numpy(clips), output_hidden_states=True)
    backbone = load_backbone(settings(folders[kind], layer="weighted"), 0.5)
    layers = backbone.encode(clips)
    assert (backbone.layers, backbone.shape) == (4, (4, backbone.frames, 16))
    assert layers.shape == (2, *backbone.shape)
    for number, states in enumerate(output.hidden_states[:-1]):
        assert torch.equal(layers[:, number], states)
    # in a pre-norm encoder, hidden_states[-1] lacks the final layer norm
    assert torch.equal(layers[:, -1], output.last_hidden_state)


def test_weighted_returns_all_layers_of_whisper(folders, clips):
    layers = load_backbone(settings(folders["whisper"], layer="weighted"), 0.5).encode(clips)
    for number in range(4):
        one = load_backbone(settings(folders["whisper"], layer=number), 0.5).encode(clips)
        assert torch.equal(layers[:, number], one)


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_neighbouring_frames_are_averaged_and_the_last_group_can_be_shorter(folders, clips, layer):
    plain = load_backbone(settings(folders["hubert"], layer=layer), 0.5)
    tens = load_backbone(settings(folders["hubert"], layer=layer), 0.5, average=10)
    assert (plain.frames, tens.frames) == (24, 3)
    assert tens.shape == (*plain.shape[:-2], 3, 16)
    frames = plain.encode(clips)
    expected = [frames[..., part, :].mean(dim=-2) for part in (slice(0, 10), slice(10, 20), slice(20, 24))]
    torch.testing.assert_close(tens.encode(clips), torch.stack(expected, dim=-2))


def test_the_frames_of_an_encoder_have_a_gradient(folders, clips):
    backbone = load_backbone(settings(folders["hubert"]), 0.5)
    frames = backbone(backbone.prepare(clips))
    assert torch.equal(frames, backbone.encode(clips))
    frames.sum().backward()
    gradients = [parameter.grad for parameter in backbone.parameters()]
    assert sum(gradient is not None for gradient in gradients) > 20


CONVOLUTIONS = {**dict.fromkeys(WAVEFORM_MODELS, ("feature_extractor.",)), "whisper": ("conv1.", "conv2.", "embed_po")}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_learn_freezes_only_the_input_convolutions(folders, kind, clips):
    backbone = load_backbone(settings(folders[kind]), 0.5)
    backbone.requires_grad_(False)
    backbone.learn()
    names = {name for name, _ in backbone.model.named_parameters()}
    frozen = {name for name, parameter in backbone.model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name in names if name.startswith((*CONVOLUTIONS[kind], "masked_spec_embed"))}
    assert len(frozen) >= 3
    backbone(backbone.prepare(clips)).square().sum().backward()
    touched = {name for name, parameter in backbone.model.named_parameters() if parameter.grad is not None}
    assert touched == names - frozen


@pytest.mark.parametrize("kind", [*WAVEFORM_MODELS, "whisper"])
def test_hugging_faces_masks_are_off_so_that_short_clips_can_be_trained(folders, kind):
    backbone = load_backbone(settings(folders[kind]), 0.2).train()
    frames = backbone(backbone.prepare(np.zeros((2, 3200), dtype=np.float32)))
    assert frames.shape == (2, backbone.frames, 16)
    assert frames.isfinite().all()


def test_normalising_equals_the_feature_extractor(folders, clips):
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    by_hand = extractor(list(clips), sampling_rate=16000, return_tensors="np").input_values
    normalizing = load_backbone(settings(folders["wav2vec2-pre-norm"], normalize=True), 0.5)
    plain = load_backbone(settings(folders["wav2vec2-pre-norm"]), 0.5)
    torch.testing.assert_close(normalizing.encode(clips), plain.encode(by_hand))
    assert not torch.allclose(normalizing.encode(clips), plain.encode(clips), atol=1e-3)


def test_normalised_silence_stays_finite(folders):
    silence = np.zeros((1, 8000), dtype=np.float32)
    assert load_backbone(settings(folders["hubert"], normalize=True), 0.5).encode(silence).isfinite().all()


@pytest.mark.parametrize(("seconds", "frames"), [(7.5, 375), (2.5, 125)])
def test_the_quickstarts_whisper_encodes_its_clip_and_shorter_ones(seconds, frames):
    backbone = load_backbone(settings(QUICKSTART), seconds)
    assert (backbone.frames, backbone.hidden_size) == (frames, 384)
    assert backbone.encode(np.zeros((1, round(seconds * 16000)), dtype=np.float32)).shape == (1, frames, 384)


def test_whisper_on_a_full_clip_equals_the_published_encoder():
    clip = np.random.default_rng(0).normal(scale=0.1, size=120_000).astype(np.float32)
    extractor = WhisperFeatureExtractor.from_pretrained(QUICKSTART)
    mel = extractor(clip, sampling_rate=16000, padding="max_length", max_length=120_000, return_tensors="pt")
    with torch.inference_mode():
        expected = WhisperEncoder.from_pretrained(QUICKSTART, dtype=torch.float32).eval()(mel.input_features)
    assert torch.equal(load_backbone(settings(QUICKSTART), 7.5).encode(clip[None]), expected.last_hidden_state)


def test_the_encoder_of_a_whole_whisper_is_loaded(folders, clips):
    whole = WhisperForConditionalGeneration.from_pretrained(folders["whisper"]).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folders["whisper"])
    second = np.concatenate([clips, clips], axis=1)
    mel = extractor(list(second), sampling_rate=16000, max_length=16000, return_tensors="pt")
    with torch.inference_mode():
        expected = whole.get_encoder()(mel.input_features).last_hidden_state
    assert torch.equal(load_backbone(settings(folders["whisper"]), 1.0).encode(second), expected)


def test_a_whisper_with_another_spectrogram_is_an_error(folders, tmp_path):
    shutil.copytree(folders["whisper"], tmp_path / "whisper")
    WhisperFeatureExtractor(feature_size=80, hop_length=200).save_pretrained(tmp_path / "whisper")
    with pytest.raises(RecipeError, match=r"hop_length .*whisper must be 160, got 200$"):
        load_backbone(settings(tmp_path / "whisper"), 0.5)


def test_a_whisper_clip_need_not_be_a_whole_number_of_frames(folders):
    assert load_backbone(settings(folders["whisper"]), 0.511).frames == 26


def test_a_clip_beyond_whispers_positions_is_an_error_that_names_the_longest():
    with pytest.raises(RecipeError, match=r"clip_seconds .* 7\.5 .*, got 8$"):
        load_backbone(settings(QUICKSTART), 8.0)


def test_a_clip_too_short_for_the_convolutions_is_an_error(folders):
    with pytest.raises(RecipeError, match=r"hubert cannot encode a clip of 0\.01 s: "):
        load_backbone(settings(folders["hubert"]), 0.01)


def test_missing_weights_are_an_error_and_never_random(folders, tmp_path):
    folder = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    weights = load_file(folder / "model.safetensors")
    del weights["masked_spec_embed"]  # used in training only: its absence is no error
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    load_backbone(settings(folder), 0.5)
    del weights["encoder.layers.1.attention.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        RecipeError, match=r"lacks 1 of its weights, for example encoder\.layers\.1\.attention\.q_proj\.w"
    ):
        load_backbone(settings(folder), 0.5)


def test_weights_of_another_shape_are_an_error(folders, tmp_path):
    folder = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer_norm.weight"] = torch.ones(8)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RecipeError, match=r"lacks 1 .*encoder\.layer_norm\.weight with the right shape$"):
        load_backbone(settings(folder), 0.5)


def test_the_old_names_of_weight_norm_are_loaded(folders, tmp_path, clips):
    folder = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    weights = load_file(folder / "model.safetensors")
    norm = "encoder.pos_conv_embed.conv.{}"
    weights[norm.format("weight_g")] = weights.pop(norm.format("parametrizations.weight.original0"))
    weights[norm.format("weight_v")] = weights.pop(norm.format("parametrizations.weight.original1"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.equal(
        load_backbone(settings(folder), 0.5).encode(clips),
        load_backbone(settings(folders["hubert"]), 0.5).encode(clips),
    )


def test_pickled_weights_are_never_read(folders, tmp_path):
    folder = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"hubert has no model\.safetensors: pickled weights are never read; save"):
        load_backbone(settings(folder), 0.5)


def test_a_truncated_weight_file_is_an_error(folders, tmp_path):
    folder = shutil.copytree(folders["hubert"], tmp_path / "hubert")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecipeError, match=r"^the backbone .*hubert cannot be loaded: .*$"):
        load_backbone(settings(folder), 0.5)


ADVICE = "with a network, run `hf download no/such --local-dir FOLDER` and set the backbone to that folder"


def test_a_hub_name_in_offline_mode_is_an_error_with_a_remedy():
    with pytest.raises(RecipeError) as error:
        load_backbone(settings("no/such"), 0.5)
    assert str(error.value) == (
        "the backbone no/such is not a local folder, and the download from the Hugging Face hub failed: "
        f"offline mode is on (HF_HUB_OFFLINE) and the hub's cache on this machine lacks it; {ADVICE}"
    )


def test_a_hub_name_without_a_network_is_an_error_with_a_remedy(monkeypatch):
    def unreachable(*arguments, **options):
        raise LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", unreachable)
    with pytest.raises(RecipeError) as error:
        load_backbone(settings("no/such"), 0.5)
    assert str(error.value) == (
        "the backbone no/such is not a local folder, and the download from the Hugging Face hub failed: "
        f"the hub cannot be reached; {ADVICE}"
    )


def test_local_files_only_reads_the_cache_and_a_missing_optional_file_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    files = ModelFiles("no/such", options={"local_files_only": True, "cache_dir": tmp_path})
    assert files.find("preprocessor_config.json") is None
    with pytest.raises(RecipeError, match=r"no/such is not a local folder, .*local_files_only is true"):
        files.config()


def test_a_hub_repository_without_safetensors_advises_a_revision(tmp_path, folders, monkeypatch):
    snapshot = tmp_path / "models--some--encoder" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    shutil.copy(folders["hubert"] / "config.json", snapshot)
    (snapshot / "pytorch_model.bin").write_bytes(b"pickled")
    (tmp_path / "models--some--encoder" / "refs").mkdir()
    (tmp_path / "models--some--encoder" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert backbone_identity(settings("some/encoder"))["revision"] == "0" * 40
    with pytest.raises(RecipeError, match=r"^the backbone some/encoder has no model\.safetensors.* name a revision"):
        load_backbone(settings("some/encoder"), 0.5)


def test_a_folder_without_a_config_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match=r"^the backbone folder .* has no config\.json$"):
        load_backbone(settings(tmp_path), 0.5)


@pytest.mark.parametrize("text", ["{}", "[]", "{", "[" * 20_000, '{"model_type": ["hubert"]}'])
def test_a_config_without_a_model_type_is_an_error(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(
        RecipeError, match=r"^(model_type|the config\.json) of the backbone .*(, got |cannot be read: )[^\n]*$"
    ):
        load_backbone(settings(tmp_path), 0.5)


def test_a_text_model_is_an_error(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=8, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(RecipeError, match=r"model_type .*must be one of .*hubert.*, got 'bert'$"):
        load_backbone(settings(tmp_path), 0.5)


def test_a_moved_folder_is_the_same_encoder(folders, tmp_path):
    copy = shutil.copytree(folders["hubert"], tmp_path / "elsewhere")
    (copy / "README.md").write_text("not part of the model")
    assert backbone_identity(settings(copy)) == backbone_identity(settings(folders["hubert"]))


def test_identity_differs_between_models_and_settings(folders):
    identities = [
        backbone_identity(settings(folders["hubert"])),
        backbone_identity(settings(folders["wavlm"])),
        backbone_identity(settings(folders["hubert"], layer=2)),
        backbone_identity(settings(folders["hubert"], normalize=True)),
    ]
    assert len({json.dumps(identity) for identity in identities}) == 4


def test_loading_is_silent_and_leaves_the_libraries_as_they_were(folders, capfd):
    level = logging.getLogger("transformers").level
    load_backbone(settings(folders["wav2vec2-ctc"]), 0.5)  # transformers would report its unused head
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("transformers").level == level
