"""A run on all utterances trains for a given number of epochs of a schedule, and can be stopped."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from temporal_shift.ser.training.all_speakers_run import AllSpeakersRun, all_utterances, train_on_all_speakers
from temporal_shift.ser.training.run_record import MODEL_FILE

from ..small_run import Stopped, small_run, stop_after, with_


@pytest.fixture
def run(tmp_path) -> AllSpeakersRun:
    """A run of three epochs of a schedule of five."""
    return on_all(with_(small_run(tmp_path), epochs=5), tmp_path / "all", 3)


def on_all(run, folder: Path, epochs: int) -> AllSpeakersRun:
    values = {field.name: getattr(run, field.name) for field in fields(run)}
    return AllSpeakersRun(**{**values, "fold": all_utterances(run.manifest), "folder": folder, "epochs": epochs})


def record_of(run: AllSpeakersRun) -> dict:
    return json.loads((run.folder / "run.json").read_text())


def test_the_run_trains_on_every_utterance_and_writes_weights_and_record(run):
    told = []
    train_on_all_speakers(run, lambda: told.append(1))
    assert len(told) == len(record_of(run)["train_losses"]) == 3
    assert run.fold.train == tuple(range(64))
    assert {path.name for path in run.folder.iterdir()} == {MODEL_FILE, "run.json"}
    assert run.is_done()


def test_the_run_follows_the_whole_schedule_and_stops(run, tmp_path):
    whole = replace(run, epochs=5, folder=tmp_path / "whole")
    for each in (run, whole):
        train_on_all_speakers(each)
    assert record_of(run)["train_losses"] == record_of(whole)["train_losses"][:3]
    assert len(record_of(whole)["train_losses"]) == 5
    one, other = (load_file(each.folder / MODEL_FILE)["head.weight"] for each in (run, whole))
    assert not one.equal(other)


def test_a_stopped_run_continues_to_the_same_weights(run, tmp_path):
    whole = replace(run, folder=tmp_path / "whole")
    train_on_all_speakers(whole)
    stopped = with_(run, checkpoint_seconds=0.0)
    with pytest.raises(Stopped):
        train_on_all_speakers(stopped, stop_after(3))
    assert not stopped.is_done()
    assert stopped.epochs_in_checkpoint() == 2
    told = []
    train_on_all_speakers(stopped, lambda: told.append(1))
    assert len(told) == 1
    assert (stopped.folder / MODEL_FILE).read_bytes() == (whole.folder / MODEL_FILE).read_bytes()
    assert record_of(stopped)["train_losses"] == record_of(whole)["train_losses"]


def test_the_run_is_done_until_its_inputs_or_its_weights_change(run):
    train_on_all_speakers(run)
    assert not replace(run, epochs=4).is_done()
    assert not replace(run, seed=43).is_done()
    assert not with_(run, learning_rate=1e-3).is_done()
    path = run.folder / MODEL_FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert not run.is_done()
