import functools
import json
import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from temporal_shift.ser import config
from temporal_shift.ser.reports.results import Plan, read_results, summarize, training_seconds
from temporal_shift.ser.utils.errors import RecipeError

from ..conftest import FAKE_FOLDS, FAKE_LABELS


@pytest.fixture
def read(fake_results):
    return lambda: read_results(fake_results)


@pytest.fixture(scope="module")
def summary_of(fake_runs_of):
    """A function from a number of seeds and a protocol to the summary of made-up results."""
    return functools.cache(lambda seeds=1, protocol="heldout": summarize(read_results(fake_runs_of(seeds, protocol))))


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def records_of(root, model):
    """``run.json`` of all of a model's runs."""
    return [json.loads(path.read_text()) for path in sorted((root / "runs" / model).glob("*/*/run.json"))]


def error_of(read):
    with pytest.raises(RecipeError) as error:
        read()
    return str(error.value)


def test_the_plan_is_written_and_read(tmp_path, fake_experiment):
    plan = Plan(fake_experiment.model_copy(update={"seeds": 3}), FAKE_LABELS, FAKE_FOLDS)
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan
    assert plan.seeds == (7, 8, 9)


def test_the_summary_agrees_with_plain_loops_over_the_files(fake_results, read):
    summary = summarize(read())
    ours = next(model for model in summary["models"] if model["name"] == "ShiftLSTM")
    scores = []
    for fold in summary["folds"]:
        lines = lines_of(fake_results / "runs" / "ShiftLSTM" / "seed-7" / fold / "predictions.jsonl")
        right = [row["label"] == row["prediction"] for row in map(json.loads, lines)]
        scores.append(sum(right) / len(right))
    assert list(ours["wa"]["by_fold"].values()) == scores
    assert ours["wa"]["mean"] == pytest.approx(sum(scores) / 5)
    assert ours["wa"]["fold_sd"] == pytest.approx(statistics.stdev(scores))
    assert sum(map(sum, ours["confusion"])) == summary["utterances"] == 400
    assert summary["speakers"] == 10
    assert summary["chance"] == 0.25


@pytest.mark.parametrize("protocol", ["heldout", "speaker", "last", "paper"])
def test_wa_and_ua_equal_the_scores_that_training_recorded_at_the_chosen_epochs(summary_of, fake_runs_of, protocol):
    summary = summary_of(1, protocol)
    assert (summary["protocol"], summary["setting"], summary["seeds"]) == (protocol, "features", [7])
    for model in summary["models"]:
        for key in ("wa", "ua"):
            scores = {
                record["fold"]: record["epochs"][record["chosen"][key] - 1]["test"][key]
                for record in records_of(fake_runs_of(1, protocol), model["name"])
            }
            assert model[key]["by_fold"] == pytest.approx(scores)
            assert list(model[key]["by_fold"]) == summary["folds"]


def test_the_summary_has_the_reported_epochs_of_every_run(summary_of, fake_runs_of):
    cnn = summary_of(2, "paper")["models"][0]
    assert list(cnn["epochs"]) == ["7", "8"]
    assert {(seed, fold): epochs for seed, folds in cnn["epochs"].items() for fold, epochs in folds.items()} == {
        (str(r["seed"]), r["fold"]): r["chosen"] for r in records_of(fake_runs_of(2, "paper"), "CNN")
    }
    assert any(epochs["wa"] != epochs["ua"] for epochs in cnn["epochs"]["7"].values())


def test_the_summary_keeps_the_order_and_pairs_each_model_with_its_baseline(read, fake_experiment):
    summary = summarize(read())
    assert [model["name"] for model in summary["models"]] == [model.name for model in fake_experiment.models]
    assert [(pair["model"], pair["baseline"]) for pair in summary["pairs"]] == [
        ("ShiftCNN", "CNN"),
        ("ShiftLSTM", "LSTM"),
        ("Shiftformer", "Identity mixer"),
    ]


def test_the_summary_depends_neither_on_training_times_nor_on_the_order_of_lines(fake_results, read):
    before = summarize(read())
    run = fake_results / "runs" / "CNN" / "seed-7" / "Session1"
    edit_json(run / "run.json", seconds=99.0)
    (run / "predictions.jsonl").write_text("".join(reversed(lines_of(run / "predictions.jsonl"))))
    np.save(run / "test_logits.npy", np.load(run / "test_logits.npy")[:, ::-1])
    assert summarize(read()) == before
    assert training_seconds(read())["CNN"]["7"] == {fold: 99.0 if fold == "Session1" else 12.5 for fold in FAKE_FOLDS}


