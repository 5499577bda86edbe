"""The experiments on real speech accept any corpus and encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.experiments import estimate
from temporal_shift.ser.models.frame_classifier import frame_classifier
from temporal_shift.ser.training.folds import make_folds

from ..ser.corpus_trees import noise, write, write_emodb, write_ravdess
from ..ser.tiny import write_experiment

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "real-speech").glob("*.yaml"))
FOUR = ("angry", "happy", "neutral", "sad")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    write_emodb(root / "emodb", {"W": 40, "F": 30, "N": 30, "T": 20, "L": 10})
    write_ravdess(root / "ravdess", range(1, 7))
    for number, label in enumerate(("Anger", "Happiness", "Neutral", "Sadness", "Surprise")):
        for speaker in range(6):
            write(root / "folder" / label / f"speaker{speaker}" / "1.wav", noise(10 * number + speaker))
    return root


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["emodb", "ravdess", "folder"])
def test_an_experiment_accepts_any_corpus_and_encoder(path, name, corpora):
    experiment = read_experiment(path, {"corpus": {"path": str(corpora / name)}})
    manifest = read_corpus(experiment.corpus)
    if path.stem != "all-classes":
        assert manifest.labels == FOUR
        assert {utterance.label for utterance in manifest.utterances} == set(FOUR)
    assert len(make_folds(manifest, experiment.protocol.kind)) == 5
    with torch.device("meta"):
        for model in experiment.models:
            for shape in ((25, 64), (13, 25, 1024)):
                frame_classifier(model, shape, manifest.labels, experiment.spec_augment)


def test_the_dry_run_prints_the_number_of_runs_and_trains_nothing(corpora, tmp_path, monkeypatch):
    folder = write_experiment(tmp_path, 4)  # creates an encoder that the command can load
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(estimate, "_MAX_SECONDS", 0.0)  # measures no speeds, which test_estimate.py tests
    arguments = ["--corpus", str(corpora / "emodb"), "--backbone", str(folder / "backbone"), "--dry-run"]
    (four,) = (path for path in EXAMPLES if path.stem == "four-classes")
    done = CliRunner().invoke(app, ["ser", "run", str(four), *arguments])
    assert "9 models x 5 folds x 5 seeds = 225 runs" in done.output
    assert "estimated time on this machine" in done.output
    assert not (tmp_path / "results").exists()
