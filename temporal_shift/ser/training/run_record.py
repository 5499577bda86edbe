"""A run, one model on one fold with one seed, and the files it leaves: ``training`` writes, ``results`` reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from .. import config
from ..corpora.manifest import Manifest
from ..encoders.feature_cache import FeatureCache
from ..utils.atomic_files import atomic_write
from .epoch_choice import Chosen, Epoch
from .folds import Fold

# What changes how a run is done, but not what comes out of it.
_INDIFFERENT = {"seed", "checkpoint_seconds", "workers", "keep_models", "tensorboard"}

MODEL_FILE = "model.safetensors"  # in a run's folder: what it learned, at the epoch that its UA is read off


@dataclass(frozen=True)
class Run:
    """All that decides a run, and ``folder``, where it goes.

    ``key`` is the SHA-256 of the models' inputs. ``cache`` holds their frames; fine-tuning has none.
    ``identity`` is the backbone's; without it, ``load_backbone`` computes it.
    """

    experiment: config.Experiment
    model: config.Model
    fold: Fold
    seed: int
    manifest: Manifest
    key: str
    cache: FeatureCache | None
    folder: Path
    identity: dict[str, object] | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.model.name}, fold {self.fold.name}, seed {self.seed}"

    @property
    def inputs(self) -> dict[str, Any]:
        """What the result depends on, as it stands in ``run.json``: a run of other inputs is another run."""
        parts = {
            part: [self.manifest.utterances[index].id for index in getattr(self.fold, part)]
            for part in ("train", "validation", "test")
        }
        return {
            "setting": self.experiment.setting,
            "protocol": self.experiment.protocol.kind,
            "model": self.model.model_dump(exclude={"baseline"}),
            "spec_augment": self.experiment.spec_augment.model_dump(),
            "training": self.experiment.training.model_dump(exclude=_INDIFFERENT),
            "seed": self.seed,
            "features": self.key,
            "labels": [*self.manifest.labels],
            "utterances": _sha256([[each.id, each.label, each.speaker] for each in self.manifest.utterances]),
            "fold": _sha256(parts),
        }

    def is_done(self) -> bool:
        """Whether the folder holds this very run: ``run.json`` is written last."""
        try:
            done = json.loads((self.folder / "run.json").read_text())
            names = ["predictions.jsonl", "test_logits.npy", *[MODEL_FILE] * self.experiment.training.keep_models]
            return bool(done["inputs"] == self.inputs) and all((self.folder / name).is_file() for name in names)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def run_folder(root: Path, model: str, seed: int, fold: str) -> Path:
    """Where a run of an experiment under ``root`` lies."""
    return root / "runs" / model / f"seed-{seed}" / fold


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``run.json``: how one model was trained for one fold, and ``Run.inputs``, all that this depended on."""

    model: str
    fold: str
    seed: int
    parameters: int  # that learned
    chosen: Chosen
    seconds: float  # since the last kill, if there was one
    epochs: list[Epoch]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of ``predictions.jsonl``: a test utterance, with a probability for each class, at the epoch of the UA."""

    id: str
    speaker: str
    label: str
    prediction: str
    probabilities: dict[str, float]


def write_epochs(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write the scores of a run so far."""
    with atomic_write(path) as file:
        file.write(json.dumps([asdict(epoch) for epoch in epochs]).encode())


def read_epochs(path: Path) -> list[Epoch]:
    """Read what :func:`write_epochs` wrote."""
    return TypeAdapter(list[Epoch]).validate_json(path.read_bytes())


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
