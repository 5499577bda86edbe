"""Small random encoders of four families on the quickstart's corpus or a part of it, from files to report."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import (
    AutoModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from temporal_shift.ser import config
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.corpora.manifest import write_manifest
from temporal_shift.ser.corpora.readers.iemocap import read_iemocap
from temporal_shift.ser.encoders.feature_cache import cached_features
from temporal_shift.ser.encoders.pretrained import load_backbone
from temporal_shift.ser.experiments import run_experiment
from temporal_shift.ser.training import local_pool, train_run
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.train_run import train

from ..tiny import TINY

CORPUS = Path(__file__).parents[3] / "examples" / "quickstart" / "corpus"
SECONDS = 1.0  # the longest utterance has 2.45 s
FAMILIES = ("wav2vec2", "hubert", "wavlm", "whisper")
WHISPER = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}


@pytest.fixture
def two_folds(monkeypatch):
    """Two of the five folds."""
    monkeypatch.setattr(run_experiment, "make_folds", lambda *arguments: make_folds(*arguments)[:2])


@pytest.fixture(scope="module")
def backbones(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**TINY)).save_pretrained(root / "wav2vec2")
    HubertModel(HubertConfig(**TINY)).save_pretrained(root / "hubert")
    WavLMModel(WavLMConfig(**TINY)).save_pretrained(root / "wavlm")
    WhisperEncoder(WhisperConfig(**WHISPER, max_source_positions=50)).save_pretrained(root / "whisper")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(root / "whisper")
    manifest = read_iemocap(CORPUS)
    write_manifest(replace(manifest, utterances=manifest.utterances[::5]), root / "corpus.jsonl")
    return {family: root / family for family in FAMILIES}


def settings(backbone: Path, setting: str, layer: object = "last") -> config.Experiment:
    return config.Experiment(
        name="small",
        setting=setting,
        corpus=config.Corpus(reader="manifest", path=backbone.parent / "corpus.jsonl"),
        backbone=config.Backbone(name=str(backbone), layer=layer),
        features=config.Features(clip_seconds=SECONDS, average=5),
        spec_augment=config.SpecAugment(time_length=2, feature_length=4),
        training=config.Training(epochs=2, batch_size=8, warmup_epochs=1, learning_rate=2e-3, checkpoint_seconds=0),
        models=[
            config.Model(
                name="Shiftformer",
                blocks="transformer",
                shift=config.Shift(placement="replace", n_div=4, bidirectional=True),
            )
        ],
    )


def by_hand(folder: Path, clips: np.ndarray) -> torch.Tensor:
    """The output of Hugging Face's own model for the clips."""
    inputs = torch.from_numpy(clips)
    if folder.name == "whisper":
        extractor = WhisperFeatureExtractor.from_pretrained(folder)
        spectrogram = extractor(list(clips), sampling_rate=16000, max_length=clips.shape[1], return_tensors="pt")
        inputs, model = spectrogram.input_features, WhisperEncoder.from_pretrained(folder)
    else:
        model = AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        return model.eval()(inputs).last_hidden_state


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_features_equal_the_output_of_the_hugging_face_model(family, backbones, tmp_path):
    manifest = read_iemocap(CORPUS)
    backbone = config.Backbone(name=str(backbones[family]))
    cache = cached_features(manifest, backbone, config.Features(clip_seconds=SECONDS), tmp_path)
    clips = np.stack([read_clip(utterance.path, SECONDS) for utterance in manifest.utterances[64:80]])
    expected = by_hand(backbones[family], clips).numpy()
    np.testing.assert_array_equal(np.stack([cache[index] for index in range(64, 80)]), expected)
    alone = by_hand(backbones[family], clips[:1]).numpy()
    np.testing.assert_allclose(cache[64], alone[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "setting"), [("whisper", "features"), *((family, "finetune") for family in FAMILIES)]
)
def test_a_family_trains_evaluates_and_resumes_with_the_same_result(
    family, setting, two_folds, backbones, tmp_path, monkeypatch
):
    small = settings(backbones[family], setting)
    runs = {}
    monkeypatch.setattr(
        train_run, "train", lambda run, *rest: runs.setdefault(run.fold.name, run) and train(run, *rest)
    )
    monkeypatch.setattr(local_pool, "train", train_run.train)
    metrics = run_experiment.run_experiment(small, tmp_path / "root", tmp_path / "cache", Console(quiet=True))
    assert (metrics["folds"], metrics["utterances"]) == (["Session1", "Session2"], 32)
    assert 0.1 < metrics["models"][0]["ua"]["mean"] < 1

    again = replace(runs["Session2"], folder=tmp_path / "again")
    told = []

    def stop():
        told.append(1)
        if len(told) == 2:  # the checkpoint of the first epoch is written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(again, stop)
    assert len(list(again.folder.glob("unfinished/checkpoint-*"))) == 1
    train(again, lambda: told.append(1))
    assert len(told) == 3
    for name in ("predictions.jsonl", "test_logits.npy"):
        assert (again.folder / name).read_bytes() == (runs["Session2"].folder / name).read_bytes()


