"""README is right about the commands; Sybil executes its Python, ``.ci/run`` its commands."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import metadata
from pathlib import Path

from typer.testing import CliRunner

from temporal_shift.ser.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_commands_are_one_line_each_and_install_extras_that_exist():
    commands = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    assert [name for name, _ in commands] == ["quickstart", "tests", "benchmarks"]
    extras = set(metadata("temporal-shift").get_all("Provides-Extra"))
    for _, command in commands:
        assert command.count("\n") == 1
        assert re.search(r'-e "\.\[([\w-]+)\]"', command)[1] in extras


def test_the_shipped_model_answers_to_the_command_that_readme_gives(monkeypatch):
    monkeypatch.chdir(ROOT)
    command = next(line for line in README.splitlines() if line.startswith("temporal-shift ser predict"))
    done = CliRunner().invoke(app, [*shlex.split(command)[1:], "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0
    header, *rows = done.stdout.splitlines()
    assert header == "file,seconds,start,end,label,remark,angry,happy,neutral,sad"
    assert len(rows) == len(list((ROOT / "examples" / "quickstart" / "corpus" / "Session1").rglob("*_F00*.ogg"))) > 20