def test_several_seeds_are_summarised_by_mean_and_deviation(summary_of, fake_runs_of):
    three = summary_of(3)["models"]
    of_each = {name: records_of(fake_runs_of(3), name) for name in (model["name"] for model in three)}
    for model in three:
        for key in ("wa", "ua"):
            by_seed = {
                str(seed): statistics.mean(
                    r["epochs"][r["chosen"][key] - 1]["test"][key] for r in of_each[model["name"]] if r["seed"] == seed
                )
                for seed in (7, 8, 9)
            }
            assert model[key]["by_seed"] == pytest.approx(by_seed)
            assert model[key]["mean"] == pytest.approx(statistics.mean(by_seed.values()))
            assert model[key]["seed_sd"] == pytest.approx(statistics.stdev(by_seed.values()))
            assert model[key]["interval"][0] < model[key]["mean"] < model[key]["interval"][1]


def test_one_seed_has_no_deviation_over_seeds_and_is_the_first_of_three(summary_of):
    once, three = summary_of(1)["models"], summary_of(3)["models"]
    for one, several in zip(once, three, strict=True):
        assert one["ua"]["seed_sd"] is None
        assert one["ua"]["by_seed"] == {"7": several["ua"]["by_seed"]["7"]}
        assert sum(map(sum, several["confusion"])) == 3 * sum(map(sum, one["confusion"]))
    utterances = summary_of(3)["utterances"]
    assert utterances == 400
    wa = three[0]["wa"]["mean"]
    assert three[0]["wa_binomial_se"] == pytest.approx((wa * (1 - wa) / utterances) ** 0.5)


def test_the_drawn_speakers_depend_neither_on_the_model_nor_on_the_number_of_seeds(fake_results):
    """Three seeds with the same predictions have the interval of one."""
    once = summarize(read_results(fake_results))
    plan = Plan.read(fake_results)
    for model in plan.experiment.models:
        for seed in (8, 9):
            folder = fake_results / "runs" / model.name
            shutil.copytree(folder / "seed-7", folder / f"seed-{seed}")
            for path in (folder / f"seed-{seed}").glob("*/run.json"):
                edit_json(path, seed=seed)
    replace(plan, experiment=plan.experiment.model_copy(update={"seeds": 3})).write(fake_results)
    thrice = summarize(read_results(fake_results))
    for three, one in zip(thrice["models"], once["models"], strict=True):
        assert three["ua"]["interval"] == pytest.approx(one["ua"]["interval"])
        assert three["ua"]["seed_sd"] == pytest.approx(0)
    for three, one in zip(thrice["pairs"], once["pairs"], strict=True):
        assert three["interval"] == pytest.approx(one["interval"])
        assert three["only_model_right"] == one["only_model_right"]


def mean_score(records, key, epoch):
    """Mean over the runs of the test score that ``epoch`` selects from the scores of a run."""
    scores = [[of_epoch["test"][key] for of_epoch in record["epochs"]] for record in records]
    return statistics.mean(epoch(of_run) for of_run in scores)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("protocol", ["heldout", "speaker", "last"])
def test_selection_bias_is_the_best_test_epoch_minus_the_reported_one(summary_of, fake_runs_of, protocol, seeds):
    for model in summary_of(seeds, protocol)["models"]:
        records = records_of(fake_runs_of(seeds, protocol), model["name"])
        for key in ("wa", "ua"):
            best = mean_score(records, key, max)
            assert model["best_test_epoch"][key] == pytest.approx(best)
            assert model["last_epoch"][key] == pytest.approx(mean_score(records, key, lambda scores: scores[-1]))
            assert model["selection_bias"][key] == pytest.approx(best - model[key]["mean"])
            assert model["selection_bias"][key] > 0


def test_the_protocol_paper_is_compared_with_the_last_epoch(summary_of):
    for model in summary_of(1, "paper")["models"]:
        for key in ("wa", "ua"):
            assert model[key]["mean"] == pytest.approx(model["best_test_epoch"][key])
            assert model["selection_bias"][key] == pytest.approx(
                model["best_test_epoch"][key] - model["last_epoch"][key]
            )
            assert model["selection_bias"][key] > 0


@pytest.mark.parametrize("name", ["run.json", "predictions.jsonl", "test_logits.npy"])
def test_a_missing_file_is_named(fake_results, read, name):
    path = fake_results / "runs" / "LSTM" / "seed-7" / "Session3" / name
    path.unlink()
    assert error_of(read).startswith(f"{path} does not exist")


def test_a_missing_run_is_named(fake_results, read):
    run = fake_results / "runs" / "LSTM" / "seed-7" / "Session3"
    shutil.rmtree(run)
    assert error_of(read).startswith(f"{run / 'run.json'} does not exist")


