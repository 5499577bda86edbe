"""A whole model small enough for a test: a random encoder and a random head."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import HubertConfig, PreTrainedConfig, Wav2Vec2Config, WavLMConfig, WhisperConfig

from temporal_shift.ser import SpeechClassifier, SpeechClassifierConfig

from .tiny import TINY

LABELS = ("happy", "angry", "sad")
SECONDS = 0.5
ENCODERS: dict[str, PreTrainedConfig] = {
    "wav2vec2": Wav2Vec2Config(**TINY),
    "hubert": HubertConfig(**TINY),
    "wavlm": WavLMConfig(**TINY),
    "whisper": WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, max_source_positions=25
    ),
}
SHIFTS: dict[str, dict[str, object]] = {
    "conv": {"placement": "residual", "n_div": 4},
    "lstm": {"placement": "inplace", "n_div": 4},
    "transformer": {"placement": "replace", "n_div": 4, "bidirectional": True},
}


def small_model(
    family: str = "hubert", blocks: str = "transformer", *, shifted: bool = True, **settings: object
) -> SpeechClassifier:
    """In eval mode; its probabilities differ from clip to clip."""
    classifier = {"blocks": blocks, "shift": SHIFTS[blocks] if shifted else None, "hidden_size": 16, "num_frames": 25}
    config = SpeechClassifierConfig(
        backbone_config=ENCODERS[family].to_dict(),
        classifier_config=classifier,
        clip_seconds=SECONDS,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        **settings,
    )
    torch.manual_seed(0)
    model = SpeechClassifier(config)
    torch.nn.init.normal_(model.classifier.head.weight)
    model.eval()
    return model


def saved_small_model(folder: Path, **settings: object) -> Path:
    small_model(**settings).save_pretrained(folder)
    return folder
