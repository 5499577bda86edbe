"""The calibration of an experiment's models: its values, its section of the report, and its errors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from temporal_shift.ser.corpora.manifest import write_manifest
from temporal_shift.ser.reports.run_files import Plan
from temporal_shift.ser.reports.writer import write_report
from temporal_shift.ser.training.calibration import (
    expected_calibration_error,
    log_loss,
    probabilities_of,
    temperature,
)
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.training.run_record import Run, run_folder
from temporal_shift.ser.training.train_run import train
from temporal_shift.ser.utils.errors import RecipeError

from ..small_run import LABELS, small_run, with_


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Run]:
    """The results of one model on four folds, and a run with its settings, manifest and features."""
    folder = tmp_path_factory.mktemp("calibration")
    run = with_(small_run(folder), learning_rate=5e-3, epochs=4)
    root = folder / "results"
    folds = make_folds(run.manifest, "heldout")
    Plan(run.experiment, run.manifest.labels, tuple(fold.name for fold in folds)).write(root)
    write_manifest(run.manifest, root / "manifest.jsonl")
    for fold in folds:
        train(replace(run, fold=fold, folder=run_folder(root, run.model.name, run.seed, fold.name)))
    return root, run


@pytest.fixture
def results(trained, tmp_path) -> Path:
    return shutil.copytree(trained[0], tmp_path / "results")


def folds_of(root: Path, run: Run):
    """Validation logits and labels, test logits and labels of each fold."""
    for fold in make_folds(run.manifest, "heldout"):
        folder = run_folder(root, run.model.name, run.seed, fold.name)
        chosen = json.loads((folder / "run.json").read_text())["chosen"]["ua"]
        labels = [
            [LABELS.index(run.manifest.utterances[i].label) for i in part] for part in (fold.validation, fold.test)
        ]
        validation, test = np.load(folder / "validation_logits.npy"), np.load(folder / "test_logits.npy")[chosen - 1]
        yield validation, np.array(labels[0]), test, np.array(labels[1])


def test_each_run_is_calibrated_on_its_validation_part_and_measured_on_its_test_part(trained, results):
    _, run = trained
    found = write_report(results, {}, {})["models"][0]["calibration"]
    parts = [*folds_of(results, run)]
    before = np.concatenate([test for _, _, test, _ in parts])
    after = np.concatenate([test / temperature(logits, labels) for logits, labels, test, _ in parts])
    labels = np.concatenate([labels for *_, labels in parts])
    assert found["predictions"] == len(labels) == 64
    for name, logits in (("before", before), ("after", after)):
        assert found["ece"][name] == pytest.approx(expected_calibration_error(probabilities_of(logits), labels))
        assert found["log_loss"][name] == pytest.approx(log_loss(logits, labels))
    pooled = [np.concatenate([part[index] for part in parts]) for index in (0, 1)]
    assert found["temperature"] == pytest.approx(temperature(*pooled), rel=1e-4)
    assert found["log_loss"]["before"] != pytest.approx(found["log_loss"]["after"], rel=1e-3)


def test_the_report_has_a_table_of_the_calibration_with_an_explanation(results):
    metrics = write_report(results, {}, {})
    assert json.loads((results / "metrics.json").read_text()) == metrics
    found = metrics["models"][0]["calibration"]
    row = f"| Shiftformer | {found['temperature']:.2f} | {100 * found['ece']['before']:.1f} |"
    page = (results / "report.md").read_text()
    section = page.split("## Calibration\n")[1].split("\n## ")[0]
    assert row in section
    assert "expected calibration error" in section
    assert "<h2>Calibration</h2>" in (results / "report.html").read_text()


def test_runs_without_validation_logits_are_reported_without_a_calibration(trained, results):
    _, run = trained
    whole = write_report(results, {}, {})
    path = run_folder(results, run.model.name, run.seed, "Session2") / "run.json"
    record = json.loads(path.read_text())
    del record["files"]["validation_logits.npy"]
    path.write_text(json.dumps(record))
    metrics = write_report(results, {}, {})
    assert metrics["models"][0].pop("calibration") is None
    del whole["models"][0]["calibration"]
    assert metrics == whole
    assert "Calibration" not in (results / "report.md").read_text()


def test_a_protocol_without_validation_has_no_calibration(fake_runs_of, tmp_path):
    root = shutil.copytree(fake_runs_of(1, "last"), tmp_path / "last")
    assert [model["calibration"] for model in write_report(root, {}, {})["models"]] == [None, None]


def other_label(root: Path) -> None:
    lines = (root / "manifest.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["label"] = next(label for label in LABELS if label != first["label"])
    (root / "manifest.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]))


def other_session(root: Path) -> None:
    text = (root / "manifest.jsonl").read_text()
    (root / "manifest.jsonl").write_text(text.replace('"session": "Session4"', '"session": "Session5"'))


def without_manifest(root: Path) -> None:
    (root / "manifest.jsonl").unlink()


@pytest.mark.parametrize("harm", [other_label, other_session, without_manifest])
def test_another_manifest_than_the_runs_were_trained_with_is_an_error(results, harm):
    harm(results)
    with pytest.raises(RecipeError, match=r"manifest\.jsonl"):
        write_report(results, {}, {})


def test_changed_validation_logits_are_an_error(trained, results):
    _, run = trained
    path = run_folder(results, run.model.name, run.seed, "Session3") / "validation_logits.npy"
    np.save(path, np.load(path) * 2)
    with pytest.raises(RecipeError, match=r"validation_logits\.npy was changed or damaged"):
        write_report(results, {}, {})
