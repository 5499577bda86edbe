"""Folders in which recordings could be missed or found twice: links, loops, unreadable folders."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus

from ..corpus_trees import noise, write
from .test_readers import reading_error, write_small


@pytest.fixture
def corpus(tmp_path) -> Path:
    """Two recordings of each of two speakers."""
    for seed, path in enumerate(("happy/anna/1", "sad/anna/2", "happy/bert/3", "sad/bert/4")):
        write(tmp_path / "corpus" / f"{path}.wav", noise(seed))
    return tmp_path / "corpus"


def link(path: Path, target: Path | str) -> None:
    path.symlink_to(target)


def test_folders_that_are_linked_into_a_corpus_are_read(corpus, tmp_path):
    (corpus / "sad" / "bert").rename(tmp_path / "elsewhere")
    link(corpus / "sad" / "bert", tmp_path / "elsewhere")
    found = read_corpus(config.Corpus(reader="folder", path=corpus))
    assert [each.id for each in sorted(found.utterances, key=lambda each: each.id)] == [
        "happy/anna/1",
        "happy/bert/3",
        "sad/anna/2",
        "sad/bert/4",
    ]


@pytest.mark.parametrize(
    ("path", "target"),
    [("sad/anna/loop", "../.."), ("sad/anna/self", "."), ("sad/carl", "bert"), ("fearful", "../corpus/sad")],
)
def test_a_folder_that_is_reached_in_two_ways_is_an_error(corpus, path, target):
    link(corpus / path, target)
    error = reading_error(reader="folder", path=corpus)
    assert " are the same folder: remove the link" in error
    assert str(corpus / path) in error
    assert "\n" not in error


@pytest.mark.parametrize("name", ["sad/anna/5.wav", "sad/carl", "sad/anna/round"])
def test_a_broken_link_is_an_error(corpus, name):
    link(corpus / name, "round" if name.endswith("round") else "gone")
    assert reading_error(reader="folder", path=corpus) == (
        f"{corpus / name} must be a file or a folder, got a broken link"
    )


def test_a_pipe_in_a_corpus_is_an_error(corpus):
    os.mkfifo(corpus / "sad" / "anna" / "5.wav")
    assert reading_error(reader="folder", path=corpus).endswith("5.wav must be a file, got a device or a pipe")


def test_a_file_name_that_is_not_utf_8_is_an_error(corpus):
    try:
        (corpus / "sad" / "anna" / os.fsdecode(b"Ren\xe9.wav")).write_bytes(noise())
    except OSError:
        pytest.skip("this file system accepts only names in UTF-8")
    assert re.search(r"must be UTF-8 text, got '.*Ren\\udce9\.wav'", reading_error(reader="folder", path=corpus))


@pytest.mark.parametrize("name", ["sad/anna\nb/5.wav", "a\rb/anna/5.wav"])
def test_names_with_line_breaks_are_errors(corpus, name):
    write(corpus / name)
    assert "line" in reading_error(reader="folder", path=corpus)


@pytest.mark.parametrize("reader", ["folder", "iemocap"])
def test_an_unreadable_folder_is_an_error(tmp_path, corpus, monkeypatch, reader):
    if reader == "iemocap":
        corpus = write_small("iemocap", tmp_path / "IEMOCAP").path
    closed = corpus / ("sad" if reader == "folder" else "Session2/dialog/EmoEvaluation")
    listed = Path.iterdir

    def iterdir(self: Path) -> object:
        if self == closed:
            raise PermissionError(13, "Permission denied", str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)  # chmod does not stop root, so the listing is patched
    assert reading_error(reader=reader, path=corpus) == f"the folder {closed} cannot be read: Permission denied"
