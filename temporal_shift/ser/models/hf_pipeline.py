"""Hugging Face's audio-classification pipeline for files at any sample rate, with soundfile and soxr.

It requires neither ffmpeg nor torchaudio, except for URLs, which Hugging Face's own code reads with ffmpeg. The inputs
of models other than :class:`.SpeechClassifier` are processed as in Hugging Face's pipeline.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AudioClassificationPipeline
from transformers.pipelines import PIPELINE_REGISTRY

from ..audio.channels import Downmix
from ..audio.reading import read_clip
from ..audio.resampling import SAMPLE_RATE, resampled
from ..audio.samples import check_rate, waveform
from .speech_classifier import SpeechClassifier


class SpeechClassificationPipeline(AudioClassificationPipeline):
    """The class of ``pipeline("audio-classification", ...)`` after this module is imported."""

    def preprocess(self, inputs: Any) -> Any:
        if isinstance(self.model, SpeechClassifier):
            inputs = self._wave(inputs)
        return super().preprocess(inputs)

    def _wave(self, inputs: Any) -> Any:
        """Convert a file, its bytes, or an array (with or without its rate) to an array at 16 kHz; keep a URL."""
        if isinstance(inputs, str) and inputs.startswith(("http://", "https://")):
            return inputs
        mix, name = Downmix(), "the recording"
        if isinstance(inputs, bytes | str | Path):
            name = name if isinstance(inputs, bytes) else str(inputs)
            source = io.BytesIO(inputs) if isinstance(inputs, bytes) else Path(inputs)
            wave = read_clip(source, self.model.config.clip_seconds, channel=mix)
        else:
            array, rate = _array_and_rate(inputs)
            wave = resampled(mix(np.atleast_2d(waveform(array, "audio")).T), rate)
        if warning := mix.warning(name):
            warnings.warn(warning, stacklevel=2)
        return wave


def _array_and_rate(inputs: Any) -> tuple[Any, int]:
    """The samples of an input, and their rate (default: 16 kHz)."""
    if hasattr(inputs, "get_all_samples"):  # a torchcodec decoder, as returned by `datasets`
        samples = inputs.get_all_samples()
        return samples.data, check_rate(samples.sample_rate)
    if not isinstance(inputs, dict):
        return inputs, SAMPLE_RATE
    array = inputs.get("raw") if inputs.get("raw") is not None else inputs.get("array")
    if array is None or "sampling_rate" not in inputs:
        raise ValueError(f"audio must have the keys array (or raw) and sampling_rate, got {sorted(map(str, inputs))}")
    return array, check_rate(inputs["sampling_rate"])


PIPELINE_REGISTRY.supported_tasks["audio-classification"]["impl"] = SpeechClassificationPipeline
