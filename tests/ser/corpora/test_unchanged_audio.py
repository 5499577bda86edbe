"""Audio files that change during a run."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser.corpora.manifest_builder import read_utterance
from temporal_shift.ser.corpora.unchanged_audio import UnchangedAudio
from temporal_shift.ser.training.datasets import Clips
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import noise, write
from ..small_run import small_run


def replaced(path: Path) -> None:
    path.unlink()
    path.write_bytes(noise(2))


def edited_in_place(path: Path) -> None:
    path.write_bytes(noise(2))


def edited_with_its_date_kept(path: Path) -> None:
    status = path.stat()
    path.write_bytes(noise(2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [replaced, edited_in_place, edited_with_its_date_kept, removed])
def test_a_file_that_changes_between_two_epochs_is_an_error(tmp_path, change):
    path = write(tmp_path / "a.wav", noise(1))
    utterance = read_utterance(path, "a", "sad", "x", "y")
    audio = UnchangedAudio()
    audio.check(utterance)
    change(path)
    with pytest.raises(RecipeError, match=r"(does not match the manifest: its SHA-256|there is no audio file).*"):
        audio.check(utterance)


def test_a_file_that_is_touched_or_rewritten_is_accepted(tmp_path):
    path = write(tmp_path / "a.wav", noise(1))
    utterance = read_utterance(path, "a", "sad", "x", "y")
    assert utterance.sha256 == hashlib.sha256(noise(1)).hexdigest()
    audio = UnchangedAudio()
    audio.check(utterance)
    os.utime(path, (0, 0))
    audio.check(utterance)
    replacement = write(tmp_path / "b.wav", noise(1))
    replacement.replace(path)
    audio.check(utterance)


def test_fine_tuning_reads_no_file_that_changed(tmp_path):
    run = small_run(tmp_path)
    path = write(tmp_path / "a.wav", noise(1))
    first = read_utterance(path, "a", "sad", "x", "y")
    clips = Clips(replace(run, manifest=replace(run.manifest, utterances=(first, *run.manifest.utterances[1:]))))
    assert clips(0)["input_values"].abs().max() > 0
    path.write_bytes(noise(2))
    with pytest.raises(RecipeError, match=r"a\.wav does not match the manifest"):
        clips(0)
