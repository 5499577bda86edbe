"""FLOP of the paper's experiment, and its time at measured rates and at an assumed rate of a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from transformers import HubertConfig, Wav2Vec2Config

from temporal_shift.ser import config
from temporal_shift.ser.audio.resampling import SAMPLE_RATE
from temporal_shift.ser.corpora.readers.iemocap import LABELS, PUBLISHED
from temporal_shift.ser.experiments.flops import Cost, Shape, of_encoder, of_model

ENCODERS = {
    "facebook/hubert-base-ls960": HubertConfig,
    "facebook/wav2vec2-base": Wav2Vec2Config,
}  # the default configurations are the base models
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Rates:
    """Measured FLOP per second."""

    encoding: float
    training: Mapping[str, float]  # by kind of blocks, over a whole epoch


class FlopCounts:
    """The costs of encoders and models, each counted once.

    Args:
        clip_seconds: Length of the encoders' input in seconds.
        encoder: Changes to the configuration of a base encoder.
    """

    def __init__(self, clip_seconds: float, encoder: Mapping[str, Any]) -> None:
        samples = round(clip_seconds * SAMPLE_RATE)
        self.encoders = {name: of_encoder(make(**encoder), samples) for name, make in ENCODERS.items()}
        self._models: dict[tuple[Any, ...], Cost] = {}

    def model(self, model: config.Model, frames: Shape) -> Cost:
        key = (model.blocks, model.shift, frames)
        if key not in self._models:
            self._models[key] = of_model(model, frames, LABELS)
        return self._models[key]


def expense(experiment: config.Experiment, counts: FlopCounts, rates: Rates, gpu: float) -> dict[str, Any]:
    """FLOP of one model of the paper's experiment, and its hours here and on a GPU: one seed, all folds and epochs.

    Cached frames are encoded once for all folds. Assumptions: training an encoder reaches the FLOP/s of encoding, and a
    model without a shift reaches the FLOP/s of the model with one.

    Args:
        experiment: The published experiment with one model.
        counts: Costs of one utterance.
        rates: Measured FLOP per second, for the hours here.
        gpu: Assumed FLOP per second of a GPU.
    """
    (model,) = experiment.models
    encoder, frames = counts.encoders[experiment.backbone.name]
    head = counts.model(model, frames)
    utterances, epochs = PUBLISHED.utterances, experiment.training.epochs
    passes = {"trained": epochs * (FOLDS - 1) * utterances, "tested": epochs * utterances}  # sum over all folds
    of_encoder = encoder.of(**passes if experiment.setting == "finetune" else {"trained": 0, "tested": utterances})
    of_head = head.of(**passes)
    return {
        "setting": experiment.setting,
        "model": model.name,
        "encoder": asdict(encoder),
        "head": asdict(head),
        "total": {"encoder": of_encoder, "head": of_head},
        "hours_here": (of_encoder / rates.encoding + of_head / rates.training[model.blocks]) / 3600,
        "hours_on_gpu": (of_encoder + of_head) / gpu / 3600,
    }
