"""From a finished experiment to a packaged model, which equals the model that was tested."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from rich.console import Console
from safetensors.torch import load_file
from scipy.special import softmax
from transformers import HubertConfig, HubertModel, pipeline
from typer.testing import CliRunner

from temporal_shift.ser import Recognizer, SpeechClassifier
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.cli import app
from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.experiments.package_run import package
from temporal_shift.ser.experiments.run_experiment import run_experiment
from temporal_shift.ser.models.onnx_export import export_onnx
from temporal_shift.ser.training import train_run
from temporal_shift.ser.training.calibration import temperature
from temporal_shift.ser.training.run_record import MODEL_FILE, run_folder
from temporal_shift.ser.training.train_run import train
from temporal_shift.ser.utils.errors import RecipeError

from ..faults import file_size_limit
from ..small_run import outcome, small_run, stop_after, stopped, trained, under, with_
from ..tiny import TINY, write_noise_corpus

SECONDS = 0.25


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of noise, an encoder, and the results of both settings with their weights."""
    folder = tmp_path_factory.mktemp("experiment")
    write_noise_corpus(folder / "corpus", 16)
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(folder / "backbone")
    for setting in ("features", "finetune"):
        content = {
            "name": setting,
            "setting": setting,
            "corpus": {"path": "corpus", "note": "The corpus is noise."},
            "backbone": {"name": "backbone", "layer": "weighted"},
            "features": {"clip_seconds": SECONDS, "average": 2},
            "spec_augment": {"time_length": 2, "feature_length": 4},
            "training": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0, "learning_rate": 5e-3, "keep_models": True},
            "models": [
                {"name": "ShiftLSTM", "blocks": "lstm", "shift": {"placement": "inplace", "n_div": 4}},
                {"name": "Shiftformer", "blocks": "transformer", "shift": {"placement": "replace", "n_div": 4}},
            ],
        }
        (folder / f"{setting}.yaml").write_text(yaml.safe_dump(content))
        experiment = read_experiment(folder / f"{setting}.yaml")
        run_experiment(experiment, folder / "results" / setting, folder / "cache", Console(quiet=True))
    return folder


def recorded(results: Path, model: str, fold: str) -> tuple[list[Path], list[str], np.ndarray]:
    """Files, labels and probabilities of the test utterances, as recorded by the experiment."""
    rows = (run_folder(results, model, 42, fold) / "predictions.jsonl").read_text().splitlines()
    predictions = [json.loads(row) for row in rows]
    lines = (results / "manifest.jsonl").read_text().splitlines()
    paths = {line["id"]: Path(line["path"]) for line in map(json.loads, lines)}
    labels = list(predictions[0]["probabilities"])
    table = np.array([[row["probabilities"][label] for label in labels] for row in predictions])
    return [paths[row["id"]] for row in predictions], labels, table


def temperature_of(folder: Path) -> float:
    """The temperature of a packaged model."""
    return json.loads((folder / "config.json").read_text())["provenance"]["calibration"]["temperature"]


def calibrated(probabilities: np.ndarray, folder: Path) -> np.ndarray:
    """Recorded probabilities with their logits divided by the temperature of a packaged model."""
    return softmax(np.log(probabilities) / temperature_of(folder), axis=1)


def without_temperature(probabilities: np.ndarray, folder: Path) -> np.ndarray:
    """The probabilities that a packaged model would give if its logits were not divided by its temperature."""
    return softmax(np.log(probabilities.astype(np.float64)) * temperature_of(folder), axis=1)


