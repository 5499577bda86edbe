"""Hugging Face's audio-classification pipeline for files at any sample rate, with soundfile and soxr.

It needs neither ffmpeg nor torchaudio. Models other than :class:`.SpeechClassifier` are handled as before.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AudioClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY

from ..audio.reading import read_clip
from ..audio.resampling import SAMPLE_RATE, resampled_mono
from .speech_classifier import SpeechClassifier


class SpeechClassificationPipeline(AudioClassificationPipeline):
    """The class of ``pipeline("audio-classification", ...)`` once this module is imported."""

    def preprocess(self, inputs: Any) -> Any:  # type: ignore[override]
        if isinstance(self.model, SpeechClassifier):
            inputs = self._wave(inputs)
        return super().preprocess(inputs)  # type: ignore[no-untyped-call]

    def _wave(self, inputs: Any) -> Any:
        """A file, its bytes, or an array with its rate, as an array at 16 kHz; other inputs unchanged."""
        seconds = self.model.config.clip_seconds
        if isinstance(inputs, bytes):
            return read_clip(io.BytesIO(inputs), seconds)
        if isinstance(inputs, Path) or (isinstance(inputs, str) and not inputs.startswith(("http://", "https://"))):
            return read_clip(Path(inputs), seconds)
        if isinstance(inputs, dict) and inputs.get("sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
            wave = np.asarray(inputs.get("raw", inputs.get("array")), dtype=np.float32)
            return resampled_mono(wave, inputs["sampling_rate"])
        return inputs


PIPELINE_REGISTRY.supported_tasks["audio-classification"]["impl"] = SpeechClassificationPipeline
