"""Compare an encoder's ``preprocessor_config.json`` or ``processor_config.json`` with the input that it gets.

A contradiction is an error. A difference that the recipe intends is a note at the start of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import config
from ..audio.resampling import SAMPLE_RATE
from ..utils.errors import RecipeError
from .model_files import ModelFiles
from .whisper_spectrogram import HOP, WINDOW

FILES = ("preprocessor_config.json", "processor_config.json")


def check_encoder(files: ModelFiles, settings: dict[str, Any]) -> None:
    """Raise a :class:`RecipeError` if an encoder expects another input than it gets.

    Args:
        files: The encoder's files.
        settings: The content of its ``config.json``.
    """
    given: dict[str, object] = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1}
    if settings["model_type"] == "whisper":
        bins = settings.get("num_mel_bins", 80)
        given = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": bins, "dither": 0.0}
        given |= {"n_fft": WINDOW, "hop_length": HOP}
    check_statements(files, {**given, "sampling_rate": SAMPLE_RATE, "padding_value": 0.0})


def check_statements(files: ModelFiles, given: Mapping[str, object]) -> None:
    """Raise a :class:`RecipeError` if a model's preprocessor files have another value for a key of ``given``.

    A key that the files lack is not checked.
    """
    stated = _stated(files)
    for key, value in given.items():
        if stated.get(key, value) != value:
            raise RecipeError(f"{key} of the {files.kind} {files.name} must be {value}, got {stated[key]!r}")


def notes(backbone: config.Backbone, identity: dict[str, object]) -> list[str]:
    """A sentence for each expectation of the encoder's preprocessor files that the recipe does not meet.

    Args:
        backbone: The settings of the encoder.
        identity: The result of :func:`~temporal_shift.ser.encoders.pretrained.backbone_identity`.
    """
    files = ModelFiles(backbone.name, backbone.revision).at(identity.get("revision"))
    stated = _stated(files)
    if not stated or identity["model_type"] == "whisper":  # Whisper's extractor normalises spectrograms only
        return []
    found = []
    normalizes = bool(stated.get("do_normalize", True))  # the default of Wav2Vec2FeatureExtractor
    if normalizes != backbone.normalize:
        found.append(
            f"the backbone {backbone.name} expects do_normalize: {str(normalizes).lower()}, but normalize is "
            f"{str(backbone.normalize).lower()}: waveforms are {'' if backbone.normalize else 'not '}normalised"
        )
    if stated.get("return_attention_mask"):
        found.append(
            f"the backbone {backbone.name} expects return_attention_mask: true, but the padding of short utterances is "
            "encoded without a mask, as in the paper"
        )
    return found


def _stated(files: ModelFiles) -> dict[str, Any]:
    own, processor = (files.json(filename) or {} for filename in FILES)
    nested = processor.get("feature_extractor")  # the extractor in processor_config.json takes precedence
    return own | (nested if isinstance(nested, dict) else {})
