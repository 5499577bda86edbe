"""Records of experiments on real speech contain all data for their tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import real_speech as real_speech_command
from benchmarks.measure import real_speech, record_file
from benchmarks.report import real_speech_tables
from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.experiments.ablation import Grid
from temporal_shift.ser.reports import report_tables
from temporal_shift.ser.reports.results import read_results, summarize
from temporal_shift.ser.training import metrics
from temporal_shift.ser.utils.atomic_files import file_sha256

from ..ser.conftest import fake_experiment, fake_runs_of  # noqa: F401

RUN_INFO = {"corpus": "c" * 64, "features": "f" * 64, "device": "cpu"}


@pytest.fixture
def root(tmp_path, fake_runs_of):  # noqa: F811
    root = shutil.copytree(fake_runs_of(2, "heldout"), tmp_path / "emodb-tiny")
    (root / "run_info.json").write_text(json.dumps(RUN_INFO))
    return root


@pytest.fixture
def record(root, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks", "real-speech", str(root), "--out", str(tmp_path / "records")])
    command.main()
    return tmp_path / "records" / "emodb-tiny.jsonl"


def test_summary_and_tables_of_the_record_equal_those_of_the_results(root, record):
    lines = record_file.read(record)
    (found,) = real_speech_tables.experiments(lines)
    expected = summarize(read_results(root))
    assert found.summary["pairs"] == expected["pairs"]
    for ours, theirs in zip(found.summary["models"], expected["models"], strict=True):
        assert ours == {key: theirs[key] for key in ours}
        assert found.of_model[ours["name"]]["parameters"] == theirs["parameters"]
    assert real_speech_tables.differences(lines).rows[0][1:] == report_tables.pairs(expected["pairs"]).rows[0]
    assert len(real_speech_tables.figures(lines).rows) == len(expected["models"])


def test_each_run_has_its_scores_and_the_hash_of_its_predictions(root, record):
    runs = [line for line in record_file.read(record) if line["kind"] == "run"]
    assert len(runs) == 2 * 2 * 5
    for run in runs:
        folder = root / "runs" / run["model"] / f"seed-{run['seed']}" / run["fold"]
        outcome = json.loads((folder / "run.json").read_text())
        assert run["epoch"] == outcome["chosen"]["ua"]
        scores = outcome["epochs"][run["epoch"] - 1]["test"]
        assert (run["ua"], run["wa"]) == (scores["ua"], scores["wa"])
        assert run["predictions_sha256"] == file_sha256(folder / "predictions.jsonl")
        assert {"corpus", "encoder", "layer"} <= run.keys()


def test_a_record_names_the_gpu_and_the_versions_of_the_runs(root):
    versions = {"python": "3.12.3", "torch": "2.11.0", "transformers": "5.17.0"}
    (root / "run_info.json").write_text(json.dumps({**RUN_INFO, **versions, "device": "NVIDIA H100"}))
    (head,) = (line for line in real_speech.lines_of(root) if line["kind"] == "experiment")
    assert (head["device"], head["versions"]) == ("NVIDIA H100", versions)


def test_results_without_run_info_are_a_usage_error(root, capsys):
    (root / "run_info.json").unlink()
    with pytest.raises(SystemExit, match="2"):
        real_speech_command.main([str(root)])
    assert "run_info.json" in capsys.readouterr().err


def test_a_folder_without_results_is_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        real_speech_command.main([str(tmp_path)])
    assert "must be the results folder of an experiment" in capsys.readouterr().err


ROOT = Path(__file__).parents[2]
CROSS = sorted((ROOT / real_speech.FOLDER).glob("cross-*.jsonl"))
RECORDS = sorted(
    path for path in (ROOT / real_speech.FOLDER).glob("*.jsonl") if not path.stem.startswith(("tried", "cross-"))
)
EXAMPLES = ROOT / "examples/real-speech"
GIVEN = {"emodb-frame-rate-100": {"training": {"epochs": 100}}}  # options of the command on the page


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_committed_record_has_the_settings_of_an_example(path):
    lines = record_file.read(path)
    (head,) = (line for line in lines if line["kind"] == "experiment")
    experiment = read_experiment(EXAMPLES / f"{head['what']}.yaml", GIVEN.get(path.stem))
    if head["what"] == "ablation":
        experiment = Grid().experiment(experiment)
    for section in ("features", "spec_augment", "protocol", "training"):
        assert head[section] == getattr(experiment, section).model_dump(mode="json"), section
    assert head["models"] == [model.model_dump(mode="json") for model in experiment.models]


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_committed_record_has_every_run_with_correct_scores(path):
    lines = record_file.read(path)
    tested = real_speech.tested_of(lines)  # a missing run is a KeyError
    scores = {
        (line["model"], line["seed"], line["fold"]): (line["ua"], line["wa"]) for line in lines if line["kind"] == "run"
    }
    computed = {
        (model, seed, fold): _scores(found, len(tested.labels))
        for model, seeds in tested.predictions.items()
        for seed, folds in zip(tested.seeds, seeds, strict=True)
        for fold, found in zip(tested.folds, folds, strict=True)
    }
    assert computed.keys() == scores.keys()
    assert [*computed.values()] == [pytest.approx(scores[key], abs=1e-9) for key in computed]


@pytest.mark.parametrize("path", CROSS, ids=lambda path: path.stem)
def test_a_cross_corpus_record_belongs_to_the_shipped_weights(path):
    lines = record_file.read(path)
    assert [line["kind"] for line in lines] == ["cross-corpus", "sound", "sound"]
    assert len({line["model"] for line in lines}) == 1
    shipped = EXAMPLES / "models" / lines[0]["model"]
    assert {line["model_sha256"] for line in lines} == {file_sha256(shipped / "model.safetensors")}
    counts = np.array(lines[0]["confusion"])
    assert counts.sum() == lines[0]["utterances"]
    assert metrics.unweighted_accuracy(counts) == pytest.approx(lines[0]["ua"])
    assert metrics.weighted_accuracy(counts) == pytest.approx(lines[0]["wa"])
    labels = json.loads((shipped / "config.json").read_text())["id2label"].values()
    assert [*labels] == lines[0]["labels"] == [*lines[1]["probabilities"]]


def test_each_shipped_model_has_a_cross_corpus_record():
    models = {record_file.read(path)[0]["model"] for path in CROSS}
    assert models == {path.name for path in (EXAMPLES / "models").iterdir()}


def _scores(fold, classes):
    counts = metrics.confusion(fold.labels, fold.predictions, classes)
    return float(metrics.unweighted_accuracy(counts)), float(metrics.weighted_accuracy(counts))