def test_a_missing_seed_is_named(fake_results, read):
    plan = Plan.read(fake_results)
    replace(plan, experiment=plan.experiment.model_copy(update={"seeds": 2})).write(fake_results)
    missing = fake_results / "runs" / "CNN" / "seed-8" / "Session1" / "run.json"
    assert error_of(read).startswith(f"{missing} does not exist")


def test_a_folder_without_a_plan_is_an_error(tmp_path):
    assert f"{tmp_path / 'experiment.json'} does not exist" in error_of(lambda: read_results(tmp_path))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"folds": "Session1"}, "folds must be a valid"),
        ({"experiment": {}}, "the key 'experiment.name' is missing"),
    ],
)
def test_a_broken_plan_is_named(fake_results, read, changes, sentence):
    path = fake_results / "experiment.json"
    edit_json(path, **changes)
    assert error_of(read).startswith(f"{path}: {sentence}")


def test_a_plan_that_is_not_json_is_named(fake_results, read):
    path = fake_results / "experiment.json"
    path.write_text("{")
    assert error_of(read).startswith(f"{path}: must be a JSON object, got ")


def test_folds_and_seeds_of_an_earlier_experiment_are_not_counted(fake_results, read):
    before = summarize(read())
    lstm = fake_results / "runs" / "LSTM"
    shutil.copytree(lstm / "seed-7" / "Session3", lstm / "seed-7" / "Session9")
    shutil.copytree(lstm / "seed-7", lstm / "seed-8")
    shutil.copytree(lstm, fake_results / "runs" / "GRU")
    assert summarize(read()) == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"chosen": {"wa": 12, "ua": 13}}, "chosen.ua must be in [1, 12], got 13"),
        ({"chosen": {"wa": 0, "ua": 1}}, "chosen.wa must be in [1, 12], got 0"),
        ({"chosen": {"wa": 1, "ua": "soon"}}, "run.json: chosen.ua must be a valid integer"),
        ({"epochs": []}, "must contain the epochs 1 to 12, got none"),
    ],
)
def test_a_broken_run_is_named(fake_results, read, changes, sentence):
    path = fake_results / "runs" / "CNN" / "seed-7" / "Session2" / "run.json"
    edit_json(path, **changes)
    message = error_of(read)
    assert message.startswith(str(path))
    assert sentence in message


def epochs_with(path, number, part, **changes):
    epochs = json.loads(path.read_text())["epochs"]
    epochs[number - 1][part].update(changes)
    return epochs


def copy_of_another_fold(path):
    shutil.rmtree(path.parent)
    path.parent.symlink_to(path.parent.with_name("Session1"))


def better_score(path):
    epochs = epochs_with(path, 3, "test", wa=0.99)
    edit_json(path, epochs=epochs)


def loss_not_a_number(path):
    edit_json(path, epochs=epochs_with(path, 12, "validation", loss=float("nan")))


def other_choice(path):
    chosen = json.loads(path.read_text())["chosen"]["ua"]
    edit_json(path, chosen={"wa": chosen, "ua": chosen % 12 + 1})


def logits_not_a_number(path):
    logits = np.load(path.parent / "test_logits.npy")
    logits[5, 7, 1] = np.nan
    np.save(path.parent / "test_logits.npy", logits)


def other_label(path):
    first, *others = lines_of(path.parent / "predictions.jsonl")
    row = json.loads(first)
    row["label"] = next(label for label in FAKE_LABELS if label != row["label"])
    (path.parent / "predictions.jsonl").write_text(json.dumps(row) + "\n" + "".join(others))


def changed_after_training(path):
    edit_json(path, files={"predictions.jsonl": "0" * 64})


def other_settings(path):
    edit_json(path, inputs={"training": {"learning_rate": 5e-4, "batch_size": 16}})


def other_features(path):
    edit_json(path, inputs={"features": "0" * 64})


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            other_settings,
            r"Session2/run\.json must have the settings of experiment\.json, training\.batch_size \d+, got 16",
        ),
        (
            other_features,
            r"same features, got .* in .*CNN/seed-\d+/Session1 and '0{16}'.* in .*Session2: delete the folders",
        ),
        (copy_of_another_fold, r"Session2/run\.json must describe the run.*got .*Session1"),
        (better_score, r"test\.wa of epoch 3 must be 0\..*got 0\.9900"),
        (loss_not_a_number, r"loss must be a finite number"),
        (other_choice, r"chosen must be "),
        (logits_not_a_number, r"test_logits\.npy must contain finite numbers"),
        (other_label, r"test\.(wa|ua) of epoch \d+ must be "),
        (changed_after_training, r"predictions\.jsonl was changed or damaged"),
    ],
)
def test_an_edited_or_damaged_run_is_named_and_never_averaged(fake_results, read, harm, message):
    path = fake_results / "runs" / "CNN" / "seed-7" / "Session2" / "run.json"
    harm(path)
    assert re.search(f"^{re.escape(str(fake_results))}.*{message}", error_of(read))


