"""A run (one model, one fold, one seed), and the records in its files."""

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
from ..utils.atomic_files import write_json
from .epoch_choice import Chosen, Epoch
from .folds import Fold

# settings that do not change a run's result; the run has its own seed
_INDIFFERENT = {"seed", "checkpoint_seconds", "workers", "keep_models", "tensorboard"}

MODEL_FILE = "model.safetensors"  # in a run's folder: the weights at the epoch chosen for UA


@dataclass(frozen=True)
class Run:
    """Everything that determines a run, and the ``folder`` of its files.

    ``key`` is the SHA-256 of the models' inputs. ``cache`` contains their frames; it is ``None`` for fine-tuning.
    ``identity`` is the backbone's; if it is ``None``, ``load_backbone`` computes it.
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
        """The run in messages."""
        return f"{self.model.name}, fold {self.fold.name}, seed {self.seed}"

    @property
    def inputs(self) -> dict[str, Any]:
        """Everything that the result depends on. ``run.json`` contains it."""
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
        """Whether the folder contains the result of a run with these inputs; ``run.json`` is written last."""
        try:
            done = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            names = ["predictions.jsonl", "test_logits.npy", *[MODEL_FILE] * self.experiment.training.keep_models]
            return bool(done["inputs"] == self.inputs) and all((self.folder / name).is_file() for name in names)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def run_folder(root: Path, model: str, seed: int, fold: str) -> Path:
    """The folder of a run in the results folder ``root``."""
    return root / "runs" / model / f"seed-{seed}" / fold


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``run.json``: how a run was trained, and its :attr:`Run.inputs`."""

    model: str
    fold: str
    seed: int
    parameters: int  # trainable
    chosen: Chosen
    seconds: float  # since the run started or was last continued
    epochs: list[Epoch]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of ``predictions.jsonl``: the probabilities of a test utterance at the epoch chosen for UA."""

    id: str
    speaker: str
    label: str
    prediction: str
    probabilities: dict[str, float]


def write_epochs(path: Path, epochs: Sequence[Epoch]) -> None:
    """Write the scores of a run so far."""
    write_json(path, [asdict(epoch) for epoch in epochs])


def read_epochs(path: Path) -> list[Epoch]:
    """Read what :func:`write_epochs` wrote."""
    return TypeAdapter(list[Epoch]).validate_json(path.read_bytes())


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
