"""The whole recipe on a small corpus of noise, through the command line."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.reports.results import Plan

from ..tiny import write_experiment

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in this process: another number changes the rounding


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An experiment of three sessions, two models and a random wav2vec 2.0 of 32 channels."""
    return write_experiment(
        tmp_path_factory.mktemp("experiment"),
        16,
        family="wav2vec2",
        corpus={"note": "Noise."},
        training={"epochs": 2, "warmup_epochs": 1},
        processes=2,
        models=[
            {"name": "CNN", "blocks": "conv"},
            {
                "name": "ShiftCNN",
                "blocks": "conv",
                "shift": {"placement": "residual", "n_div": 16},
                "baseline": "CNN",
            },
        ],
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "temporal_shift", "ser", "run", *map(str, arguments)]


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> tuple[Path, str]:
    """The working folder of a finished experiment, and its standard output."""
    cwd = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(cwd)
        done = in_process("run", folder / "experiment.yaml")
    assert done.exit_code == 0, done.stderr
    return cwd, done.stdout


def times(root: Path, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.glob(pattern)}


def test_every_step_writes_its_files(finished):
    cwd, _ = finished
    root = cwd / "results" / "small"
    assert {path.name for path in root.iterdir()} == {
        *("experiment.json", "manifest.jsonl", "metrics.json", "plots", "report.html", "report.md", "run_info.json"),
        "runs",
    }
    assert {path.name for path in (root / "plots").iterdir()} == {"confusion.png", "learning_curves.png", "ua.png"}
    for name in ("run.json", "predictions.jsonl", "test_logits.npy", "validation_logits.npy"):
        assert len(list(root.glob(f"runs/*/seed-42/*/{name}"))) == 2 * 3
    assert len(list(root.glob("runs/*/*/*/*"))) == 2 * 3 * 4
    assert len(list((cwd / "results" / "features").glob("*/frames-*.npy"))) == 1
    metrics = json.loads((root / "metrics.json").read_text())
    assert [model["name"] for model in metrics["models"]] == ["CNN", "ShiftCNN"]
    assert metrics["utterances"] == 48


def test_the_plan_has_the_experiment_and_the_classes_and_folds_of_the_corpus(finished, folder):
    cwd, _ = finished
    plan = Plan.read(cwd / "results" / "small")
    assert plan.experiment == read_experiment(folder / "experiment.yaml")
    assert plan.labels == ("happy", "angry", "sad", "neutral")
    assert plan.folds == ("Session1", "Session2", "Session3")


def test_the_report_describes_the_corpus_and_the_versions(finished):
    cwd, _ = finished
    report = (cwd / "results" / "small" / "report.md").read_text()
    for wanted in (
        "- Noise.",
        "- utterances: 48",
        "- speakers: 6",
        "- sessions: 3",
        "- style: improvised 48",
        "- classes: happy 12, angry 12, sad 12, neutral 12",
        "- cut at the clip's end: 0",
        "- padding of the clips: 0.0 %",
    ):
        assert f"{wanted}\n" in report
    info = json.loads((cwd / "results" / "small" / "run_info.json").read_text())
    assert info["backbone"]["model_type"] == "wav2vec2"
    assert len(info["corpus"]) == len(info["features"]) == 64
    assert info["training_seconds"]["CNN"]["42"].keys() == {"Session1", "Session2", "Session3"}


def test_the_table_and_the_path_of_the_report_are_printed(finished):
    _, printed = finished
    assert "small: 48 utterances, 6 speakers" in printed
    assert re.search(r"results folder: /.*small\n", printed)
    assert "ShiftCNN" in printed
    assert "chance" in printed
    assert "Selection bias: points gained by choosing the epoch on the test part" in printed
    assert re.search(r"baseline: .*points\n.*\n.*Holm.*\n.*\n ?ShiftCNN − CNN .*[\]–]", printed)
    assert printed.index("ShiftCNN − CNN") < printed.index("Selection bias")
    assert "optimistic" not in printed
    assert str(Path("results") / "small" / "report.html") in printed


