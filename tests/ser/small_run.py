"""A run small enough for a test, and helpers to inspect it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.encoders.feature_cache import FeatureCache, shard_path
from temporal_shift.ser.training.epoch_choice import Epoch, Scores
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.train_run import train

LABELS = ("happy", "angry", "sad", "neutral")
EPOCHS = 3
FILES = ["predictions.jsonl", "run.json", "test_logits.npy", "validation_logits.npy"]
NO_MASKS = config.SpecAugment(time_prob=0, feature_prob=0)


def small_run(tmp_path: Path) -> Run:
    """A small run. Its frames are noise around a mean per class."""
    generator = np.random.default_rng(0)
    utterances, frames = [], []
    for session in range(1, 5):
        for number in range(16):
            label = number % 4
            name = f"Ses0{session}F_impro01_F{number:03d}"
            utterances.append(
                Utterance(
                    id=name,
                    path=Path(f"/nowhere/{name}.wav"),
                    label=LABELS[label],
                    speaker=f"Ses0{session}F",
                    session=f"Session{session}",
                    start=0.0,
                    end=1.0,
                    samples=16_000,
                    sample_rate=16_000,
                    sha256="0" * 64,
                    style="improvised",
                )
            )
            frames.append(generator.normal(size=(5, 32)) + np.eye(4, 32)[label])
    manifest = Manifest(tuple(utterances), LABELS)
    shift = config.Shift(placement="replace", n_div=4, bidirectional=True)
    experiment = config.Experiment(
        name="small",
        corpus=config.Corpus(path=Path("/nowhere")),
        spec_augment=config.SpecAugment(time_length=1, feature_length=4),
        training=config.Training(epochs=EPOCHS, batch_size=8, warmup_epochs=1),
        models=[config.Model(name="Shiftformer", blocks="transformer", shift=shift)],
    )
    return Run(
        experiment,
        experiment.models[0],
        make_folds(manifest, "heldout")[0],
        42,
        manifest,
        "0" * 64,
        cache_of(tmp_path, np.array(frames, dtype=np.float32)),
        tmp_path / "runs" / "Shiftformer" / "seed-42" / "Session1",
    )


def cache_of(folder: Path, frames: np.ndarray) -> FeatureCache:
    """A cache of at most 64 utterances."""
    folder = folder / "cache" / str(hash(frames.tobytes()))
    folder.mkdir(parents=True, exist_ok=True)
    np.save(shard_path(folder, 0), frames)
    return FeatureCache.open(folder, "0" * 64)


def frames_of(run: Run) -> np.ndarray:
    return np.array([run.cache[index] for index in range(len(run.cache))])


def with_(run: Run, **settings: object) -> Run:
    """The run with other training settings."""
    changed = run.experiment.training.model_copy(update=settings)
    return replace(run, experiment=run.experiment.model_copy(update={"training": changed}))


def under(run: Run, kind: str) -> Run:
    """The run with another protocol, on the first fold of this protocol."""
    experiment = run.experiment.model_copy(update={"protocol": config.Protocol(kind=kind)})
    return replace(run, experiment=experiment, fold=make_folds(run.manifest, kind)[0])


def trained(run: Run, on_epoch=lambda: None) -> tuple[dict, list[dict]]:
    train(run, on_epoch)
    lines = (run.folder / "predictions.jsonl").read_text().splitlines()
    return json.loads((run.folder / "run.json").read_text()), [json.loads(line) for line in lines]


def epochs_of(record: dict) -> list[Epoch]:
    def scores(content):
        return None if content is None else Scores(**content)

    return [
        Epoch(epoch["epoch"], epoch["train_loss"], scores(epoch["validation"]), scores(epoch["test"]))
        for epoch in record["epochs"]
    ]


def outcome(run: Run) -> tuple[object, dict[str, bytes]]:
    """The results that must not depend on interruptions of a run."""
    record = json.loads((run.folder / "run.json").read_text())
    files = {path.name: path.read_bytes() for path in sorted(run.folder.iterdir())}
    assert list(files) == [name for name in FILES if run.fold.validation or not name.startswith("validation")]
    del files["run.json"]  # it also contains the duration of the training
    return (record["epochs"], record["chosen"], record["parameters"]), files


class Stopped(KeyboardInterrupt):
    """Simulates Ctrl-C."""


def stop_after(epochs: int):
    told = []

    def on_epoch():
        told.append(1)
        if len(told) == epochs:
            raise Stopped

    return on_epoch


def stopped(run: Run, epochs: int = 2) -> Run:
    """Train and stop at the end of epoch ``epochs``. Each earlier epoch writes a checkpoint."""
    run = with_(run, checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        train(run, stop_after(epochs))
    assert not run.is_done()
    return run
