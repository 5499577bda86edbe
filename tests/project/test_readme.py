"""README.md: its length, links, extras and figures, and the commands ``ser predict`` and ``ser run``.

The root's conftest.py runs its Python blocks, and ``.ci/run`` its commands for the quickstart and the tests.
"""

from __future__ import annotations

import csv
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.measure import record_file
from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora.readers.iemocap import read_iemocap

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def with_local_links(text: str) -> str:
    """README with links relative to the repository in place of absolute ones."""
    (home,) = re.findall(r'^Repository = "https://github\.com/(.*)"$', PYPROJECT, flags=re.MULTILINE)
    files, pictures = f"https://github.com/{home}/blob/main/", f"https://raw.githubusercontent.com/{home}/main/"
    return text.replace(files, "").replace(pictures, "")


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)


def test_every_link_is_absolute_and_starts_from_the_repository_of_pyproject():
    found = links(README)
    assert len(found) > 30
    assert [link for link in found if not link.startswith("https://")] == []
    local = [link for link in links(with_local_links(README)) if not link.startswith("https://")]
    assert len(local) > 25
    assert [link for link in local if not (ROOT / link.partition("#")[0]).exists()] == []


def test_readme_can_be_read_in_two_minutes():
    assert len(README.splitlines()) <= 180


def test_the_commands_are_one_line_each_and_install_extras_that_exist():
    commands = re.findall(r"<!-- command: (\w+) -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    assert [name for name, _ in commands] == ["quickstart", "tests", "benchmarks"]
    extras = re.findall(r"^([\w-]+) = \[", PYPROJECT, flags=re.MULTILINE)
    assert all(command.count("\n") == 1 for _, command in commands)
    asked = [extra for names in re.findall(r'-e "\.\[([\w,-]+)\]"', README) for extra in names.split(",")]
    assert len(asked) > 4
    assert set(asked) <= set(extras)


def test_the_shipped_model_predicts_with_the_command_of_readme(monkeypatch):
    monkeypatch.chdir(ROOT)
    command = next(line for line in README.splitlines() if line.startswith("temporal-shift ser predict"))
    arguments = shlex.split(command, comments=True)[1:]
    done = CliRunner().invoke(app, [*arguments, "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0
    header, *rows = done.stdout.splitlines()
    assert header == "file,seconds,start,end,label,remark,angry,happy,neutral,sad"
    assert len(rows) == len(list((ROOT / "examples" / "quickstart" / "corpus" / "Session1").rglob("*_F000.ogg"))) > 2


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder with README's experiment, the examples that it names, and a CSV corpus of five speakers."""
    (yaml,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "my-corpus.yaml").write_text(yaml)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "my-corpus").mkdir()
    utterances = read_iemocap(ROOT / "examples" / "quickstart" / "corpus").utterances
    with open(tmp_path / "my-corpus" / "table.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "speaker"))
        for speaker in ("Ses01F", "Ses01M", "Ses02F", "Ses02M", "Ses03F"):
            for label in ("happy", "sad"):
                spoken = [each for each in utterances if (each.speaker, each.label) == (speaker, label)]
                table.writerows((each.path, label, speaker) for each in spoken[:2])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_experiment_on_an_own_corpus_runs_as_written(clone):
    command = next(line for line in README.splitlines() if line.startswith("temporal-shift ser run"))
    arguments = [*shlex.split(command)[1:], "--epochs", "1", "--cache", str(clone / "cache")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (clone / "results" / "my-corpus" / "report.html").exists()
    assert "ShiftLSTM" in done.output
    assert re.search(r"one group of speakers: Group1: Ses\w+; Group2: ", done.output)
    assert re.search(r"10 of 10 runs finished: .*\(.* s\)", done.output)


def test_no_difference_in_the_results_is_marked_as_significant():
    (table,) = re.findall(r"<!-- table: readme real speech -->(.*?)<!-- end -->", README, flags=re.DOTALL)
    assert table.count("\n| ") == 6
    assert "*" not in table


def test_the_transformer_has_the_stated_multiple_of_the_shiftformers_parameters():
    (stated,) = re.findall(r"which\s+has\s+([0-9.]+) times as many parameters", README)
    for path in (ROOT / "benchmarks" / "records" / "real-speech").glob("*-tiny.jsonl"):
        sizes = {line["model"]: line["parameters"] for line in record_file.read(path) if line["kind"] == "model"}
        assert f"{sizes['Transformer'] / sizes['Shiftformer']:.1f}" == stated
