"""``temporal-shift ser train --all-speakers``: an untested model for deployment, and its card."""

from __future__ import annotations

import json
import math
import re
import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from typer.testing import CliRunner

from temporal_shift.ser import Recognizer
from temporal_shift.ser.cli import app
from temporal_shift.ser.experiments import train_all_speakers as train_module
from temporal_shift.ser.inference.demo_views import caveats
from temporal_shift.ser.reports.calibration import Calibration, Change
from temporal_shift.ser.training import all_speakers_run
from temporal_shift.ser.training.run_record import MODEL_FILE
from temporal_shift.ser.utils.folder_lock import only_command_in

from ..small_run import stop_after
from ..tiny import write_experiment

MODELS = [
    {"name": "CNN", "blocks": "conv"},
    {"name": "ShiftCNN", "blocks": "conv", "shift": {"placement": "residual", "n_div": 16}, "baseline": "CNN"},
]


def typed(folder: Path, *arguments: object, code: int = 0, model: str = "ShiftCNN", command: str = "train") -> str:
    """The output of the command with the folder's experiment, results and cache."""
    options = ["--model", model, "--results", folder / "results", "--cache", folder / "cache", *arguments]
    done = CliRunner().invoke(app, ["ser", command, *map(str, [folder / "experiment.yaml", *options])])
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with an experiment (two models, two seeds, three folds), its results, and the trained ``model``."""
    folder = write_experiment(
        tmp_path_factory.mktemp("train"),
        16,
        corpus={"path": "corpus", "note": "It is noise."},
        training={"epochs": 3, "learning_rate": 5e-3, "batch_size": 8, "warmup_epochs": 0},
        models=MODELS,
        seeds=2,
    )
    typed(folder, "--all-speakers", "--out", folder / "model")
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A copy of the trained folder, which tests may damage or continue."""
    return shutil.copytree(trained, tmp_path / "train")


def metrics_of(folder: Path) -> dict:
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    return next(model for model in metrics["models"] if model["name"] == "ShiftCNN")


def provenance_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())["provenance"]


def test_the_number_of_epochs_is_the_median_of_the_chosen_epochs(trained):
    chosen = [epochs["ua"] for of_seed in metrics_of(trained)["epochs"].values() for epochs in of_seed.values()]
    assert len(chosen) == 6
    assert provenance_of(trained / "model")["epoch"] == math.ceil(statistics.median(chosen))
    record = json.loads((trained / "results" / "all-speakers" / "ShiftCNN" / "run.json").read_text())
    assert len(record["train_losses"]) == math.ceil(statistics.median(chosen))
    assert record["seed"] == 42


def test_the_model_has_the_trained_weights_with_the_temperature_in_the_last_layer(trained):
    found = load_file(trained / "model" / "model.safetensors")
    learned = load_file(trained / "results" / "all-speakers" / "ShiftCNN" / MODEL_FILE)
    temperature = metrics_of(trained)["calibration"]["temperature"]
    loss = metrics_of(trained)["calibration"]["log_loss"]
    assert loss["after"] < loss["before"]  # otherwise the temperature is not applied
    assert provenance_of(trained / "model")["calibration"]["temperature"] == temperature
    assert temperature != pytest.approx(1, abs=0.01)
    for name, weight in learned.items():
        expected = weight / temperature if name.startswith("head.") else weight
        torch.testing.assert_close(found[f"classifier.{name}"], expected)
    probabilities = Recognizer.load(str(trained / "model")).probabilities(np.zeros((1, 4000), dtype=np.float32))
    assert probabilities.sum() == pytest.approx(1)


def test_the_card_has_the_cross_validated_results_and_says_that_the_model_was_not_tested(trained):
    card = ModelCard.load(trained / "model" / "README.md")
    metrics = metrics_of(trained)
    assert "This model itself was not tested: it was trained on all 6 speakers." in card.text
    row = next(line for line in card.text.splitlines() if line.startswith("| cross-validation, 3 folds, 2 seeds"))
    for key in ("wa", "ua"):
        low, high = (f"{100 * bound:.1f}" for bound in metrics[key]["interval"])
        assert f"{100 * metrics[key]['mean']:.1f} [{low}, {high}]" in row
    assert "all 48 utterances" in card.text
    assert "of the epochs that the 6 runs" in card.text
    ece = metrics["calibration"]["ece"]
    assert f"{100 * ece['before']:.1f} points before, {100 * ece['after']:.1f} points after" in card.text
    assert "each run with the temperature of its own validation part" in card.text
    assert "trained on about 33 % of the speakers. This model was trained on all" in card.text
    assert "It is noise." in card.text
    for result in card.data.eval_results:
        assert "cross-validation" in result.dataset_name
        assert "held out" not in result.dataset_name
    assert {result.metric_name: result.metric_value for result in card.data.eval_results} == {
        key.upper(): round(metrics[key]["mean"], 4) for key in ("wa", "ua")
    }


def test_the_demo_says_that_the_model_was_not_tested(trained):
    text = caveats([("mine", Recognizer.load(str(trained / "model")))])
    assert "<b>mine</b> was trained on small" in text
    assert "not tested" in text
    assert f"{100 * metrics_of(trained)['wa']['mean']:.1f} %" in text


