"""``temporal-shift ser download``: the licence first, then the corpus and its manifest."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora.download.sources import SOURCES
from temporal_shift.ser.corpora.manifest import read_manifest

from ..archives import zipped
from ..corpus_trees import write_emodb
from ..loopback import Loopback, serving


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Loopback]:
    """A server with an archive of EmoDB, and an empty working folder."""
    write_emodb(tmp_path / "tree", {"W": 10, "F": 10})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with serving(zipped(tmp_path / "tree")) as loopback:
        monkeypatch.setitem(SOURCES, "emodb", replace(SOURCES["emodb"], url=loopback.url))
        yield loopback


def typed(*arguments: object, code: int = 0) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["ser", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def typed_at_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str, *arguments: str) -> int:
    """The exit code of a command at a terminal, where ``answer`` is typed."""
    keyboard, terminal = os.openpty()
    os.write(keyboard, answer.encode())
    with open(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        code = typer.main.get_command(app).main(["ser", *arguments], standalone_mode=False)
    os.close(keyboard)
    return code or 0


def test_the_corpus_and_its_manifest_are_written_after_the_licence_is_shown(server):
    printed = typed("download", "emodb", "corpora/emodb", "--yes")
    before = printed.split("0.0 MB")[0]
    assert all(text in before for text in ("CC0 1.0", "creativecommons.org", "Burkhardt", server.url, "size unknown"))
    assert hashlib.sha256(server.content).hexdigest() in printed
    assert "no checksum" in printed
    assert re.search(r"differs: the corpus has 20 utterances, the published corpus 535\n", printed)
    assert "corpora/emodb.jsonl: 20 utterances\n" in printed
    assert len(read_manifest(Path("corpora/emodb.jsonl"), check_audio=True).utterances) == 20
    assert sorted(path.name for path in Path("corpora").iterdir()) == ["emodb", "emodb.jsonl"]


def test_an_existing_corpus_is_prepared_again_and_not_downloaded(server):
    typed("download", "emodb", "emodb", "--yes")
    Path("emodb.jsonl").unlink()
    printed = typed("download", "emodb", "emodb", "--out", "other.jsonl")
    assert "emodb already contains emodb\n" in printed
    assert Path("other.jsonl").exists()
    assert len(server.requests) == 1


def test_a_manifest_at_the_default_path_is_not_replaced(server):
    Path("emodb.jsonl").write_text("mine")
    assert re.search(r"^error: --out must .* emodb\.jsonl exists", typed("download", "emodb", "emodb", "--yes", code=2))
    assert (server.requests, Path("emodb.jsonl").read_text()) == ([], "mine")
    typed("download", "emodb", "emodb", "--yes", "--out", "other.jsonl")
    assert re.search(r"\nerror: --out must .* emodb\.jsonl ", typed("download", "emodb", "emodb", code=2))
    assert Path("emodb.jsonl").read_text() == "mine"
    Path("emodb.jsonl").unlink()
    typed("download", "emodb", "emodb")
    assert Path("emodb.jsonl").read_bytes() == Path("other.jsonl").read_bytes()
    typed("download", "emodb", "emodb")  # an equal manifest may be replaced
    typed("download", "emodb", "emodb", "--out", "emodb.jsonl")


def test_without_a_terminal_the_licence_must_be_accepted_by_an_option(server):
    printed = typed("download", "emodb", "emodb", code=2)
    assert "CC0 1.0" in printed
    assert re.search(r"^error: .*--yes", printed, flags=re.MULTILINE)
    assert (server.requests, list(Path().iterdir())) == ([], [])


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_a_declined_licence_downloads_nothing(server, monkeypatch, capsys, answer):
    assert typed_at_a_terminal(monkeypatch, answer, "download", "emodb", "emodb") == 1
    printed = capsys.readouterr().out
    assert "Download? [y/N]" in printed
    assert "nothing was downloaded" in printed
    assert (server.requests, list(Path().iterdir())) == ([], [])


def test_an_accepted_licence_downloads(server, monkeypatch):
    assert typed_at_a_terminal(monkeypatch, "y\n", "download", "emodb", "emodb") == 0
    assert Path("emodb.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("iemocap", "x"), f"corpus must be one of {', '.join(SOURCES)}, got 'iemocap'"),
        (("emodb", "."), "DIR must be a new folder, got ."),
        (("emodb", "emodb", "--out", "emodb/m.jsonl"), "--out must be outside the corpus emodb, got emodb/m.jsonl"),
    ],
)
def test_invalid_arguments_are_errors_before_the_question(server, arguments, sentence):
    assert typed("download", *arguments, "--yes", code=2) == f"error: {sentence}\n"
    assert server.requests == []


def test_without_a_terminal_the_progress_is_printed_as_lines(server):
    printed = typed("download", "emodb", "emodb", "--yes")
    size = f"{len(server.content) / 1e6:.1f} MB"
    assert f"{size} of {size}\n" in printed
    assert "\x1b" not in printed


def test_the_help_names_every_corpus():
    assert f"Corpus to download: {', '.join(SOURCES)}." in " ".join(typed("download", "--help").split())
