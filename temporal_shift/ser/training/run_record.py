"""A run (one model, one fold, one seed), and the records in its files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import config
from ..corpora.manifest import Manifest
from ..encoders.feature_cache import FeatureCache
from ..utils.atomic_files import file_sha256
from .checkpoints import last_checkpoint
from .epoch_choice import Chosen, Epoch
from .folds import Fold

# settings that do not change a run's result; the run has its own seed
_INDIFFERENT = {"seed", "checkpoint_seconds", "workers", "keep_models", "tensorboard"}

OUTCOME_FILES = ("predictions.jsonl", "test_logits.npy")
# logits at the chosen epoch; missing without a validation part, and in runs of earlier versions
VALIDATION_FILE = "validation_logits.npy"
# with keep_models, the weights at the epoch chosen for UA; for an AllSpeakersRun, the weights after its last epoch
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class Run:
    """Everything that determines a run, and the folder of its files.

    Attributes:
        experiment: The experiment.
        model: The settings of the model.
        fold: The training, validation and test parts.
        seed: The random seed.
        manifest: The utterances of the corpus.
        key: The hash of the features' inputs, from :func:`~temporal_shift.ser.encoders.feature_cache.key_of`.
        cache: The frames of the utterances; ``None`` for fine-tuning, and before the features are computed.
        folder: The folder of the run's files.
        identity: The encoder's :func:`~temporal_shift.ser.encoders.pretrained.backbone_identity`. Default: computed
            when the encoder is loaded.
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
        """The name of the run in messages, such as ``CNN, fold Session1, seed 42``."""
        return f"{self.model.name}, fold {self.fold.name}, seed {self.seed}"

    @property
    def inputs(self) -> dict[str, Any]:
        """The settings and hashes of the data that the result depends on. ``run.json`` contains them."""
        return {
            **settings_of(self.experiment, self.model),
            "seed": self.seed,
            "features": self.key,
            "labels": [*self.manifest.labels],
            **corpus_inputs(self.manifest, self.fold),
        }

    def recorded_inputs(self) -> Any:
        """The inputs of the finished run in the folder, from ``run.json``; ``None`` if this cannot be read."""
        return self._record().get("inputs")

    def is_done(self) -> bool:
        """Whether the folder has the files of a finished run with these inputs, and its results are undamaged.

        Checksums of predictions and logits are verified, not the checksum of kept weights.
        """
        record = self._record()
        if record.get("inputs") != self.inputs:
            return False
        names = [*OUTCOME_FILES, *[MODEL_FILE] * self.experiment.training.keep_models]
        return all((self.folder / name).is_file() for name in names) and not damaged_file(
            self.folder, record.get("files", {})
        )

    def _record(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def epochs_in_checkpoint(self) -> int:
        """The number of epochs in the last checkpoint, which a stopped run does not train again."""
        checkpoint = last_checkpoint(self.folder / "unfinished")
        return 0 if checkpoint is None else len(checkpoint.epochs)

    def forget(self) -> None:
        """Delete the record of a finished run, so that the run is trained again."""
        (self.folder / "run.json").unlink(missing_ok=True)


def corpus_inputs(manifest: Manifest, fold: Fold) -> dict[str, str]:
    """The SHA-256 of the utterances' ids, labels and speakers, and of the ids in the parts of the fold."""
    parts = {
        part: [manifest.utterances[index].id for index in getattr(fold, part)]
        for part in ("train", "validation", "test")
    }
    return {
        "utterances": _sha256([[each.id, each.label, each.speaker] for each in manifest.utterances]),
        "fold": _sha256(parts),
    }


def settings_of(experiment: config.Experiment, model: config.Model) -> dict[str, Any]:
    """The settings of the model and its training that the result of a run depends on, as JSON data."""
    return {
        "setting": experiment.setting,
        "protocol": experiment.protocol.kind,
        "model": _settings_of_model(model),
        "spec_augment": experiment.spec_augment.model_dump(),
        "training": experiment.training.model_dump(exclude=_INDIFFERENT),
    }


def _settings_of_model(model: config.Model) -> dict[str, Any]:
    settings = model.model_dump(exclude={"baseline"})
    later = {"pooling": "mean", "learning_rate": None}  # runs of earlier versions have no such keys
    return {key: value for key, value in settings.items() if key not in later or value != later[key]}


def damaged_file(folder: Path, files: Any) -> str | None:
    """The first file of predictions or logits that is missing or does not match its checksum; ``None`` if all match.

    Args:
        folder: The folder of a finished run.
        files: The checksums by name. Files without a checksum are not checked; earlier versions wrote no checksums.
    """
    recorded = files if isinstance(files, dict) else {}
    for name in (*OUTCOME_FILES, VALIDATION_FILE):
        path = folder / name
        if name in recorded and not (path.is_file() and file_sha256(path) == recorded[name]):
            return name
    return None


def run_folder(root: Path, model: str, seed: int, fold: str) -> Path:
    """The folder of a run in the results folder ``root``."""
    return root / "runs" / model / f"seed-{seed}" / fold


@dataclass(frozen=True, slots=True)
class RunRecord:
    """``run.json``: how a run was trained, and its :attr:`Run.inputs`."""

    model: str
    fold: str
    seed: int
    parameters: int  # number of trainable parameters
    chosen: Chosen
    seconds: float  # since the run started or was last continued
    epochs: list[Epoch]
    inputs: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 by name, to detect damage


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of ``predictions.jsonl``: the prediction for a test utterance at the epoch chosen for UA."""

    id: str
    speaker: str
    label: str
    prediction: str
    probabilities: dict[str, float]


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