def test_fine_tuning_trains_the_encoder_except_for_its_convolutions(two_folds, backbones, tmp_path, monkeypatch):
    seen = {}
    write = train_run._write

    def spy(run, unfinished, epochs, parameters, seconds):
        seen["parameters"] = parameters
        write(run, unfinished, epochs, parameters, seconds)

    class Kept(train_run.RecipeTrainer):
        def __init__(self, run, model, *rest):
            seen.setdefault("before", {k: v.clone() for k, v in model.state_dict().items()})
            seen["model"] = model
            super().__init__(run, model, *rest)

    monkeypatch.setattr(train_run, "_write", spy)
    monkeypatch.setattr(train_run, "RecipeTrainer", Kept)
    seen.clear()
    small = settings(backbones["hubert"], "finetune")
    run_experiment.run_experiment(small, tmp_path / "root", tmp_path / "cache", Console(quiet=True))
    after = seen["model"].state_dict()
    moved = {name for name, before in seen["before"].items() if not torch.equal(before, after[name])}
    assert not [name for name in moved if "feature_extractor" in name]
    assert "backbone.model.encoder.layers.0.attention.q_proj.weight" in moved
    assert "backbone.model.feature_projection.projection.weight" in moved
    learning = sum(p.numel() for p in seen["model"].parameters() if p.requires_grad)
    assert seen["parameters"] == learning < sum(p.numel() for p in seen["model"].parameters())


def test_loader_processes_change_no_result_and_get_no_encoder(two_folds, backbones, tmp_path, monkeypatch):
    seen = []
    clips = train_run.Clips
    monkeypatch.setattr(train_run, "Clips", lambda *arguments: seen.append(clips(*arguments)) or seen[-1])
    metrics = []
    for workers in (0, 2):
        small = settings(backbones["whisper"], "finetune")
        small = small.model_copy(update={"training": small.training.model_copy(update={"workers": workers})})
        metrics.append(run_experiment.run_experiment(small, tmp_path / f"{workers}", tmp_path, Console(quiet=True)))
    assert metrics[0] == metrics[1]
    assert len(pickle.dumps(seen[0])) < 500_000


def test_layer_drop_is_off_if_the_output_is_an_inner_layer(tmp_path):
    still = dict.fromkeys(("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"), 0.0)
    Wav2Vec2Model(Wav2Vec2Config(**TINY, **still, layerdrop=0.5)).save_pretrained(tmp_path)
    backbone = load_backbone(config.Backbone(name=str(tmp_path), layer=2), 0.5)
    backbone.learn()
    backbone.train()
    clips = torch.randn(2, 8000)
    frames = [backbone(clips) for _ in range(20)]
    assert all(torch.equal(again, frames[0]) for again in frames)


@pytest.mark.parametrize("setting", ["features", "finetune"])
def test_a_weighted_sum_of_the_layers_is_learned(two_folds, setting, backbones, tmp_path):
    small = settings(backbones["wavlm"], setting, "weighted")
    metrics = run_experiment.run_experiment(small, tmp_path / "root", tmp_path / "cache", Console(quiet=True))
    last = settings(backbones["wavlm"], setting)
    of_last = run_experiment.run_experiment(last, tmp_path / "last", tmp_path / "cache", Console(quiet=True))
    assert metrics["models"][0]["parameters"] == of_last["models"][0]["parameters"] + TINY["num_hidden_layers"] + 1
    name = Path("runs") / "Shiftformer" / "seed-42" / "Session1" / "test_logits.npy"
    assert not np.allclose(np.load(tmp_path / "root" / name), np.load(tmp_path / "last" / name))
