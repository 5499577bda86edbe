"""The whole recipe on a small corpus of noise, through the command that a person types."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from transformers import Wav2Vec2Config, Wav2Vec2Model

from .tiny import TINY

EMOTIONS = ("hap", "ang", "sad", "neu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An experiment of three sessions, two models and a random wav2vec 2.0 of 32 channels."""
    folder = tmp_path_factory.mktemp("experiment")
    generator = np.random.default_rng(0)
    for session in (1, 2, 3):
        dialog = f"Ses0{session}F_impro01"
        evaluation = folder / "corpus" / f"Session{session}" / "dialog" / "EmoEvaluation"
        audio = folder / "corpus" / f"Session{session}" / "sentences" / "wav" / dialog
        evaluation.mkdir(parents=True)
        audio.mkdir(parents=True)
        lines = []
        for number in range(16):
            name = f"{dialog}_{'FM'[number // 8]}{number:03d}"
            lines.append(f"[0.0000 - 0.2500]\t{name}\t{EMOTIONS[number % 4]}\t[2.5000, 2.5000, 2.5000]")
            soundfile.write(audio / f"{name}.wav", 0.1 * (1 + number % 4) * generator.normal(size=4000), 16000)
        (evaluation / f"{dialog}.txt").write_text("\n".join(lines))
    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config(**{**TINY, "hidden_size": 32})).save_pretrained(folder / "backbone")
    experiment = {
        "name": "small",
        "corpus": {"path": "corpus", "note": "Noise."},
        "backbone": {"name": "backbone"},
        "features": {"clip_seconds": 0.25},
        "spec_augment": {"time_length": 2, "feature_length": 4},
        "training": {"epochs": 2, "batch_size": 8, "warmup_epochs": 1},
        "processes": 2,
        "models": [
            {"name": "CNN", "blocks": "conv"},
            {
                "name": "ShiftCNN",
                "blocks": "conv",
                "shift": {"placement": "residual", "n_div": 16},
                "twin": "CNN",
            },
        ],
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "temporal_shift", "ser", "run", *map(str, arguments)]


def run_in(cwd: Path, config: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(config, *arguments), cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> tuple[Path, str]:
    """A folder in which the experiment has been run, and what it printed."""
    cwd = tmp_path_factory.mktemp("finished")
    done = run_in(cwd, folder / "experiment.yaml")
    assert done.returncode == 0, done.stderr
    return cwd, done.stdout


def times(root: Path, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.glob(pattern)}


def test_every_step_leaves_its_file(finished):
    cwd, _ = finished
    root = cwd / "results" / "small"
    expected = {"manifest.jsonl", "metrics.json", "plots", "report.html", "report.md", "run_info.json", "runs"}
    assert {path.name for path in root.iterdir()} == expected
    assert {path.name for path in (root / "plots").iterdir()} == {"confusion.png", "learning_curves.png", "ua.png"}
    assert len(list(root.glob("runs/*/*/predictions.jsonl"))) == 2 * 3
    assert len(list((cwd / "results" / "features").glob("*/frames-*.npy"))) == 1
    metrics = json.loads((root / "metrics.json").read_text())
    assert [model["name"] for model in metrics["models"]] == ["CNN", "ShiftCNN"]
    assert metrics["utterances"] == 48


def test_the_table_is_printed_with_the_place_of_the_report(finished):
    _, printed = finished
    assert "small: 48 utterances, 6 speakers" in printed
    assert "ShiftCNN" in printed
    assert "chance" in printed
    assert str(Path("results") / "small" / "report.html") in printed


def test_a_second_run_encodes_and_trains_nothing(finished, folder):
    cwd, _ = finished
    before = {**times(cwd, "results/features/*/*"), **times(cwd, "results/small/runs/*/*/*")}
    assert before
    assert run_in(cwd, folder / "experiment.yaml").returncode == 0
    assert {**times(cwd, "results/features/*/*"), **times(cwd, "results/small/runs/*/*/*")} == before


def test_a_run_killed_at_any_moment_goes_on_to_the_same_metrics(finished, folder, tmp_path):
    whole, _ = finished
    process = subprocess.Popen(
        command(folder / "experiment.yaml"), cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/small/runs/*/*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done_before = times(tmp_path, "results/small/runs/*/*/run.json")
    assert 1 <= len(done_before) < 6
    assert run_in(tmp_path, folder / "experiment.yaml").returncode == 0
    assert times(tmp_path, "results/small/runs/*/*/run.json").items() >= done_before.items()
    name = Path("results") / "small" / "metrics.json"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def test_ctrl_c_ends_every_process_with_one_line(folder, tmp_path):
    process = subprocess.Popen(
        command(folder / "experiment.yaml"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/small/runs/*/*/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=60)  # the pipe closes when the last process that holds it is gone
    assert printed.strip() == "stopped: the same command goes on from here"
    assert process.returncode == 130


def test_one_process_gives_the_metrics_of_two(finished, folder, tmp_path):
    whole, _ = finished
    text = (folder / "experiment.yaml").read_text().replace("processes: 2", "processes: 1")
    config = folder / "one_process.yaml"
    config.write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # digits are promised for the same number of threads
    done = subprocess.run(command(config), cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    name = Path("results") / "small" / "metrics.json"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def changed(folder: Path, tmp_path: Path, **sections: object) -> Path:
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text())
    experiment["corpus"]["path"] = str(folder / "corpus")
    experiment["backbone"]["name"] = str(folder / "backbone")
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({**experiment, **sections}))
    return tmp_path / "experiment.yaml"


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"corpus": {"path": "missing"}}, "error: there is no corpus folder {tmp_path}/missing"),
        (
            {"backbone": {"name": "nobody/nothing"}},
            "error: the backbone nobody/nothing is no folder, and not to be had from the Hugging Face hub: ",
        ),
        (
            {"training": {"epoch": 3}},
            "error: {tmp_path}/experiment.yaml: the key 'training.epoch' is not known: is it misspelt?",
        ),
        ({"models": []}, "error: {tmp_path}/experiment.yaml: models: List should have at least 1 item"),
        ({"features": {"clip_seconds": -1}}, "error: {tmp_path}/experiment.yaml: features.clip_seconds: Input should"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_and_exit_code_2(folder, tmp_path, monkeypatch, sections, sentence):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = run_in(tmp_path, changed(folder, tmp_path, **sections))
    assert done.returncode == 2
    assert done.stderr.startswith(sentence.format(tmp_path=tmp_path))
    assert done.stderr.count("\n") == 1


def test_an_unreadable_audio_file_is_one_sentence_and_exit_code_2(folder, tmp_path):
    dialog = tmp_path / "corpus" / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
    for source in (folder / "corpus").rglob("*.*"):
        target = tmp_path / "corpus" / source.relative_to(folder / "corpus")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (dialog / "Ses01F_impro01_F003.wav").write_text("not a sound")
    done = run_in(tmp_path, changed(folder, tmp_path, corpus={"path": "corpus"}))
    assert done.returncode == 2
    assert (
        done.stderr == f"error: the audio file {dialog}/Ses01F_impro01_F003.wav cannot be read: Format not recognised\n"
    )
    assert not (tmp_path / "results").exists()


def test_a_quickstart_outside_the_repository_says_where_to_run_it(tmp_path):
    quickstart = [sys.executable, "-m", "temporal_shift", "ser", "quickstart"]
    done = subprocess.run(quickstart, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "error: there is no examples/quickstart/experiment.yaml here: "
        "run this in a clone of the repository, or name an experiment\n"
    )
