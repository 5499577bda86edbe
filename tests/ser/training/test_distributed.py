"""Two processes under ``torchrun``, as many users start it, against one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from transformers import Wav2Vec2Config, Wav2Vec2Model

from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.experiments.run_experiment import run_experiment

from ..tiny import TINY, write_noise_corpus

STILL = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop"), 0.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three sessions of 75 utterances, a backbone without dropout, an experiment without masks."""
    folder = tmp_path_factory.mktemp("experiment")
    write_noise_corpus(folder / "corpus", 75)  # the last of five steps of 16 has 11, not alike for the two
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**{**TINY, "hidden_size": 32}, **STILL)).save_pretrained(folder / "backbone")
    return folder


def experiment(folder: Path, setting: str) -> Path:
    path = folder / f"{setting}.yaml"
    content = {
        "name": setting,
        "setting": setting,
        "corpus": {"path": "corpus"},
        "backbone": {"name": "backbone"},
        "features": {"clip_seconds": 0.25},
        "spec_augment": {"time_prob": 0, "time_min_masks": 0, "feature_prob": 0, "feature_min_masks": 0},
        "training": {"epochs": 2, "batch_size": 16, "warmup_epochs": 1},
        "models": [{"name": "ShiftLSTM", "blocks": "lstm", "shift": {"placement": "inplace", "n_div": 4}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


def run(config: Path, cwd: Path, launcher: list[str]) -> str:
    """What the command of a person prints, without a word of an error."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, "-m", "temporal_shift", "ser", "run", str(config)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def two(port: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    return [*torchrun, "--master-addr", "127.0.0.1", "--master-port", str(port)]


def free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def losses(cwd: Path, setting: str) -> list[list[float]]:
    records = [json.loads(path.read_text()) for path in sorted(cwd.glob(f"results/{setting}/runs/*/*/*/run.json"))]
    assert len(records) == 3
    return [
        [value for epoch in record["epochs"] for value in (epoch["train_loss"], epoch["validation"]["loss"])]
        for record in records
    ]


@pytest.mark.parametrize("setting", ["features", "finetune"])
def test_two_processes_give_what_one_gives_within_rounding(setting, folder, tmp_path):
    config = experiment(folder, setting)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    together = run(config, tmp_path / "two", two(free_port()))
    one = tmp_path / "one" / "results"
    run_experiment(read_experiment(config), one / setting, one / "features", Console(quiet=True))
    np.testing.assert_allclose(
        losses(tmp_path / "two", setting), losses(tmp_path / "one", setting), rtol=1e-4, atol=1e-5
    )
    assert together.count("225 utterances, 6 speakers") == 1  # one of the two prints
    frames = {name: sorted((tmp_path / name).glob("results/features/*/*.npy")) for name in ("one", "two")}
    assert len(frames["one"]) == (4 if setting == "features" else 0)
    assert [path.read_bytes() for path in frames["two"]] == [path.read_bytes() for path in frames["one"]]
