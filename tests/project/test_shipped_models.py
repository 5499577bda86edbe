"""The models in examples/real-speech/models match their experiment file and their model cards."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.measure import real_speech, record_file
from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.models.model_card import model_card
from temporal_shift.ser.models.speech_classifier import load_speech_classifier

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MODELS = EXAMPLES / "real-speech" / "models"
ENCODER = "../../../quickstart/backbone/whisper-tiny-en-encoder"
NAMES = ("Shiftformer", "Transformer")


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_has_the_settings_of_its_experiment(name):
    config = load_speech_classifier(str(MODELS / name)).config
    experiment = read_experiment(EXAMPLES / "real-speech" / "models.yaml")
    model = next(each for each in experiment.models if each.name == name)
    classifier, features = config.classifier_config, experiment.features
    assert (config.clip_seconds, config.average) == (features.clip_seconds, features.average)
    assert config.layer == experiment.backbone.layer
    assert classifier["blocks"] == model.blocks
    assert classifier["shift"] == (None if model.shift is None else model.shift.model_dump(mode="json"))
    assert classifier["spec_augment"] == experiment.spec_augment.model_dump(mode="json")
    provenance = config.provenance
    assert (provenance["experiment"], provenance["protocol"]) == (experiment.name, experiment.protocol.kind)
    assert (provenance["epochs"], provenance["seed"]) == (experiment.training.epochs, experiment.training.seed)
    assert provenance["all_folds"]["seeds"] == experiment.seeds
    assert provenance["corpus"]["note"] == experiment.corpus.note


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_has_its_training_data_scores_and_calibration_in_its_config(name):
    config = json.loads((MODELS / name / "config.json").read_text())
    provenance = config["provenance"]
    assert [*config["id2label"].values()] == ["angry", "happy", "neutral", "sad"]
    assert provenance["corpus"]["classes"].keys() == config["label2id"].keys()
    assert (provenance["corpus"]["name"], provenance["corpus"]["speakers"], provenance["trained_on"]) == (
        "emodb",
        10,
        339,
    )
    assert (
        provenance["chance"] < provenance["all_folds"]["ua"]["interval"][0] < provenance["all_folds"]["ua"]["mean"] < 1
    )
    calibration = provenance["calibration"]
    assert calibration["predictions"] == provenance["trained_on"] * provenance["all_folds"]["seeds"]
    assert calibration["ece"]["after"] < calibration["ece"]["before"]
    assert calibration["log_loss"]["after"] < calibration["log_loss"]["before"]
    low, high = provenance["epochs_of_folds"]["lowest"], provenance["epochs_of_folds"]["highest"]
    assert low <= provenance["epoch"] <= high <= provenance["epochs"]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_of_a_shipped_model_is_up_to_date(name):
    model = load_speech_classifier(str(MODELS / name))
    assert str(model_card(model.config, model.labels)) == (MODELS / name / "README.md").read_text()


def test_readme_has_the_scores_of_the_shipped_models_on_their_corpus_and_on_another():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    scores = [json.loads((MODELS / name / "config.json").read_text())["provenance"]["all_folds"] for name in NAMES]
    records = [ROOT / real_speech.FOLDER / f"cross-{name.lower()}-ravdess.jsonl" for name in NAMES]
    other = [record_file.read(path)[0]["ua"] for path in records]
    for figures in ([each["ua"]["mean"] for each in scores], other):
        first, second = (f"{100 * share:.0f} %" for share in figures)
        assert re.search(f"reach (a UA of )?{first} and {second}", readme)


def test_the_shipped_models_are_small_and_contain_no_path_of_the_machine_that_trained_them():
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12e6
    for path in files:
        content = path.read_bytes()
        assert not any(place in content for place in (b"/tmp", b"/home", b"/work"))
    for path in MODELS.glob("*/config.json"):
        assert json.loads(path.read_text())["backbone"]["name"] == ENCODER
