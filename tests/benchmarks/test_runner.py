"""A suite writes its record, tables and figures, and compares outputs before it times."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, runner
from benchmarks.__main__ import COMMANDS, SUITES, main
from benchmarks.measure import measurements, peers, record_file
from benchmarks.suites import op

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_suite_writes_a_record_tables_and_figures(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    runner.run("op", ["--quick", "--out", str(tmp_path)])
    lines = record_file.read(tmp_path / "op-cpu.jsonl")
    timed = [line for line in measurements.of_kind(lines, "measurement") if line["unit"] == "s"]
    assert {line["what"] for line in timed} == {"forward", "forward + backward", "in place", "fused sum"}
    assert all(line["ratio_to_floor"] > 0 and line["figures"]["share_of_bandwidth"] > 0 for line in timed)
    assert all(len(line["samples"][form]) == 15 for line in timed for form in line["samples"])
    (peak,) = [line for line in lines if line["what"].startswith("peak memory")]
    # the backward pass of each assignment allocates full gradients
    assert peak["ratio_to_peers"]["slice assignment"] > 1.5
    (kept,) = [line for line in lines if line["what"] == "kept for backward"]
    assert kept["median"] == 0
    goals = measurements.of_kind(lines, "goal")
    text = (tmp_path / "op-cpu.md").read_text(encoding="utf-8")
    assert all(f"| {goal['what']} |" in text for goal in goals)
    assert text.count("| met |") + text.count("| missed |") == len(goals)
    pictures = {f"op-cpu-{name}-{theme}.svg" for name in ("times", "growth") for theme in ("light", "dark")}
    assert pictures <= {path.name for path in tmp_path.iterdir()}
    assert f"of {len(goals)}; results: " in capsys.readouterr().out


def test_an_implementation_with_another_output_is_an_error(monkeypatch):
    monkeypatch.setitem(op.PEERS, "wrong", lambda x, groups: peers.gather(x, groups) + 1)
    with pytest.raises(AssertionError, match=r"the result of wrong must equal ours, got a difference of up to 1$"):
        op._forward(torch.randn(2, 16, 32), "one way", {"n_div": 16}, pytest.fail)


def test_all_stops_at_a_failed_suite_and_names_it(monkeypatch, tmp_path):
    asked = []

    def failing(command, **_):
        asked.append(command[3])
        return subprocess.CompletedProcess(command, int(command[3] == "layers"))

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(SystemExit, match="python -m benchmarks layers failed"):
        runner.run_all(["--out", str(tmp_path)])
    assert asked == ["op", "layers"]


def test_an_unknown_command_is_an_error_that_lists_the_known_ones(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "speed"])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"error: COMMAND must be one of {', '.join((*SUITES, *COMMANDS))}, got 'speed'"
    assert [name for name in SUITES if name != "training"] == list(runner.SUITES)


@pytest.mark.parametrize("suite", ["op", "layers", "training"])
def test_the_interpreter_without_its_variable_is_a_usage_error(suite, monkeypatch, capsys):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(SystemExit, match="2"):
        runner.run(suite, ["--device", "interpreter"])
    assert "--device interpreter requires TRITON_INTERPRET=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        *(
            pytest.param(
                partial(runner.run, suite),
                ["--device", "cuda"],
                ("--device", "cuda", known),
                marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
            )
            for suite, known in (("op", "cpu"), ("layers", "cpu"), ("training", "cpu"), ("host", "stubbed"))
        ),
        (partial(runner.run, "op"), ["--out", "FILE"], ("--out", "FILE")),
        (partial(runner.run, "op"), ["--out", "FILE/below"], ("--out", "below")),
        (runner.run_all, ["--out", "FILE"], ("--out", "FILE")),
        (gpu.main, ["--interpret", "--out", "FILE"], ("--out", "FILE")),
        (gpu.main, ["--interpret", "--minutes", "-1"], ("--minutes", "greater than 0", "-1")),
        (gpu.main, ["--interpret", "--minutes", "nan"], ("--minutes", "greater than 0", "nan")),
    ],
)
def test_an_invalid_option_is_a_usage_error_before_measuring(command, arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("FILE").touch()
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert all(text in output.err.splitlines()[-1] for text in said)
