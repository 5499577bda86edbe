"""README is right about the record and the commands; Sybil executes its Python, ``.ci/run`` its commands."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.reports import report_tables
from temporal_shift.ser.utils.table import percent, signed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORD = json.loads((ROOT / "examples" / "quickstart" / "metrics.json").read_text(encoding="utf-8"))


def test_the_tables_of_the_quickstart_are_those_of_its_record():
    for table in (report_tables.results(RECORD), report_tables.pairs(RECORD["pairs"]), report_tables.selection(RECORD)):
        assert table.markdown() in README


def test_the_sentences_on_the_quickstart_are_the_record():
    pair = next(pair for pair in RECORD["pairs"] if pair["baseline"] == "Identity mixer")
    difference, low, high = (signed(value) for value in (pair["ua_difference"], *pair["interval"]))
    assert f"{difference} points with an interval from {low} to {high}" in README
    most = max(model["selection_bias"]["ua"] for model in RECORD["models"])
    assert f"up to {percent(most)} points more" in README


@pytest.mark.parametrize("path", ["examples/quickstart/metrics.json", "results/quickstart/metrics.json"])
def test_every_model_of_the_quickstart_is_above_chance(path):
    if not (ROOT / path).exists():
        pytest.skip("the quickstart has not run here")  # .ci/run runs it before the tests
    metrics = json.loads((ROOT / path).read_text(encoding="utf-8"))
    assert len(metrics["models"]) == 7
    assert [model["name"] for model in metrics["models"] if model["ua"]["mean"] <= metrics["chance"]] == []


def test_the_commands_are_one_line_each_and_install_extras_that_exist():
    commands = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    assert [name for name, _ in commands] == ["quickstart", "tests", "benchmarks"]
    extras = set(metadata("temporal-shift").get_all("Provides-Extra"))
    for _, command in commands:
        assert command.count("\n") == 1
        assert re.search(r'-e "\.\[(\w+)\]"', command)[1] in extras


def test_the_shipped_model_answers_to_the_command_that_readme_gives(monkeypatch):
    monkeypatch.chdir(ROOT)
    command = next(line for line in README.splitlines() if line.startswith("temporal-shift ser predict"))
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0
    header, *rows = done.stdout.splitlines()
    assert header == "file,seconds,start,end,label,remark,happy,angry,sad,neutral"
    assert len(rows) == len(list((ROOT / "examples" / "quickstart" / "corpus" / "Session1").rglob("*_F00*.ogg"))) > 20
