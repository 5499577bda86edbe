"""Whole models that are small enough for a test, with random weights: a wav2vec 2.0 and a classifier of its frames."""

from __future__ import annotations

import torch

from temporal_shift.ser.speech_classifier import SpeechClassifier, SpeechClassifierConfig

from .tiny import TINY

LABELS = ("happy", "angry", "sad", "neutral")
REPLACE = {"placement": "replace", "n_div": 4, "bidirectional": True}  # the Shiftformer's
PROVENANCE = {  # as packaging writes it
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


def speech_model(
    *, layer: int | str = 0, norm: str = "layer", shift: dict | None = REPLACE, blocks: str = "transformer", **settings
) -> SpeechClassifier:
    """Layer 0 is local: convolutions only, where they are normalised frame by frame."""
    torch.manual_seed(0)
    encoder = {"model_type": "wav2vec2", **TINY, "feat_extract_norm": norm}
    classifier = {"blocks": blocks, "shift": shift, "hidden_size": 16, "num_frames": 50}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: number for number, label in enumerate(LABELS)}}
    settings = {"clip_seconds": 0.5, "provenance": PROVENANCE, **settings}
    model = SpeechClassifier(SpeechClassifierConfig(encoder, classifier, layer=layer, **settings, **names)).eval()
    model.classifier.head.weight.data *= 30  # so that the answers differ
    return model
