"""Small test data: an encoder, a corpus of noise in IEMOCAP's layout, and an experiment with both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from transformers import HubertConfig, HubertModel, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model

TINY = {  # arguments of the Wav2Vec2, HuBERT and WavLM configurations
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 64),
    "conv_stride": (5, 64),  # a frame every 320 samples
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}

EMOTIONS = ("hap", "ang", "sad", "neu")


def write_noise_corpus(root: Path, a_session: int) -> None:
    """Three sessions of ``a_session`` utterances, a quarter of a second each, by a woman and a man in turn.

    The emotions differ in their loudness.
    """
    generator = np.random.default_rng(0)
    for session in (1, 2, 3):
        dialog = f"Ses0{session}F_impro01"
        evaluation = root / f"Session{session}" / "dialog" / "EmoEvaluation"
        audio = root / f"Session{session}" / "sentences" / "wav" / dialog
        evaluation.mkdir(parents=True)
        audio.mkdir(parents=True)
        lines = []
        for number in range(a_session):
            name, emotion = f"{dialog}_{'FM'[number % 2]}{number:03d}", number // 2 % 4
            lines.append(f"[0.0000 - 0.2500]\t{name}\t{EMOTIONS[emotion]}\t[2.5000, 2.5000, 2.5000]")
            soundfile.write(audio / f"{name}.wav", 0.1 * (1 + emotion) * generator.normal(size=4000), 16000)
        (evaluation / f"{dialog}.txt").write_text("\n".join(lines))


def write_experiment(folder: Path, a_session: int, *, family: str = "hubert", **settings: Any) -> Path:
    """``corpus``, ``backbone`` (of 32 channels) and ``experiment.yaml`` in a folder; returns the folder.

    Args:
        a_session: The number of utterances of each of the three sessions.
        family: ``hubert`` or ``wav2vec2``.
        settings: Sections of the experiment. They replace or, if they are dictionaries, extend the default sections.
    """
    write_noise_corpus(folder / "corpus", a_session)
    sizes: dict[str, Any] = {**TINY, "hidden_size": 32}
    torch.manual_seed(0)
    encoder: PreTrainedModel = (
        HubertModel(HubertConfig(**sizes)) if family == "hubert" else Wav2Vec2Model(Wav2Vec2Config(**sizes))
    )
    encoder.save_pretrained(folder / "backbone")
    experiment: dict[str, Any] = {
        "name": "small",
        "corpus": {"path": "corpus"},
        "backbone": {"name": "backbone"},
        "features": {"clip_seconds": 0.25},
        "spec_augment": {"time_length": 2, "feature_length": 4},
        "training": {"epochs": 1, "batch_size": 8, "warmup_epochs": 0},
    }
    for name, section in settings.items():
        before = experiment.get(name, {})
        experiment[name] = {**before, **section} if isinstance(section, Mapping) else section
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    return folder
