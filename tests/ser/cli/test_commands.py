"""``temporal-shift ser prepare | run | reproduce | ablate | compare``, options of other commands, and a local Ray."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import temporal_shift
from temporal_shift.ser import config
from temporal_shift.ser.cli import app
from temporal_shift.ser.experiments.reproduce import FIGURES, MODELS, config_path
from temporal_shift.ser.reports.paired import mcnemar_p
from temporal_shift.ser.reports.results import read_results
from temporal_shift.ser.training import ray_pool

from ..iemocap_tree import write_iemocap
from ..tiny import write_experiment

CNN = {"name": "CNN", "blocks": "conv"}
EXPERIMENTS = Path(__file__).parents[3] / "temporal_shift/ser/experiments"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A corpus of three sessions, an encoder of 32 channels, and an experiment of one epoch."""
    return write_experiment(tmp_path_factory.mktemp("experiment"), 16, models=[CNN])


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """Runs a command in an empty folder and returns its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "220")

    def run(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["ser", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    return run


@pytest.mark.parametrize("command", [(), ("ser",), ("ser", "predict"), ("ser", "cache", "ls"), ("ser", "demo")])
def test_h_is_short_for_help(command):
    short, long = (CliRunner().invoke(app, [*command, option]) for option in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
    assert "Usage: " in short.output


def test_version_prints_the_version_of_the_package():
    for command in ([], ["ser"]):
        done = CliRunner().invoke(app, [*command, "--version"])
        assert (done.exit_code, done.output) == (0, f"temporal-shift {temporal_shift.__version__}\n")


@pytest.mark.parametrize("command", ["predict", "run", "cache"])
def test_the_error_for_a_command_without_ser_names_the_whole_command(monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "220")
    done = CliRunner().invoke(app, [command, "file"])
    assert done.exit_code == 2
    assert f"'{command}'. Did you mean 'temporal-shift ser {command}'?" in done.output


def test_every_command_that_writes_results_takes_o_out_and_output(monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    for command in ("quickstart", "download", "prepare", "run", "reproduce", "ablate", "train", "package", "predict"):
        printed = CliRunner().invoke(app, ["ser", command, "--help"]).output
        assert re.search(r"--out\b", printed), command
        assert re.search(r"--output\b", printed), command
        assert re.search(r" -o\b", printed), command


def test_every_command_that_takes_a_hub_name_takes_a_revision(monkeypatch):
    monkeypatch.setenv("COLUMNS", "220")
    for command in ("run", "train", "export", "predict", "live", "demo"):
        assert re.search(r"--revision\b", CliRunner().invoke(app, ["ser", command, "--help"]).output), command


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("cache", "ls", "--cache", "gone"), "--cache must be a folder .*gone"),
        (("cache", "verify", "--cache", "file"), "--cache must be a folder .*file"),
        (("cache", "verify", "", "--cache", "."), "the name of the cache must not be empty"),
        (("cache", "rm", " ", "--cache", "."), "the name of the cache must not be empty"),
        (("describe", ""), "the manifest must be a file, got the folder "),
        (("describe", "file", "--plot", "plot.pdf"), r"--plot must end in \.png, got plot\.pdf"),
        (("export", "any", "model.txt"), r"out must end in \.onnx, got model\.txt"),
        (("package", "file", "--model", "x", "-o", "y"), "file must be the results folder of an experiment"),
        (("compare", "file", "file"), "file must be the results folder of an experiment"),
        (("demo", "--host", "", "--model", "any"), "--host must be .* got ''"),
        (("demo", "--name", "https://x", "--model", "any"), "--name must be a host name .* got 'https://x'"),
    ],
)
def test_invalid_paths_and_names_are_a_one_line_error(typed, arguments, sentence):
    Path("file").write_text("x")
    assert re.match(f"error: {sentence}.*\n$", typed(*arguments, code=2))


@pytest.mark.parametrize(
    "command", ["prepare", "quickstart", "run", "reproduce", "ablate", "predict", "train", "package"]
)
def test_an_empty_path_to_write_is_an_error(typed, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "220")
    assert re.search(r"--out.*must be a path, got ''", typed(command, "-o", "", code=2))
    assert os.listdir() == []


def test_verify_reports_that_there_are_no_caches(typed):
    Path("empty").mkdir()
    assert typed("cache", "verify", "--cache", "empty") == "there are no caches in empty\n"


@pytest.mark.skipif(sys.platform == "win32", reason="requires a POSIX shell")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--version >&-", "error: standard output is closed\n"),
        ("ser --help > /dev/full", "error: standard output cannot be written: No space left on device\n"),
    ],
)
def test_a_closed_or_full_standard_output_is_a_one_line_error(arguments, sentence):
    command = f"{shlex.quote(sys.executable)} -m temporal_shift {arguments}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, sentence)


def test_prepare_writes_a_manifest_and_compares_it_with_the_published_corpus(typed, tmp_path):
    write_iemocap(tmp_path / "IEMOCAP")
    printed = typed("prepare", "iemocap", "IEMOCAP", "--out", "manifest.jsonl")
    differences = re.findall("differs: (.*)", printed)
    assert [difference.split(" last ")[0] for difference in differences] == ["all recordings", "the recordings"]
    assert "manifest.jsonl: 5531 utterances" in printed
    assert re.search(r"all +1636 +1103 +1084 +1708 +5531", printed)
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert len(lines) == 5531
    keys = "id path label speaker session start end samples sample_rate sha256 style channels"
    assert list(json.loads(lines[0])) == keys.split()


def test_prepare_prints_the_differences_and_writes_nothing_into_the_corpus(typed, folder, tmp_path):
    corpus = shutil.copytree(folder / "corpus", tmp_path / "corpus")
    assert "differs: the corpus has 48 utterances, the published corpus 5531" in typed("prepare", "iemocap", corpus)
    inside = typed("prepare", "iemocap", corpus, "--out", corpus / "manifest.jsonl", code=2)
    assert re.match(r"error: --out must be outside the corpus .*manifest\.jsonl\n$", inside)
    assert not (corpus / "manifest.jsonl").exists()


def test_a_manifest_is_a_corpus_that_an_experiment_can_name(typed, folder, tmp_path):
    typed("prepare", "iemocap", folder / "corpus")
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text())
    experiment["backbone"]["name"] = str(folder / "backbone")
    experiment["corpus"] = {"reader": "manifest", "path": "manifest.jsonl"}
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    typed("run", "experiment.yaml")
    assert json.loads((tmp_path / "results/small/metrics.json").read_text())["utterances"] == 48


def test_options_override_the_yaml(typed, folder, tmp_path):
    shutil.copytree(folder / "corpus", tmp_path / "other")
    typed(
        *("run", folder / "experiment.yaml", "--corpus", "other", "--backbone", folder / "backbone"),
        *("--layer", "0", "--protocol", "speaker", "--seeds", "2", "--epochs", "2", "-o", "here"),
    )
    experiment = read_results(Path("here")).experiment
    assert experiment.corpus.path == tmp_path / "other"
    assert experiment.backbone == config.Backbone(name=str(folder / "backbone"), layer=0)
    assert (experiment.protocol.kind, experiment.seeds, experiment.training.epochs) == ("speaker", 2, 2)
    metrics = json.loads(Path("here/metrics.json").read_text())
    assert metrics["folds"] == [f"Ses0{session}{gender}" for session in (1, 2, 3) for gender in "FM"]
    assert metrics["seeds"] == [42, 43]
    assert len(list(Path("here/runs").glob("CNN/*/*/run.json"))) == 12


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--layer", "top"), "--layer must be last, weighted or an index of the hidden states, got 'top'"),
        (("--protocol", "best"), "protocol.kind must be 'heldout', 'paper', 'last' or 'speaker', got 'best'"),
        (("--seeds", "0"), "seeds must be greater than or equal to 1, got 0"),
        (("--corpus", "gone"), "there is no corpus folder "),
    ],
)
def test_an_invalid_option_is_a_one_line_error(typed, folder, option, sentence):
    printed = typed("run", folder / "experiment.yaml", *option, code=2)
    assert sentence in printed
    assert printed.count("\n") == 1


def test_reproduce_compares_with_the_published_results_and_says_that_both_are_optimistic(typed, folder):
    printed = typed(
        *("reproduce", "--iemocap", folder / "corpus", "--backbone", folder / "backbone", "--epochs", 1),
        *("--model", "Shiftformer", "-o", "out"),
    )
    assert "warning: This is not IEMOCAP as published: " in printed
    for setting in ("features", "finetune"):
        row = next(line for line in printed.splitlines() if line.startswith(f"{setting}, Shiftformer"))
        assert f" {FIGURES[setting, 'Shiftformer']['ua']} " in row
        page = Path("out", setting, "report.html").read_text()
        assert "Comparison with the published results" in page
        assert "optimistic" in page
        assert re.search("- |<li>This is not IEMOCAP as published: .*the corpus has 48 utterances", page)
        assert read_results(Path("out", setting)).experiment.setting == setting
    assert "(optimistic)" in printed
    table = Path("out/table.md").read_text()
    assert table.count("| features, ") == table.count("| finetune, ") == 1
    for text in (printed, table):
        assert "as transcribed in a survey of that conference" in text


def test_every_row_of_reproduce_is_a_yaml_file_that_runs_alone(typed, folder):
    path = EXPERIMENTS / config_path("features", "ShiftLSTM")
    typed("run", path, "--corpus", folder / "corpus", "--backbone", folder / "backbone", "--epochs", 1, "-o", "alone")
    typed(
        *("reproduce", "--iemocap", folder / "corpus", "--backbone", folder / "backbone", "--epochs", 1),
        *("--setting", "features", "--model", "ShiftLSTM", "-o", "out"),
    )
    for name in ("predictions.jsonl", "test_logits.npy"):
        path = Path("runs/ShiftLSTM/seed-42/Session1", name)
        assert ("alone" / path).read_bytes() == ("out/features" / path).read_bytes()
    assert all((EXPERIMENTS / config_path(s, m)).exists() for s in ("features", "finetune") for m in MODELS)


@pytest.mark.parametrize(
    ("option", "given", "allowed"), [("--setting", "both", ("features", "finetune")), ("--model", "GRU", MODELS)]
)
def test_an_unknown_row_of_reproduce_is_a_one_line_error_that_lists_the_rows(typed, folder, option, given, allowed):
    printed = typed("reproduce", "--iemocap", folder / "corpus", option, given, code=2)
    assert printed.count("\n") == 1
    assert all(name in printed for name in (given, *allowed))


def test_ablate_trains_every_combination_once_and_draws_it(typed, folder):
    arguments = (
        *("ablate", folder / "experiment.yaml", "--blocks", "conv,lstm", "--n-div", "4"),
        *("--placement", "residual,inplace", "--direction", "past,future", "--stride", "1"),
    )
    printed = typed(*arguments)
    metrics = json.loads(Path("results/small-ablation/metrics.json").read_text())
    names = [model["name"] for model in metrics["models"]]
    assert len(names) == len(set(names)) == 2 + 2 * 2 + 2  # an LSTM has only the placement inplace
    shift = {model.name: model.shift for model in read_results(Path("results/small-ablation")).experiment.models}
    assert shift["conv inplace n_div=4 future stride=1"] == config.Shift(placement="inplace", n_div=4, stride=-1)
    report = Path("results/small-ablation/report.md").read_text()
    assert "## Ablation" in report
    assert report.count("| lstm | inplace | 1/4 |") == 2
    assert Path("results/small-ablation/plots/ablation.png").stat().st_size > 10_000
    assert "lstm inplace n_div=4 future stride=1" in printed

    before = {path: path.stat().st_mtime_ns for path in Path("results/small-ablation/runs").rglob("run.json")}
    typed(*arguments[:9], "past,future,both", *arguments[10:])  # a wider grid trains only the new models
    after = {path: path.stat().st_mtime_ns for path in Path("results/small-ablation/runs").rglob("run.json")}
    assert after.items() > before.items()


def test_a_model_that_does_not_fit_the_encoder_is_an_error_before_any_is_trained(typed, folder, tmp_path):
    options = ("--blocks", "lstm", "--n-div", "1000", "--stride", "1", "--direction", "past", "--out", tmp_path / "out")
    printed = typed("ablate", folder / "experiment.yaml", *options, code=2)
    assert re.search(r"error: the model 'lstm inplace n_div=1000.*n_div must be .*got 1000\n", printed)
    assert not list((tmp_path / "out").rglob("run.json"))


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        (("--direction", "sideways"), "direction .*past, future, both.*'sideways'"),
        (("--n-div", "4,8,4"), "n_div .*different values.*4,8,4"),
        (("--n-div", ""), "n_div .*one or more .*none"),
        (("--blocks", "conv,conv"), "blocks .*different values.*conv,conv"),
        (("--n-div", "0"), "n_div .*at least 1.*0"),
        (("--stride", "1,two"), "--stride .*integers separated by commas.*'1,two'"),
        (("--blocks", "lstm", "--placement", "replace"), "placement .*inplace for lstm.*replace"),
        (("--n-div", "1", "--direction", "both"), "n_div must be at least 2 for the direction both, got 1"),
        (("--blocks", "gru"), "blocks must be one of conv, lstm, transformer, got 'gru'"),
    ],
)
def test_an_invalid_grid_is_a_one_line_error(typed, folder, option, sentence):
    assert re.fullmatch(f"error: {sentence}\n", typed("ablate", folder / "experiment.yaml", *option, code=2))


def test_two_experiments_are_compared_utterance_by_utterance(typed, folder):
    for name, layer in (("first", "last"), ("second", "1")):
        typed("run", folder / "experiment.yaml", "--layer", layer, "-o", name)
    printed = typed("compare", "first", "second")
    first, second = (read_results(Path(name)).runs["CNN"][0] for name in ("first", "second"))
    right = [np.concatenate([run.predictions(1).predictions == run.labels for run in runs]) for runs in (first, second)]
    p = mcnemar_p(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    row = next(line for line in printed.splitlines() if line.startswith("CNN (first) − CNN (second)"))
    assert row.split()[-1] == f"{p:.3f}"
    itself = typed("compare", "first", "first")
    assert re.search(r" 0\.0 +– +1\.000 +– +1\.000 +1\.000", itself)
    assert "optimistic" not in itself
    typed("run", folder / "experiment.yaml", "--protocol", "paper", "-o", "third")
    assert "optimistic" in typed("compare", "first", "third")


def test_experiments_that_cannot_be_compared_are_a_one_line_error(typed, folder):
    typed("run", folder / "experiment.yaml", "-o", "sessions")
    typed("run", folder / "experiment.yaml", "--protocol", "speaker", "-o", "speakers")
    different = typed("compare", "sessions", "speakers", code=2)
    assert re.fullmatch(r"error: sessions and speakers must have the same folds, got .* and .*\n", different)
    unknown = typed("compare", "sessions", "sessions", "--model", "CNN", "RNN", code=2)
    assert re.fullmatch(r"error: model must be one of CNN in sessions, got 'RNN'\n", unknown)
    missing = typed("compare", "sessions", "nowhere", code=2)
    assert re.match(r"error: nowhere must be the results folder .*nowhere/experiment\.json.*\n$", missing)


def test_a_local_ray_cluster_gives_the_metrics_and_the_errors_of_this_process(typed, folder, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    shut_down = ray.shutdown
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # one cluster for both commands: a start takes long
    monkeypatch.setattr(ray, "init", partial(ray.init, ignore_reinit_error=True))
    invalid = write_experiment(tmp_path / "invalid", 4, training={"precision": "float16"}, models=[CNN])
    try:
        typed("run", folder / "experiment.yaml", "--epochs", 2, "-o", "here")
        typed("run", folder / "experiment.yaml", "--epochs", 2, "-o", "there", "--ray", "local")
        printed = typed("run", invalid / "experiment.yaml", "-o", "failed", "--ray", "local", code=2)
    finally:
        shut_down()
    assert Path("here/metrics.json").read_bytes() == Path("there/metrics.json").read_bytes()
    assert re.search(r"error: training\.precision .*float16\n", printed)


def test_an_unreachable_ray_cluster_is_an_error_with_its_address(typed, folder):
    pytest.importorskip("ray")
    printed = typed("run", folder / "experiment.yaml", "--ray", "127.0.0.1:1", code=2)
    assert "error: the Ray cluster at 127.0.0.1:1 cannot be reached: " in printed


def test_a_missing_ray_is_an_error_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(config.RecipeError, match=r'^ray is not installed: pip install .*\[ray\]"$'):
        ray_pool.train_on_ray([], "auto", lambda: None)
