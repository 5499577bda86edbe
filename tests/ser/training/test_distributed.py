"""Two processes under ``torchrun`` compared with one."""

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

SETTINGS = ("features", "finetune")
# One start of torchrun for both commands: the imports of its processes take longer than the training.
COMMANDS = """
import sys
from temporal_shift.__main__ import main

for config in sys.argv[1:]:
    sys.argv = ["temporal-shift", "ser", "run", config]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a corpus of three sessions of 75 utterances, and an encoder without dropout."""
    folder = tmp_path_factory.mktemp("experiment")
    # the last of five steps of 16 utterances has 11, which two processes cannot halve
    write_noise_corpus(folder / "corpus", 75)
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


@pytest.fixture(scope="module")
def together(folder, tmp_path_factory) -> tuple[Path, str]:
    """The folder in which two processes ran the experiments, and their output."""
    cwd = tmp_path_factory.mktemp("two")
    configs = [str(experiment(folder, setting)) for setting in SETTINGS]
    command = [*two(free_port()), "--no-python", sys.executable, "-c", COMMANDS, *configs]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


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


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_processes_give_the_same_result_as_one_up_to_rounding(setting, folder, together, tmp_path):
    cwd, printed = together
    one = tmp_path / "results"
    run_experiment(read_experiment(experiment(folder, setting)), one / setting, one / "features", Console(quiet=True))
    np.testing.assert_allclose(losses(cwd, setting), losses(tmp_path, setting), rtol=1e-4, atol=1e-5)
    assert printed.count(f"{setting}: 225 utterances, 6 speakers") == 1  # only one of the two processes prints
    if setting == "features":
        files = {folder: sorted(folder.glob("results/features/*/*.npy")) for folder in (tmp_path, cwd)}
        assert len(files[tmp_path]) == 4
        assert [path.read_bytes() for path in files[cwd]] == [path.read_bytes() for path in files[tmp_path]]