def test_a_second_call_trains_nothing_and_writes_the_same_model(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.glob("results/**/run.json")}
    typed(folder, "--all-speakers", "--out", folder / "again")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("results/**/run.json")} == before
    assert len(before) == 2 * 2 * 3 + 1
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (folder / "again" / name).read_bytes() == (folder / "model" / name).read_bytes()


def test_a_stopped_command_continues_to_the_same_model(folder, monkeypatch):
    shutil.rmtree(folder / "results" / "all-speakers")
    (folder / "experiment.yaml").write_text(
        (folder / "experiment.yaml").read_text().replace("  epochs: 3", "  checkpoint_seconds: 0\n  epochs: 3")
    )
    train = all_speakers_run.fit
    epochs = provenance_of(folder / "model")["epoch"]

    def stopped(run, on_epoch, world, last):
        return train(run, stop_after(epochs), world, last)

    with monkeypatch.context() as patched:
        patched.setattr(all_speakers_run, "fit", stopped)
        printed = typed(folder, "--all-speakers", "--out", folder / "again", code=130)
    assert f"continues after epoch {epochs - 1}" in printed
    assert not (folder / "again").exists()
    typed(folder, "--all-speakers", "--out", folder / "again")
    assert (folder / "again" / "model.safetensors").read_bytes() == (
        folder / "model" / "model.safetensors"
    ).read_bytes()


def test_results_of_other_settings_are_not_replaced(folder):
    text = (folder / "experiment.yaml").read_text().replace("0.005", "0.001")
    (folder / "experiment.yaml").write_text(text)
    printed = typed(folder, "--all-speakers", "--out", folder / "again", code=2)
    assert re.search(r"runs with other settings \(training\.learning_rate: 0\.005 -> 0\.001", printed)
    assert "--results" in printed
    assert "--out" not in printed
    assert not (folder / "again").exists()
    with only_command_in(folder / "results"):
        printed = typed(folder, "--all-speakers", "--out", folder / "again", code=2)
    assert re.search("in use by .* --results$", printed.strip())


def test_a_model_is_not_scaled_if_scaling_does_not_lower_the_cross_validated_log_loss(folder, monkeypatch):
    harmful = Calibration(0.8, 96, Change(0.03, 0.04), Change(0.29, 0.31))
    monkeypatch.setattr(train_module, "model_calibration", lambda *_: harmful)
    typed(folder, "--all-speakers", "--out", folder / "again")
    assert provenance_of(folder / "again")["calibration"]["temperature"] == 1
    learned = load_file(folder / "results" / "all-speakers" / "ShiftCNN" / MODEL_FILE)
    found = load_file(folder / "again" / "model.safetensors")
    assert all(torch.equal(found[f"classifier.{name}"], weight) for name, weight in learned.items())
    card = (folder / "again" / "README.md").read_text()
    assert "is not applied, because it does not lower the log loss" in card
    assert "error below: 3.0 points" in card
    assert "Scaling did not lower the calibration error" in card


def test_a_model_with_another_number_of_epochs_is_not_replaced(folder):
    path = folder / "results" / "all-speakers" / "ShiftCNN" / "run.json"
    record = json.loads(path.read_text())
    record["inputs"]["epochs"] += 1  # as if other seeds had given another number of epochs
    path.write_text(json.dumps(record))
    printed = typed(folder, "--all-speakers", "--out", folder / "again", code=2)
    assert re.search(r"1 run with other settings \(epochs: \d -> \d\)", printed)
    typed(folder, "--all-speakers", "--overwrite", "--out", folder / "again")
    assert provenance_of(folder / "again") == provenance_of(folder / "model")


def test_the_protocol_last_trains_for_all_epochs_and_is_not_calibrated(folder):
    results = ("--results", folder / "last")
    typed(folder, "--all-speakers", "--protocol", "last", "--seeds", 1, *results, "--out", folder / "again")
    provenance = provenance_of(folder / "again")
    assert provenance["epoch"] == provenance["epochs"] == 3
    assert provenance["calibration"] is None
    card = (folder / "again" / "README.md").read_text()
    assert "Trained for 3 epochs, seed 42. The number of epochs was set before the experiment." in card
    assert "not calibrated" in card


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--out", "new"), "--all-speakers must be given.* ser run FILE --keep-models`.* ser package`"),
        (("--all-speakers", "--out", "new", "--protocol", "paper"), r"protocol\.kind must be heldout.*got paper"),
        (("--all-speakers", "--out", "."), r"--out must be a folder that does not exist, got \."),
        (("--all-speakers", "--out", "new", "--model", "RNN"), "model must be one of CNN, ShiftCNN, got 'RNN'"),
    ],
)
def test_invalid_arguments_are_a_one_line_error_before_anything_is_written(
    trained, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    results = ("--results", tmp_path / "results")
    printed = typed(trained, *results, *arguments, code=2)
    assert re.match(f"error: {sentence}", printed)
    assert [*tmp_path.iterdir()] == []
