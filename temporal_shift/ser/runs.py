"""A run, one model on one fold, and the files it leaves: ``training`` writes them, ``results`` reads them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import config
from .features import FeatureCache
from .manifest import Fold, Manifest


@dataclass(frozen=True)
class Run:
    """All that decides a run, and ``folder``, where it goes."""

    experiment: config.Experiment
    model: config.Model
    fold: Fold
    manifest: Manifest
    cache: FeatureCache
    folder: Path

    @property
    def inputs(self) -> dict[str, Any]:
        """What the result depends on, as it stands in ``run.json``: a run of other inputs is another run."""
        parts = {
            part: [self.manifest.utterances[index].id for index in getattr(self.fold, part)]
            for part in ("train", "validation", "test")
        }
        return {
            "model": self.model.model_dump(exclude={"twin"}),
            "spec_augment": self.experiment.spec_augment.model_dump(),
            "training": self.experiment.training.model_dump(),
            "features": self.cache.key,
            "labels": list(self.manifest.labels),
            "fold": hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        }

    def is_done(self) -> bool:
        """Whether the folder holds this very run: ``run.json`` is written last."""
        try:
            done = json.loads((self.folder / "run.json").read_text())
            return bool(done["inputs"] == self.inputs) and (self.folder / "predictions.jsonl").is_file()
        except (OSError, ValueError, KeyError, TypeError):
            return False


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of a learning curve."""

    epoch: int  # counted from 1
    train_loss: float
    validation_loss: float
    validation_wa: float
    validation_ua: float


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``run.json``: how one model was trained for one fold, and ``Run.inputs``, all that this depended on."""

    model: str
    fold: str
    parameters: int
    best_epoch: int
    seconds: float
    epochs: list[Epoch]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of ``predictions.jsonl``: one test utterance, with a probability for each class."""

    id: str
    speaker: str
    label: str
    prediction: str
    probabilities: dict[str, float]
