"""A whole model small enough for a test: a random encoder and a random head."""

from __future__ import annotations

import torch
from transformers import HubertConfig, PreTrainedConfig, Wav2Vec2Config, WavLMConfig, WhisperConfig

from temporal_shift.ser import SpeechClassifier, SpeechClassifierConfig

from .tiny import TINY

LABELS = ("happy", "angry", "sad", "neutral")
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


PROVENANCE = {  # with keys that ``ser package`` writes
    "experiment": "noise",
    "model": "Tiny",
    "setting": "features",
    "protocol": "heldout",
    "fold": "Session1",
    "seed": 42,
    "epochs": 3,
    "epoch": 2,
    "trained_on": 24,
    "validated_on": 8,
    "test": {"utterances": 8, "wa": 0.5, "ua": 0.4},
    "all_folds": None,
    "chance": 0.25,
    "corpus": {
        "name": "noise",
        "note": "The corpus is noise.",
        "utterances": 40,
        "speakers": 6,
        "minutes": 0.2,
        "classes": dict.fromkeys(LABELS, 10),
    },
    "versions": {"temporal-shift": "0", "torch": "0", "transformers": "0"},
}


def small_model(
    family: str = "hubert",
    blocks: str = "transformer",
    *,
    shifted: bool = True,
    encoder: dict[str, object] | None = None,
    **settings: object,
) -> SpeechClassifier:
    """Return a model in eval mode. Its probabilities differ from clip to clip.

    Args:
        family: A key of ``ENCODERS``.
        blocks: A key of ``SHIFTS``.
        shifted: Whether the classifier has a shift.
        encoder: Changes to the encoder's configuration.
        settings: Further arguments of :class:`SpeechClassifierConfig`.
    """
    config = SpeechClassifierConfig(
        backbone_config={**ENCODERS[family].to_dict(), **(encoder or {})},
        classifier_config={
            "blocks": blocks,
            "shift": SHIFTS[blocks] if shifted else None,
            "hidden_size": 16,
            "num_frames": 25,
            "num_layers": ENCODERS[family].num_hidden_layers + 1 if settings.get("layer") == "weighted" else 0,
        },
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        **{"clip_seconds": SECONDS, **settings},
    )
    torch.manual_seed(0)
    model = SpeechClassifier(config)
    torch.nn.init.normal_(model.classifier.head.weight)
    model.eval()
    return model


def local_model(layer: int | str = 0, *, norm: str = "layer", **settings: object) -> SpeechClassifier:
    """A model with a provenance. By default, each of its frames depends only on samples near it.

    Layer 0 is the output of the convolutions, and ``norm="layer"`` normalises frame by frame.
    """
    encoder = {"feat_extract_norm": norm}
    return small_model("wav2vec2", layer=layer, encoder=encoder, **{"provenance": PROVENANCE, **settings})