@pytest.mark.parametrize(("setting", "model"), [("features", "ShiftLSTM"), ("finetune", "Shiftformer")])
def test_a_packaged_model_gives_the_recorded_probabilities_in_every_format(setting, model, folder, tmp_path):
    results = folder / "results" / setting
    package(results, model, tmp_path / "model", fold="Session2")
    paths, labels, expected = recorded(results, model, "Session2")
    clips = np.stack([read_clip(path, SECONDS) for path in paths])
    assert np.ptp(expected, axis=0).max() > 1e-3  # the probabilities of utterances differ

    recognizer = Recognizer.load(str(tmp_path / "model"))
    assert list(recognizer.labels) == labels
    found = without_temperature(recognizer.probabilities(clips), tmp_path / "model")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    expected = calibrated(expected, tmp_path / "model")
    np.testing.assert_allclose(recognizer.probabilities(clips), expected, rtol=0, atol=1e-5)

    loaded = SpeechClassifier.from_pretrained(tmp_path / "model")
    loaded.save_pretrained(tmp_path / "again")
    again = Recognizer.load(str(tmp_path / "again"))
    np.testing.assert_allclose(again.probabilities(clips), expected, rtol=0, atol=1e-5)

    classify = pipeline("audio-classification", model=str(tmp_path / "again"), device="cpu")
    for path, row in zip(paths[:4], expected, strict=False):
        scores = {each["label"]: each["score"] for each in classify(str(path))}
        np.testing.assert_allclose([scores[label] for label in labels], row, rtol=0, atol=1e-5)

    import onnxruntime

    export_onnx(loaded, tmp_path / "model.onnx")
    (got,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"waveform": clips})
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_a_packaged_model_is_calibrated_on_the_validation_part_of_its_run(folder, tmp_path):
    results = folder / "results" / "features"
    package(results, "ShiftLSTM", tmp_path / "model", fold="Session2")
    logits = np.load(run_folder(results, "ShiftLSTM", 42, "Session2") / "validation_logits.npy")
    lines = map(json.loads, (results / "manifest.jsonl").read_text().splitlines())
    classes = ["happy", "angry", "sad", "neutral"]
    labels = np.array([classes.index(line["label"]) for line in lines if line["session"] == "Session3"])
    assert temperature_of(tmp_path / "model") == pytest.approx(temperature(logits, labels))
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"divided by {temperature(logits, labels):.2f}" in card
    assert "on 16 predictions for the tested speakers of Session2" in card


def test_a_run_without_validation_logits_is_packaged_as_it_was_trained_unless_its_corpus_changed(folder, tmp_path):
    results = shutil.copytree(folder / "results" / "features", tmp_path / "results")
    for path in results.glob("runs/*/*/*/run.json"):  # earlier versions wrote no validation logits
        record = json.loads(path.read_text())
        del record["files"]["validation_logits.npy"]
        path.write_text(json.dumps(record))
    package(results, "ShiftLSTM", tmp_path / "model", fold="Session2")
    paths, _, expected = recorded(results, "ShiftLSTM", "Session2")
    clips = np.stack([read_clip(path, SECONDS) for path in paths])
    found = Recognizer.load(str(tmp_path / "model")).probabilities(clips)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert "not calibrated" in (tmp_path / "model" / "README.md").read_text()

    manifest = results / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"session": "Session2"', '"session": "Session4"'))
    with pytest.raises(RecipeError, match=r"manifest\.jsonl must contain the utterances .* ShiftLSTM, fold Session2"):
        package(results, "ShiftLSTM", tmp_path / "again", fold="Session2")


def test_a_frozen_encoder_can_be_left_out_of_the_package(folder, tmp_path):
    package(folder / "results" / "features", "Shiftformer", folder / "small", holds_backbone=False, half=True)
    settings = json.loads((folder / "small" / "config.json").read_text())
    assert settings["backbone"].items() >= {"name": "../backbone", "revision": None}.items()
    assert all(name.startswith("classifier.") for name in load_file(folder / "small" / "model.safetensors"))
    paths, _, expected = recorded(folder / "results" / "features", "Shiftformer", "Session1")
    clips = np.stack([read_clip(path, SECONDS) for path in paths])
    found = without_temperature(Recognizer.load(str(folder / "small")).probabilities(clips), folder / "small")
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-3)
    with pytest.raises(RecipeError, match=r"--without-backbone requires a frozen encoder, got a fine-tuned one"):
        package(folder / "results" / "finetune", "Shiftformer", tmp_path / "small", holds_backbone=False)


def test_the_card_states_the_training_data_the_test_and_the_limits(folder, tmp_path):
    results = folder / "results" / "features"
    package(results, "Shiftformer", tmp_path / "model", fold="Session3")
    card = ModelCard.load(tmp_path / "model" / "README.md")
    metrics = json.loads((results / "metrics.json").read_text())
    of_model = metrics["models"][1]
    run = json.loads((run_folder(results, "Shiftformer", 42, "Session3") / "run.json").read_text())
    test = run["epochs"][run["chosen"]["ua"] - 1]["test"]

    (wa, ua) = card.data.eval_results
    assert (wa.metric_value, ua.metric_value) == (round(test["wa"], 4), round(test["ua"], 4))
    assert ua.dataset_name == "features, Session3 held out"
    assert card.data.pipeline_tag == "audio-classification"
    assert f"| this model, on Session3 | {100 * test['wa']:.1f} | {100 * test['ua']:.1f} |" in card.text
    mean, (low, high) = of_model["ua"]["mean"], of_model["ua"]["interval"]
    assert f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in card.text
    for sentence in (
        "the frames of backbone (frozen)",
        "with a temporal shift (replace, n_div 4, one direction, stride 1)",
        "48 utterances of 6 speakers",
        "Utterances: 16 for training, 16 to choose the epoch, 16 for testing. No speaker is in two of these parts.",
        "The corpus is noise.",
        "Leave one session out",
        "The model does not know what anybody feels.",
        "Do not use the model to judge, rank, hire",
        "Article 5 (1) (f)",
    ):
        assert sentence in card.text
    assert str(folder) not in card.text
    assert str(folder) not in (tmp_path / "model" / "config.json").read_text()
    assert "{{" not in card.text
    assert not re.search(r"\n\n\n", card.text)


