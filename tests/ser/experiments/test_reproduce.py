"""The experiment of the ShiftSER paper in both settings, on a small corpus and a small encoder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from rich.console import Console
from transformers import Wav2Vec2Config, Wav2Vec2Model

from temporal_shift.ser.corpora import manifest_builder
from temporal_shift.ser.encoders import feature_cache, pretrained
from temporal_shift.ser.experiments.reproduce import reproduce
from temporal_shift.ser.utils.atomic_files import file_sha256

from ..tiny import TINY, write_noise_corpus


def test_both_settings_hash_each_audio_file_and_the_encoder_once(tmp_path, monkeypatch):
    write_noise_corpus(tmp_path / "corpus", 8)
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**{**TINY, "hidden_size": 32})).save_pretrained(tmp_path / "backbone")
    overrides = {
        "corpus": {"path": str(tmp_path / "corpus")},
        "backbone": {"name": str(tmp_path / "backbone"), "revision": None},
        "features": {"clip_seconds": 0.25},
        "training": {"epochs": 1},
    }
    hashed: Counter[Path] = Counter()

    def counting_sha256(path):
        hashed[path] += 1
        return file_sha256(path)

    for module in (manifest_builder, feature_cache, pretrained):
        monkeypatch.setattr(module, "file_sha256", counting_sha256)
    reproduce([], ["CNN", "Linear"], overrides, tmp_path / "results", tmp_path / "cache", Console(quiet=True))
    audio = {path: times for path, times in hashed.items() if path.suffix == ".wav"}
    assert len(audio) == 3 * 8
    assert set(audio.values()) == {1}
    assert [times for path, times in hashed.items() if path.name == "model.safetensors"] == [1]
    table = (tmp_path / "results" / "table.md").read_text()
    rows = ["features, CNN", "features, Linear (ours)", "finetune, CNN", "finetune, Linear (ours)"]
    assert [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:6]] == rows
