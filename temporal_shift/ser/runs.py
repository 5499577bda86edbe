"""A run: one model on one fold of one experiment, and whether it is on disk already."""

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