def test_the_card_calls_a_model_optimistic_if_the_test_part_chose_its_epoch(folder, tmp_path):
    experiment = read_experiment(folder / "features.yaml", {"protocol": {"kind": "paper"}})
    one = experiment.model_copy(update={"models": experiment.models[1:]})
    run_experiment(one, tmp_path / "results", folder / "cache", Console(quiet=True))
    package(tmp_path / "results", "Shiftformer", tmp_path / "model")
    text = (tmp_path / "model" / "README.md").read_text()
    assert "The test utterances chose the epoch, so these results are optimistic." in text
    assert "32 for training, none to choose the epoch" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": "CNN"}, r"^model .*ShiftLSTM, Shiftformer.*'CNN'"),
        (
            {"fold": "Session9"},
            r"^fold .*Session1, Session2, Session3.*'Session9'",
        ),
        ({"seed": 7}, r"^seed .*42.*7"),
        ({"out": Path(__file__)}, r"^--out .*does not exist.*test_package_run\.py"),
        ({"root": Path("/nowhere")}, r"^/nowhere must be the results folder"),
    ],
)
def test_a_run_that_cannot_be_packaged_is_an_error_and_writes_nothing(arguments, sentence, folder, tmp_path):
    said = {"root": folder / "results" / "features", "model": "Shiftformer", "out": tmp_path / "model", **arguments}
    with pytest.raises(RecipeError, match=sentence):
        package(**said)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_were_damaged_after_training_are_not_packaged(folder, tmp_path):
    results = shutil.copytree(folder / "results" / "features", tmp_path / "results")
    path = run_folder(results, "Shiftformer", 42, "Session1") / MODEL_FILE
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"Session1/model\.safetensors was changed or damaged"):
        package(results, "Shiftformer", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_classifier_is_not_packaged_with_another_encoder_than_it_was_trained_with(folder, tmp_path):
    for name in ("corpus", "backbone", "results", "features.yaml"):
        copy = shutil.copytree if (folder / name).is_dir() else shutil.copy
        copy(folder / name, tmp_path / name)
    experiment = json.loads((tmp_path / "results" / "features" / "experiment.json").read_text())
    moved = json.dumps(experiment).replace(str(folder), str(tmp_path))
    (tmp_path / "results" / "features" / "experiment.json").write_text(moved)
    package(tmp_path / "results" / "features", "Shiftformer", tmp_path / "same")
    torch.manual_seed(1)
    HubertModel(HubertConfig(**TINY)).save_pretrained(tmp_path / "backbone")
    with pytest.raises(RecipeError, match=r"backbone .* must be the one that the run was trained with"):
        package(tmp_path / "results" / "features", "Shiftformer", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_card_uses_the_runs_and_not_an_edited_summary(folder, tmp_path):
    results = shutil.copytree(folder / "results" / "features", tmp_path / "results")
    package(results, "Shiftformer", tmp_path / "model")
    (results / "metrics.json").write_text((results / "metrics.json").read_text().replace("0.", "NaN, 0."))
    package(results, "Shiftformer", tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == (tmp_path / "model" / "README.md").read_text()


def test_a_model_that_cannot_be_written_is_a_one_line_error_and_leaves_no_file(folder, tmp_path):
    results, model, file = folder / "results" / "features", folder / "to-export", tmp_path / "file"
    package(results, "Shiftformer", model)
    file.write_text("a file")
    for limit, reason, arguments in (
        (30_000, errno.EFBIG, ("package", results, "--model", "Shiftformer", "--out", tmp_path / "model")),
        (30_000_000, errno.ENOTDIR, ("package", results, "--model", "Shiftformer", "--out", file / "model")),
        (
            30_000_000,
            errno.ENOTDIR,
            ("export", model, file / "model.onnx"),
        ),  # fails before the export, which takes seconds
    ):
        with file_size_limit(limit):
            done = CliRunner().invoke(app, ["ser", *map(str, arguments)])
        named = file if reason == errno.ENOTDIR else tmp_path / "model"
        assert (done.exit_code, done.stderr.splitlines()[-1]) == (2, f"error: {named}: {os.strerror(reason)}")
        assert [path.read_text() for path in tmp_path.rglob("*")] == ["a file"]


def test_a_package_is_written_atomically(folder, tmp_path, monkeypatch):
    def fails(self, path, **options):
        path.mkdir()
        (path / "config.json").write_text("half a")
        raise KeyboardInterrupt

    monkeypatch.setattr(SpeechClassifier, "save_pretrained", fails)
    with pytest.raises(KeyboardInterrupt):
        package(folder / "results" / "features", "Shiftformer", tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_package_and_export_write_a_model_and_report_invalid_names(folder, tmp_path):
    def typed(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["ser", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    results, model = folder / "results" / "features", tmp_path / "model"
    typed("package", results, "--model", "ShiftLSTM", "--fold", "Session2", "--out", model)
    assert "within" in typed("export", model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size > 10_000
    assert typed("export", tmp_path / "no", tmp_path / "b.onnx", code=2).startswith("error: there is no model folder")
    assert typed("package", results, "--model", "X", "--out", tmp_path / "y", code=2).startswith(
        "error: model must be one of"
    )


# Tests of the weights that a run keeps.


def kept(run) -> dict[str, torch.Tensor]:
    return load_file(run.folder / MODEL_FILE)


def logits_of(run, weights: dict[str, torch.Tensor]) -> np.ndarray:
    from temporal_shift.ser.models.frame_classifier import frame_classifier

    model = frame_classifier(run.model, run.cache.shape, run.manifest.labels, run.experiment.spec_augment).eval()
    model.load_state_dict(weights)
    frames = np.stack([run.cache[index] for index in run.fold.test])
    with torch.no_grad():
        return model(torch.from_numpy(frames)).logits.numpy()


@pytest.mark.parametrize("kind", ["heldout", "last", "paper", "speaker"])
def test_the_kept_weights_give_the_reported_logits(kind, tmp_path):
    run = under(with_(small_run(tmp_path), keep_models=True, epochs=5, learning_rate=5e-3), kind)
    record, _ = trained(run)
    logits = np.load(run.folder / "test_logits.npy")
    np.testing.assert_allclose(logits_of(run, kept(run)), logits[record["chosen"]["ua"] - 1], rtol=0, atol=1e-5)
    assert np.abs(np.diff(logits, axis=0)).max(axis=(1, 2)).min() > 1e-3  # the epochs differ


def test_a_stopped_run_keeps_the_same_weights_and_nothing_else_changes(tmp_path):
    plain = small_run(tmp_path / "plain")
    train(plain)
    whole = with_(small_run(tmp_path / "whole"), keep_models=True)
    train(whole)
    again = stopped(with_(small_run(tmp_path / "again"), keep_models=True))
    train(again)
    for name, weight in kept(whole).items():
        assert torch.equal(kept(again)[name], weight)
    for run in (whole, again):
        (run.folder / MODEL_FILE).unlink()
        assert outcome(run) == outcome(plain)


def test_a_run_killed_between_its_model_and_its_record_continues_with_the_kept_weights(tmp_path, monkeypatch):
    run = with_(small_run(tmp_path / "run"), keep_models=True, epochs=4, checkpoint_seconds=0.0)
    whole = replace(run, folder=tmp_path / "whole")
    train(whole)

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train_run, "RunRecord", killed)
        with pytest.raises(KeyboardInterrupt):
            train(run)
    record, _ = trained(run)
    assert record["chosen"]["ua"] < 4  # the last epoch has no checkpoint and is trained again; the chosen epoch is not
    assert run.is_done()
    assert all(torch.equal(weight, kept(whole)[name]) for name, weight in kept(run).items())


def test_a_run_without_kept_weights_is_trained_again_with_keep_models(tmp_path):
    run = small_run(tmp_path)
    train(run)
    wanted = with_(run, keep_models=True)
    assert run.is_done()
    assert not wanted.is_done()
    train(wanted)
    assert run.is_done()
    assert wanted.is_done()


def test_a_run_stopped_without_kept_weights_starts_again_with_keep_models(tmp_path):
    run = with_(small_run(tmp_path), epochs=4, checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        train(run, stop_after(3))
    wanted = with_(run, keep_models=True)
    record, _ = trained(wanted)
    logits = np.load(wanted.folder / "test_logits.npy")
    np.testing.assert_allclose(logits_of(wanted, kept(wanted)), logits[record["chosen"]["ua"] - 1], rtol=0, atol=1e-5)
