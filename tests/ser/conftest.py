"""Fixtures: one thread, and made-up results of an experiment with predictions, speakers and learning curves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from temporal_shift.ser import config
from temporal_shift.ser.reports.results import Plan
from temporal_shift.ser.training.epoch_choice import Epoch, Scores, choose
from temporal_shift.ser.training.run_record import Prediction, RunRecord, run_folder

FAKE_LABELS = ("hap", "ang", "sad", "neu")
FAKE_FOLDS = tuple(f"Session{session}" for session in range(1, 6))
FAKE_SEED = 7
FAKE_UTTERANCES = 80  # per session
FAKE_SKILL = {  # share of utterances that a model recognises in the last epoch; it guesses the others
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
    """Run torch on one thread, because more threads are slower for small models."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fake_experiment() -> config.Experiment:
    residual = config.Shift(placement="residual", n_div=16)
    replace = config.Shift(placement="replace", n_div=4, bidirectional=True)
    return config.Experiment(
        name="made-up",
        corpus=config.Corpus(path=Path("/nowhere/corpus")),
        training=config.Training(epochs=12, seed=FAKE_SEED),
        models=[
            config.Model(name="CNN", blocks="conv"),
            config.Model(name="ShiftCNN", blocks="conv", shift=residual, baseline="CNN"),
            config.Model(name="LSTM", blocks="lstm"),
            config.Model(
                name="ShiftLSTM", blocks="lstm", shift=config.Shift(placement="inplace", n_div=4), baseline="LSTM"
            ),
            config.Model(name="Transformer", blocks="transformer"),
            config.Model(name="Shiftformer", blocks="transformer", shift=replace, baseline="Identity mixer"),
            config.Model(name="Identity mixer", blocks="transformer", shift=replace.model_copy(update={"stride": 0})),
        ],
    )


@pytest.fixture(scope="session")
def fake_runs_of(
    tmp_path_factory: pytest.TempPathFactory, fake_experiment: config.Experiment
) -> Callable[[int, str], Path]:
    """A function from seeds and protocol to a results folder of two models, shared by all tests: change only copies."""
    roots: dict[tuple[int, str], Path] = {}

    def of(seeds: int = 1, protocol: str = "heldout") -> Path:
        if (seeds, protocol) not in roots:
            roots[seeds, protocol] = tmp_path_factory.mktemp("fake") / "results"
            changes = {
                "seeds": seeds,
                "protocol": config.Protocol(kind=protocol),
                "models": fake_experiment.models[:2],
            }
            write_fake_runs(roots[seeds, protocol], fake_experiment.model_copy(update=changes))
        return roots[seeds, protocol]

    return of


@pytest.fixture(scope="session")
def fake_runs(tmp_path_factory: pytest.TempPathFactory, fake_experiment: config.Experiment) -> Path:
    """A results folder with the runs of ``fake_experiment``, shared by all tests: copy it, do not change it."""
    root = tmp_path_factory.mktemp("fake") / "results"
    write_fake_runs(root, fake_experiment)
    return root


@pytest.fixture
def fake_results(tmp_path: Path, fake_runs: Path) -> Path:
    """A copy of ``fake_runs``, which a test may change."""
    return shutil.copytree(fake_runs, tmp_path / "results")


def write_fake_runs(root: Path, experiment: config.Experiment) -> None:
    """Write made-up results of an experiment on five sessions of two speakers each."""
    by_speaker = experiment.protocol.kind == "speaker"
    folds = tuple(f"{session}{sex}" for session in range(1, 6) for sex in "FM") if by_speaker else FAKE_FOLDS
    plan = Plan(experiment, FAKE_LABELS, folds)
    plan.write(root)
    for number, model in enumerate(experiment.models):
        for seed in plan.seeds:
            for position, fold in enumerate(folds):
                generator = np.random.default_rng([number, position, seed])
                _write_run(run_folder(root, model.name, seed, fold), experiment, model.name, seed, generator)


def _write_run(
    folder: Path, experiment: config.Experiment, model: str, seed: int, generator: np.random.Generator
) -> None:
    ids, speakers, labels = _utterances(folder.name)
    epochs = experiment.training.epochs
    rise = 1 - np.exp(-np.arange(1, epochs + 1) / (epochs / 5))
    known = generator.random((epochs, len(ids))) < FAKE_SKILL.get(model, 0.5) * rise[:, None]
    said = np.where(known, labels, generator.integers(len(FAKE_LABELS), size=(epochs, len(ids))))
    logits = (4 * np.eye(len(FAKE_LABELS))[said] + generator.random((*said.shape, 1))).astype(np.float32)
    validated = experiment.protocol.kind in ("heldout", "speaker")
    validation_ua = (0.25 + 0.4 * rise + 0.02 * generator.normal(size=epochs)).tolist()
    curve = [
        Epoch(
            epoch + 1,
            1.4 - rise[epoch],
            Scores(1.5 - ua, ua, ua) if validated else None,
            _scores(labels, said[epoch]),
        )
        for epoch, ua in enumerate(validation_ua)
    ]
    chosen = choose(experiment.protocol.kind, curve)
    record = RunRecord(model, folder.name, seed, 4_730_000, chosen, 12.5, curve, {})
    folder.mkdir(parents=True)
    np.save(folder / "test_logits.npy", logits)
    (folder / "run.json").write_text(json.dumps(asdict(record)))
    rows = torch.from_numpy(logits[chosen.ua - 1]).softmax(dim=1).tolist()
    lines = [
        Prediction(
            id,
            speaker,
            FAKE_LABELS[label],
            FAKE_LABELS[guess],
            dict(zip(FAKE_LABELS, row, strict=True)),
        )
        for id, speaker, label, guess, row in zip(ids, speakers, labels, said[chosen.ua - 1], rows, strict=True)
    ]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines))


def _utterances(fold: str) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, speakers and classes of the test part of a fold: a session, or one of its two speakers."""
    session = int(fold.removeprefix("Session")[0])
    numbers = [n for n in range(FAKE_UTTERANCES) if fold.startswith("Session") or "FM"[n % 2] == fold[-1]]
    ids = [f"Ses{session}_{number:03}" for number in numbers]
    speakers = [f"{session}{'FM'[number % 2]}" for number in numbers]
    return ids, speakers, np.array([number * (session + 2) % 7 % 4 for number in numbers])


def _scores(labels: np.ndarray, said: np.ndarray) -> Scores:
    right = labels == said
    recalls = [right[labels == label].mean() for label in np.unique(labels)]
    return Scores(1.5 - float(np.mean(recalls)), float(right.mean()), float(np.mean(recalls)))