def test_an_utterance_that_two_folds_test_is_named(fake_results, read):
    for run in (fake_results / "runs").glob("*/*/Session2"):
        other = run.with_name("Session1")
        for name in ("predictions.jsonl", "test_logits.npy", "run.json"):
            shutil.copy(other / name, run / name)
        edit_json(run / "run.json", fold="Session2")
    assert re.search("one fold, got 'Ses1_000' in Session1 and Session2", error_of(read))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 81: must be a JSON object, got '{'"),
        (
            '{"id": "new", "speaker": "1F", "label": "sad", "probabilities": {}}',
            "line 81: the key 'prediction' is missing",
        ),
        (
            '{"id": "new", "speaker": "1F", "label": "sad", "prediction": "fear", "probabilities": {}}',
            "line 81: prediction must be one of hap, ang, sad, neu, got 'fear'",
        ),
        (
            '{"id": "Ses1_000", "speaker": "1F", "label": "sad", "prediction": "sad", "probabilities": {}}',
            "line 81: id must be unique, got the duplicate utterance 'Ses1_000'",
        ),
    ],
)
def test_a_broken_prediction_is_named_with_its_line(fake_results, read, line, sentence):
    path = fake_results / "runs" / "ShiftCNN" / "seed-7" / "Session1" / "predictions.jsonl"
    path.write_text(path.read_text() + line)
    message = error_of(read)
    assert str(path) in message
    assert sentence in message


@pytest.mark.parametrize("change", [{"id": "new"}, {"speaker": "1X"}], ids=str)
@pytest.mark.parametrize("run", ["ShiftCNN/seed-7", "CNN/seed-8"])
def test_a_run_that_tests_other_utterances_than_the_first_is_named(tmp_path, fake_runs_of, run, change):
    root = shutil.copytree(fake_runs_of(2), tmp_path / "results")
    path = root / "runs" / run / "Session1" / "predictions.jsonl"
    first, *others = lines_of(path)
    path.write_text(json.dumps({**json.loads(first), **change}) + "\n" + "".join(others))
    message = error_of(lambda: read_results(root))
    assert str(path) in message
    assert re.search(r"same utterances, speakers and labels as .*CNN", message)


def save_fewer_epochs(path):
    np.save(path, np.load(path)[1:])


def save_fewer_utterances(path):
    np.save(path, np.load(path)[:, 1:])


@pytest.mark.parametrize(("harm", "shape"), [(save_fewer_epochs, (11, 80, 4)), (save_fewer_utterances, (12, 79, 4))])
def test_logits_of_another_shape_are_named_with_both(fake_results, read, harm, shape):
    path = fake_results / "runs" / "CNN" / "seed-7" / "Session2" / "test_logits.npy"
    harm(path)
    message = error_of(read)
    assert all(str(part) in message for part in (path, shape, (12, 80, 4)))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def pickle(path):
    np.save(path, np.array([{"not": "numbers"}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize("harm", [truncate, empty, pickle])
def test_logits_that_cannot_be_read_are_named_and_never_unpickled(fake_results, read, harm):
    path = fake_results / "runs" / "CNN" / "seed-7" / "Session2" / "test_logits.npy"
    harm(path)
    assert error_of(read).startswith(f"{path} cannot be read: ")


def test_a_setting_that_the_plan_does_not_know_is_an_error(fake_results, read):
    path = fake_results / "experiment.json"
    content = json.loads(path.read_text())
    content["experiment"]["training"]["epoch"] = 3
    path.write_text(json.dumps(content))
    assert error_of(read).startswith(f"{path}: the key 'experiment.training.epoch' is not known")


def test_predictions_can_be_read_at_any_epoch(read):
    results = read()
    folds = results.predictions("CNN", lambda record: 1)[0]
    for fold, run in zip(folds, results.runs["CNN"][0], strict=True):
        assert np.mean(fold.predictions == fold.labels) == pytest.approx(run.record.epochs[0].test.wa)


def test_reading_the_plan_needs_no_corpus(read):
    assert read().experiment.corpus == config.Corpus(path="/nowhere/corpus")


def test_reading_results_needs_neither_transformers_nor_matplotlib():
    heavy = "{'transformers', 'matplotlib'}"  # torch is a dependency of the package
    code = f"import sys, temporal_shift.ser.reports.results; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
