import json
import shutil
import subprocess
import sys

import pytest

from temporal_shift.ser.errors import RecipeError
from temporal_shift.ser.results import read_results, summarize, training_seconds

from .conftest import FAKE_FOLDS


@pytest.fixture
def read(fake_results, fake_experiment, fake_labels):
    return lambda: read_results(fake_results, fake_experiment, fake_labels, FAKE_FOLDS)


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def test_summary_agrees_with_plain_loops_over_the_files(fake_results, read):
    summary = summarize(read())
    ours = next(model for model in summary["models"] if model["name"] == "ShiftLSTM")
    scores = []
    for fold in summary["folds"]:
        lines = lines_of(fake_results / "runs" / "ShiftLSTM" / fold / "predictions.jsonl")
        right = [row["label"] == row["prediction"] for row in map(json.loads, lines)]
        scores.append(sum(right) / len(right))
    assert list(ours["wa"]["by_fold"].values()) == scores
    assert ours["wa"]["mean"] == pytest.approx(sum(scores) / 5)
    assert sum(map(sum, ours["confusion"])) == summary["utterances"] == 400
    assert summary["speakers"] == 10
    assert summary["chance"] == 0.25


def test_summary_keeps_the_experiment_s_order_and_pairs_each_model_with_its_twin(read, fake_experiment):
    summary = summarize(read())
    assert [model["name"] for model in summary["models"]] == [model.name for model in fake_experiment.models]
    assert [(pair["model"], pair["twin"]) for pair in summary["pairs"]] == [
        ("ShiftCNN", "CNN"),
        ("ShiftLSTM", "LSTM"),
        ("Shiftformer", "Identity mixer"),
    ]


def test_summary_does_not_know_how_long_training_took_nor_the_order_of_the_lines(fake_results, read):
    before = summarize(read())
    edit_json(fake_results / "runs" / "CNN" / "Session1" / "run.json", seconds=99.0)
    predictions = fake_results / "runs" / "CNN" / "Session1" / "predictions.jsonl"
    predictions.write_text("".join(reversed(lines_of(predictions))))
    assert summarize(read()) == before
    assert training_seconds(read())["CNN"]["Session1"] == 99.0


@pytest.mark.parametrize("name", ["run.json", "predictions.jsonl"])
def test_missing_file_is_named(fake_results, read, name):
    path = fake_results / "runs" / "LSTM" / "Session3" / name
    path.unlink()
    with pytest.raises(RecipeError) as error:
        read()
    assert str(error.value) == f"there is no {path}: train this model for this fold, then report"


def test_missing_run_is_named(fake_results, read):
    shutil.rmtree(fake_results / "runs" / "LSTM" / "Session3")
    with pytest.raises(RecipeError, match=r"there is no .*runs/LSTM/Session3/run\.json"):
        read()


def test_a_fold_of_an_earlier_experiment_is_not_counted(fake_results, read):
    before = summarize(read())
    shutil.copytree(fake_results / "runs" / "LSTM" / "Session3", fake_results / "runs" / "LSTM" / "Session9")
    assert summarize(read()) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"best_epoch": 13}, "best_epoch is 13, it must be between 1 and 12"),
        ({"best_epoch": "soon"}, "run.json: best_epoch: Input should be a valid integer"),
        ({"epochs": []}, "does not hold the experiment's epochs 1 to 12: delete the run, train it again"),
    ],
)
def test_broken_run_is_named(fake_results, read, changes, sentence):
    path = fake_results / "runs" / "CNN" / "Session2" / "run.json"
    edit_json(path, **changes)
    with pytest.raises(RecipeError) as error:
        read()
    assert str(error.value).startswith(str(path))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 81: Invalid JSON"),
        ("", "line 1: Invalid JSON"),
        ('{"id": "new", "speaker": "1F", "label": "sad"}', "line 81: prediction: Field required"),
        (
            '{"id": "new", "speaker": "1F", "label": "sad", "prediction": "fear", "probabilities": {}}',
            "line 81: 'fear' is none of the labels hap, ang, sad, neu",
        ),
        (
            '{"id": "Ses1_000", "speaker": "1F", "label": "sad", "prediction": "sad", "probabilities": {}}',
            "line 81: the utterance 'Ses1_000' stands there twice",
        ),
        (
            '{"id": "new", "speaker": "1F", "label": "sad", "prediction": "sad", "probabilities": {}}',
            "tests other utterances than CNN does: delete the run and train it again",
        ),
    ],
)
def test_broken_prediction_is_named_with_its_line(fake_results, read, line, sentence):
    path = fake_results / "runs" / "ShiftCNN" / "Session1" / "predictions.jsonl"
    path.write_text(path.read_text() + line if line else "")
    with pytest.raises(RecipeError) as error:
        read()
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_reading_results_needs_neither_torch_nor_transformers_nor_matplotlib():
    heavy = "{'transformers', 'matplotlib'}"  # torch comes with the package itself
    code = f"import sys, temporal_shift.ser.results; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