@pytest.fixture
def results(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the results in the working directory, which tests may continue or damage."""
    shutil.copytree(finished[0] / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def test_a_second_run_encodes_and_trains_nothing(results, folder):
    before = {**times(results, "features/*/*"), **times(results, "small/runs/*/*/*/*")}
    assert len(before) == 3 + 2 * 3 * 4
    done = in_process("run", folder / "experiment.yaml")
    assert done.exit_code == 0, done.stderr
    assert {**times(results, "features/*/*"), **times(results, "small/runs/*/*/*/*")} == before


def test_only_an_incomplete_run_is_trained_again_with_the_same_result(finished, results, folder):
    """Deletes files of finished runs; ``test_kill.py`` kills processes."""
    runs = results / "small" / "runs"
    shutil.rmtree(runs / "CNN" / "seed-42" / "Session2")
    (runs / "CNN" / "seed-42" / "Session3" / "run.json").unlink()
    (runs / "ShiftCNN" / "seed-42" / "Session1" / "test_logits.npy").unlink()
    (runs / "ShiftCNN" / "seed-42" / "Session2" / "validation_logits.npy").unlink()
    for path in (results / "small" / "metrics.json", next(results.glob("features/*/frames-00000.npy"))):
        path.unlink()
    before = times(runs, "*/*/*/run.json")
    harmed = {runs / "ShiftCNN" / "seed-42" / session / "run.json" for session in ("Session1", "Session2")}
    done = in_process("run", changed(folder, results, processes=1))
    assert done.exit_code == 0, done.stderr
    after = times(runs, "*/*/*/run.json")
    assert len(after) == 6
    assert {path for path in before if after[path] != before[path]} == harmed
    for name in ("small/metrics.json", *(path.relative_to(results) for path in runs.glob("*/*/*/test_logits.npy"))):
        assert (results / name).read_bytes() == (finished[0] / "results" / name).read_bytes()


def test_a_killed_command_leaves_no_worker_and_continues_to_the_same_metrics(finished, folder, tmp_path, monkeypatch):
    whole, _ = finished
    process = subprocess.Popen(
        command(folder / "experiment.yaml"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env=ONE_THREAD,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/small/runs/*/*/*/run.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)  # its two workers must notice and exit
    process.wait()
    while alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(process.pid)
    monkeypatch.chdir(tmp_path)
    done = in_process("run", folder / "experiment.yaml", "--processes", "1")
    assert done.exit_code == 0, done.stderr
    name = Path("results") / "small" / "metrics.json"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_ends_every_process_with_one_line(folder, tmp_path):
    process = subprocess.Popen(
        command(folder / "experiment.yaml"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=ONE_THREAD,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore SIGINT
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("results/small/runs/*/*/*/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=60)  # the pipe closes when the last process ends
    assert printed.strip().startswith("stopped: run the same command to continue; ")
    assert re.search(r"\d of 6 runs finished; .* starts again", printed)
    assert len(printed.strip().splitlines()) == 1
    assert process.returncode == 130


def test_one_process_gives_the_metrics_of_two(finished, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = in_process("run", folder / "experiment.yaml", "--processes", "1")  # with one thread, like each of the two
    assert done.exit_code == 0, done.stderr
    name = Path("results") / "small" / "metrics.json"
    assert (tmp_path / name).read_bytes() == (finished[0] / name).read_bytes()


def test_options_override_the_number_of_seeds_and_the_protocol(folder, tmp_path):
    options = ["--protocol", "paper", "--seeds", "2", "--epochs", "1", "--layer", "weighted", "--processes", "1"]
    output = tmp_path / "elsewhere"
    done = in_process("run", changed(folder, tmp_path), *options, "--output", output, "--cache", tmp_path / "cache")
    assert done.exit_code == 0, done.stderr
    plan = Plan.read(output)
    assert (plan.experiment.protocol.kind, plan.seeds, plan.experiment.training.epochs) == ("paper", (42, 43), 1)
    assert plan.experiment.backbone.layer == "weighted"
    assert len(list(output.glob("runs/*/seed-4[23]/*/run.json"))) == 2 * 2 * 3
    assert "optimistic" in done.stdout
    assert "| WA, % (optimistic) |" in (output / "report.md").read_text()
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["seeds"] == [42, 43]
    assert all(model["ua"]["seed_sd"] is not None for model in metrics["models"])


def test_the_protocol_speaker_has_one_fold_per_speaker(folder, tmp_path):
    sections = {"models": [{"name": "CNN", "blocks": "conv"}], "training": {"epochs": 1, "batch_size": 16}}
    config = changed(folder, tmp_path, **sections, protocol={"kind": "speaker"}, processes=1)
    done = in_process("run", config, "--output", tmp_path / "results", "--cache", tmp_path / "cache")
    assert done.exit_code == 0, done.stderr
    speakers = ["Ses01F", "Ses01M", "Ses02F", "Ses02M", "Ses03F", "Ses03M"]
    assert json.loads((tmp_path / "results" / "metrics.json").read_text())["folds"] == speakers
    assert sorted(path.name for path in (tmp_path / "results" / "runs" / "CNN" / "seed-42").iterdir()) == speakers


def changed(folder: Path, tmp_path: Path, **sections: object) -> Path:
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text())
    experiment["corpus"]["path"] = str(folder / "corpus")
    experiment["backbone"]["name"] = str(folder / "backbone")
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump({**experiment, **sections}))
    return tmp_path / "experiment.yaml"


def in_process(*arguments: object) -> Result:
    """Run a command in this process, which has imported the package."""
    return CliRunner().invoke(app, ["ser", *map(str, arguments)])


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"corpus": {"path": "missing"}}, "error: there is no corpus folder {tmp_path}/missing"),
        (
            {"backbone": {"name": "nobody/nothing"}},
            "error: the backbone nobody/nothing is not a local folder, and the download from the Hugging Face hub ",
        ),
        (
            {"training": {"epoch": 3}},
            "error: {tmp_path}/experiment.yaml: the key 'training.epoch' is not known: did you mean 'epochs'?",
        ),
        (
            {"training": {"batch_size": 8, "gradient_accumulation": 3}},
            "error: {tmp_path}/experiment.yaml: training: gradient_accumulation must divide batch_size 8, got 3",
        ),
        (
            {"models": [{"name": "m", "blocks": "lstm", "shift": {"placement": "replace", "n_div": 4}}]},
            "error: {tmp_path}/experiment.yaml: models[0]: placement must be inplace for lstm, got replace",
        ),
        (
            {"models": [{"name": "m", "blocks": "lstm", "shift": {"placement": "inplace", "ndiv": 4}}]},
            "error: {tmp_path}/experiment.yaml: the key 'models[0].shift.ndiv' is not known: did you mean 'n_div'?",
        ),
        (
            {"models": [{"name": "m", "block": "lstm"}]},
            "error: {tmp_path}/experiment.yaml: the key 'models[0].block' is not known: did you mean 'blocks'?",
        ),
        ({"models": []}, "error: {tmp_path}/experiment.yaml: models must have at least 1 item"),
        ({"protocol": {"kind": "best"}}, "error: {tmp_path}/experiment.yaml: protocol.kind must be 'heldout'"),
        ({"seeds": 0}, "error: {tmp_path}/experiment.yaml: seeds must be greater than or equal to 1, got '0'"),
        (
            {"features": {"clip_seconds": -1}},
            "error: {tmp_path}/experiment.yaml: features.clip_seconds must be greater than 0",
        ),
    ],
)
def test_errors_of_the_user_are_one_line_and_exit_code_2(folder, tmp_path, monkeypatch, sections, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    done = in_process("run", changed(folder, tmp_path, **sections))
    assert done.exit_code == 2
    assert done.stderr.startswith(sentence.format(tmp_path=tmp_path))
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("results/small/runs"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--layer", "first"],
            "error: --layer must be last, weighted or an index of the hidden states, got 'first'",
        ),
        (["--protocol", "best"], "error: {config}: protocol.kind must be 'heldout'"),
        (["--seeds", "0"], "error: {config}: seeds must be greater than or equal to 1, got 0"),
        (["--epochs", "0"], "error: {config}: training.epochs must be greater than or equal to 1, got 0"),
        (["--corpus", "gone"], "error: there is no corpus folder {tmp_path}/gone"),
        (
            ["--layer", "7"],
            "error: layer must be last, weighted or in [-4, 3] for the backbone {folder}/backbone, got 7",
        ),
    ],
)
def test_an_invalid_option_is_a_one_line_error_and_exit_code_2(folder, tmp_path, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    config = changed(folder, tmp_path)
    done = in_process("run", config, *options)
    assert done.exit_code == 2
    assert done.stderr.startswith(sentence.format(config=config, folder=folder, tmp_path=tmp_path))
    assert done.stderr.count("\n") == 1


def test_the_command_prints_the_error_and_exits_with_code_2(folder, tmp_path):
    config = changed(folder, tmp_path, training={"epoch": 3})  # an error that is found before torch is imported
    done = subprocess.run(command(config), cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"error: {config}: the key 'training.epoch' is not known.*\n", done.stderr)


def test_an_unreadable_audio_file_is_a_one_line_error_and_exit_code_2(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dialog = tmp_path / "corpus" / "Session1" / "sentences" / "wav" / "Ses01F_impro01"
    shutil.copytree(folder / "corpus", tmp_path / "corpus")
    (dialog / "Ses01F_impro01_F002.wav").write_text("not a sound")
    done = in_process("run", changed(folder, tmp_path, corpus={"path": "corpus"}))
    assert done.exit_code == 2
    labels = tmp_path / "corpus" / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    assert done.stderr == (
        f"error: {labels}, line 3: the audio file {dialog}/Ses01F_impro01_F002.wav cannot be read: "
        "Format not recognised\n"
    )
    assert not (tmp_path / "results").exists()


def test_a_quickstart_outside_the_repository_says_where_to_run_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = in_process("quickstart")
    assert done.exit_code == 2
    assert re.match(r"error: examples/quickstart/experiment\.yaml .*clone of the repository", done.stderr)
