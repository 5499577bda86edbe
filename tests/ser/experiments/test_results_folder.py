"""One command at a time in a results folder, and no results replaced without --overwrite."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.utils.folder_lock import only_command_in

from ..faults import file_size_limit
from ..tiny import write_experiment


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An experiment of three sessions and one model, and its results."""
    folder = write_experiment(
        tmp_path_factory.mktemp("experiment"),
        8,
        models=[{"name": "CNN", "blocks": "conv", "shift": {"placement": "residual", "n_div": 4}}],
    )
    code, _, errors = typed("run", folder / "experiment.yaml", "--cache", folder / "cache", "-o", folder / "results")
    assert code == 0, errors
    return folder


@pytest.fixture
def results(folder, tmp_path) -> Path:
    return shutil.copytree(folder / "results", tmp_path / "results")


def typed(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    done = CliRunner().invoke(app, ["ser", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr


def run(folder: Path, results: Path, *options: object, **sections: dict) -> tuple[int, str, str]:
    """Run the experiment with other values of its sections."""
    experiment = yaml.safe_load((folder / "experiment.yaml").read_text())
    for name, section in sections.items():
        experiment[name] = {**experiment.get(name, {}), **section} if isinstance(section, dict) else section
    config = folder / f"{results.parent.name}.yaml"
    config.write_text(yaml.safe_dump(experiment))
    return typed("run", config, "--cache", folder / "cache", "--out", results, *options)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


SHIFT = {"placement": "residual", "n_div": 8}


@pytest.mark.parametrize(
    ("sections", "changes"),
    [
        ({"training": {"epochs": 2}}, ["training.epochs: 1 -> 2"]),
        ({"protocol": {"kind": "last"}}, ["(protocol.kind: heldout -> last)"]),
        ({"models": [{"name": "CNN", "blocks": "conv", "shift": SHIFT}]}, ["models.CNN.shift.n_div: 4 -> 8"]),
        ({"models": [{"name": "CNN", "blocks": "conv"}]}, ["models.CNN.shift: ", " -> none"]),
        ({"backbone": {"layer": 1}}, ["backbone.layer: last -> 1"]),
        ({"features": {"average": 2}}, ["features.average: 1 -> 2"]),
        ({"corpus": {"label_map": {"hap": "good", "neu": "good", "ang": "bad", "sad": "bad"}}}, ["corpus.label_map"]),
    ],
)
def test_changed_settings_do_not_replace_results_and_are_named(folder, results, sections, changes):
    before = contents(results)
    code, _, error = run(folder, results, **sections)
    assert code == 2
    assert error.count("\n") == 1
    assert all(words in error for words in (*changes, str(results), "3 runs", "--overwrite"))
    assert contents(results) == before


def test_overwrite_replaces_results_and_their_settings(folder, results):
    code, _, error = run(folder, results, "--overwrite", training={"epochs": 2})
    assert code == 0, error
    assert json.loads((results / "experiment.json").read_text())["experiment"]["training"]["epochs"] == 2
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/*/*/run.json")]
    assert [len(record["epochs"]) for record in records] == [2, 2, 2]
    assert run(folder, results, training={"epochs": 2})[0] == 0
    assert "training.epochs: 2 -> 1" in run(folder, results)[2]


def test_other_audio_of_the_same_name_does_not_replace_results(folder, results, tmp_path):
    corpus = shutil.copytree(folder / "corpus", tmp_path / "corpus")
    first, second = sorted(corpus.rglob("*.wav"))[:2]
    shutil.copy(second, first)
    code, _, error = run(folder, results, corpus={"path": str(corpus)})
    assert code == 2
    assert all(words in error for words in (str(results), "3 runs", "corpus.path: "))


@pytest.mark.parametrize(
    "sections",
    [
        {"training": {"checkpoint_seconds": 1, "workers": 1}, "processes": 2, "corpus": {"note": "Noise."}},
        {
            "models": [
                {"name": "CNN", "blocks": "conv", "shift": {**SHIFT, "n_div": 4}},
                {"name": "B", "blocks": "conv"},
            ]
        },
    ],
)
def test_settings_that_change_no_run_add_to_the_results(folder, results, sections):
    before = {name: content for name, content in contents(results).items() if name.startswith("runs/CNN/")}
    code, _, error = run(folder, results, **sections)
    assert code == 0, error
    assert before.items() <= contents(results).items()


def test_foreign_files_with_the_names_of_results_are_not_replaced(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.jsonl").write_text("mine")
    code, _, error = run(folder, tmp_path / "mine")
    assert code == 2
    assert re.search(r"--out .*/mine.*manifest\.jsonl", error)
    assert contents(tmp_path / "mine") == {"manifest.jsonl": b"mine"}


def test_a_second_command_in_a_results_folder_is_an_error_that_names_the_first_process(folder, results):
    before = contents(results)
    with only_command_in(results):
        code, _, error = run(folder, results)
    assert code == 2
    assert error.count("\n") == 1
    assert all(words in error for words in (str(results), f"process {os.getpid()} ", "--out"))
    assert contents(results) == before
    assert run(folder, results)[0] == 0
    assert not (results / ".lock").exists()


def test_the_lock_of_a_killed_command_is_ignored(results, folder):
    (results / ".lock").write_text("process 1 on a machine that lost power\n")
    assert run(folder, results)[0] == 0


def test_without_a_terminal_each_finished_run_prints_a_line(folder, results):
    shutil.rmtree(results / "runs" / "CNN" / "seed-42" / "Session2")
    code, printed, _ = run(folder, results)
    assert code == 0
    assert re.search(r"3 of 3 runs finished: CNN, fold Session2, seed 42 \(\d+ s\)\n", printed)
    assert printed.count("finished: ") == 1


@pytest.fixture
def _measured_for_one_step(monkeypatch):
    monkeypatch.setattr("temporal_shift.ser.experiments.estimate._MAX_SECONDS", 0.0)


@pytest.mark.usefixtures("_measured_for_one_step")
def test_a_dry_run_prints_the_number_of_runs_and_writes_nothing(folder, tmp_path):
    arguments = ("--cache", tmp_path / "cache", "--out", tmp_path / "results", "--dry-run")
    code, printed, _ = typed("ablate", folder / "experiment.yaml", "--seeds", "2", *arguments)
    assert code == 0
    line = printed.splitlines()[0]
    # 3 models without a shift; 8 shifts (2 directions, 4 proportions) for each block and placement
    assert f"{3 + (2 + 1 + 3) * 8} models x 3 folds x 2 seeds = {51 * 3 * 2} runs" in line
    assert re.search(r"estimated time .*encoding 24 utterances: .*training 306 runs", printed)
    assert re.search(r"GFLOP/s .*\(conv, inplace\).*\(transformer, replace\).*\(encoder\)", printed)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_measured_for_one_step")
def test_a_dry_run_estimates_the_unfinished_runs(folder, results):
    shutil.rmtree(results / "runs" / "CNN" / "seed-42" / "Session2")
    before = contents(results)
    code, printed, _ = run(folder, results, "--dry-run")
    assert code == 0
    assert "2 of 3 runs finished" in printed
    assert "training 1 run," in printed
    assert "encoding" not in printed
    assert contents(results) == before
    assert (
        "nothing is left"
        in typed(
            "run", folder / "experiment.yaml", "--cache", folder / "cache", "--out", folder / "results", "--dry-run"
        )[1]
    )


def test_a_dry_run_without_the_encoder_says_why_there_is_no_estimate(folder, tmp_path):
    arguments = ("--out", tmp_path / "results", "--backbone", "nobody/no-such-encoder", "--dry-run")
    code, printed, _ = typed("run", folder / "experiment.yaml", *arguments)
    assert code == 0
    assert "= 3 runs" in printed
    assert re.search("cannot be estimated: .*nobody/no-such-encoder is not on this machine", printed)
    assert not list(tmp_path.iterdir())


def test_ctrl_c_names_the_runs_that_are_kept_and_that_start_again(folder, results, monkeypatch):
    """The first run is finished, and the second is stopped before its first checkpoint."""
    for session in (2, 3):
        shutil.rmtree(results / "runs" / "CNN" / "seed-42" / f"Session{session}")
    from rich.progress import Progress

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "advance", stop)
    code, _, error = run(folder, results)
    assert code == 130
    assert all(
        words in error
        for words in (
            "run the same command",
            "1 of 3 runs finished",
            "CNN, fold Session2, seed 42 starts again",
            "60 s",
        )
    )


@pytest.mark.parametrize(("what", "size"), [("cache", 12_000), ("results", 4_000)])
def test_a_full_disk_is_a_one_line_error_and_leaves_no_partial_file(folder, tmp_path, what, size):
    cache = tmp_path / "cache" if what == "cache" else folder / "cache"
    with file_size_limit(size):
        code, _, error = typed("run", folder / "experiment.yaml", "--cache", cache, "--out", tmp_path / "results")
    assert code == 2
    (message,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert message.startswith(f"error: {tmp_path / what}")
    assert message.endswith(os.strerror(errno.EFBIG))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("out", ["file", "file/results", "n" * 300])
def test_a_results_folder_that_cannot_be_created_is_a_one_line_error(folder, tmp_path, out):
    (tmp_path / "file").write_text("mine")
    code, _, error = run(folder, tmp_path / out)
    assert code == 2
    assert error.count("\n") == 1
    assert str(tmp_path / out.split("/")[0]) in error
    assert contents(tmp_path) == {"file": b"mine"}
