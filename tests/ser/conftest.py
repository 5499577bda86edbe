"""Test data: the results of an experiment that never ran, with made-up answers, speakers and learning curves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from temporal_shift.ser import config

FAKE_LABELS = ("hap", "ang", "sad", "neu")
FAKE_FOLDS = tuple(f"Session{session}" for session in range(1, 6))
FAKE_SKILL = {  # how often the made-up model knows the answer instead of guessing it
    "CNN": 0.50,
    "ShiftCNN": 0.56,
    "LSTM": 0.44,
    "ShiftLSTM": 0.47,
    "Transformer": 0.42,
    "Shiftformer": 0.58,
    "Identity mixer": 0.51,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """More would only wait for each other on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fake_labels() -> tuple[str, ...]:
    return FAKE_LABELS


@pytest.fixture(scope="session")
def fake_experiment() -> config.Experiment:
    residual = config.Shift(placement="residual", n_div=16)
    replace = config.Shift(placement="replace", n_div=4, bidirectional=True)
    return config.Experiment(
        name="made-up",
        corpus=config.Corpus(path=Path("/nowhere/corpus")),
        training=config.Training(epochs=12, seed=7),
        models=[
            config.Model(name="CNN", blocks="conv"),
            config.Model(name="ShiftCNN", blocks="conv", shift=residual, twin="CNN"),
            config.Model(name="LSTM", blocks="lstm"),
            config.Model(
                name="ShiftLSTM", blocks="lstm", shift=config.Shift(placement="inplace", n_div=4), twin="LSTM"
            ),
            config.Model(name="Transformer", blocks="transformer"),
            config.Model(name="Shiftformer", blocks="transformer", shift=replace, twin="Identity mixer"),
            config.Model(name="Identity mixer", blocks="transformer", shift=replace.model_copy(update={"stride": 0})),
        ],
    )


@pytest.fixture(scope="session")
def fake_runs(tmp_path_factory: pytest.TempPathFactory, fake_experiment: config.Experiment) -> Path:
    """A results folder with the runs of ``fake_experiment``, for all tests: copy it, do not write into it."""
    root = tmp_path_factory.mktemp("fake") / "results"
    write_fake_runs(root, fake_experiment)
    return root


@pytest.fixture
def fake_results(tmp_path: Path, fake_runs: Path) -> Path:
    """A results folder of the test's own."""
    return shutil.copytree(fake_runs, tmp_path / "results")


def write_fake_runs(root: Path, experiment: config.Experiment) -> None:
    for number, model in enumerate(experiment.models):
        for session in range(1, 6):
            folder = root / "runs" / model.name / f"Session{session}"
            folder.mkdir(parents=True)
            generator = np.random.default_rng([number, session])
            _write_predictions(folder / "predictions.jsonl", session, FAKE_SKILL.get(model.name, 0.5), generator)
            _write_record(folder / "run.json", experiment.training.epochs, generator)


def _write_predictions(path: Path, session: int, skill: float, generator: np.random.Generator) -> None:
    lines = []
    for number in range(80):
        label = FAKE_LABELS[number * (session + 2) % 7 % 4]
        guess = FAKE_LABELS[generator.integers(4)]
        prediction = label if generator.random() < skill else guess
        lines.append(
            {
                "id": f"Ses{session}_{number:03}",
                "speaker": f"{session}{'FM'[number % 2]}",
                "label": label,
                "prediction": prediction,
                "probabilities": {name: float(name == prediction) for name in FAKE_LABELS},
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _write_record(path: Path, epochs: int, generator: np.random.Generator) -> None:
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / (epochs / 5))
    ua = 0.25 + 0.4 * rise + 0.02 * generator.normal(size=epochs)
    record = {
        "model": path.parent.parent.name,
        "fold": path.parent.name,
        "parameters": 4_730_000,
        "best_epoch": int(ua.argmax()) + 1,
        "seconds": 12.5,
        "epochs": [
            {
                "epoch": epoch,
                "train_loss": 1.4 - score,
                "validation_loss": 1.5 - score,
                "validation_wa": score,
                "validation_ua": score,
            }
            for epoch, score in enumerate(ua.tolist(), start=1)
        ],
        "inputs": {},
    }
    path.write_text(json.dumps(record))
