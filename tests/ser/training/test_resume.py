"""A stopped run, continued, has the same result as an uninterrupted one."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.training.run_record import Run
from temporal_shift.ser.training.train_run import train
from temporal_shift.ser.utils.errors import RecipeError

from ..faults import file_limit, file_size_limit
from ..small_run import EPOCHS, Stopped, outcome, small_run, stop_after, stopped, trained, under, with_


@pytest.fixture
def run(tmp_path) -> Run:
    return small_run(tmp_path)


def epochs_reported(run: Run) -> int:
    told = []
    train(run, lambda: told.append(1))
    return len(told)


def checkpoints(run: Run) -> list[Path]:
    return sorted(run.folder.glob("unfinished/checkpoint-*"))


@pytest.fixture
def uninterrupted(run, tmp_path) -> Run:
    """The same run in another folder, without a stop."""
    whole = replace(run, folder=tmp_path / "uninterrupted")
    trained(whole)
    return whole


@pytest.mark.parametrize(("blocks", "kind"), [("transformer", "heldout"), ("lstm", "paper")])
def test_a_stopped_run_continues_from_its_checkpoint_with_the_same_result(run, tmp_path, blocks, kind):
    run = under(run, kind)
    if blocks == "lstm":
        run = replace(run, model=config.Model(name="LSTM", blocks="lstm"))
    whole = replace(run, folder=tmp_path / "whole")
    trained(whole)
    run = stopped(run)
    (checkpoint,) = checkpoints(run)
    assert (checkpoint / "epochs.json").is_file()
    assert epochs_reported(run) == EPOCHS - 1  # the first epoch is not trained again
    assert outcome(run) == outcome(whole)
    assert run.is_done()


def test_a_run_that_was_stopped_before_its_first_checkpoint_starts_again(run, uninterrupted):
    with pytest.raises(Stopped):
        train(run, stop_after(2))  # no checkpoint, because less than a minute has passed
    assert checkpoints(run) == []
    assert not run.is_done()
    assert epochs_reported(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


def flip_a_bit(path: Path) -> None:
    """Flip a bit in the middle of the file, or of the last digit in JSON, like a bad disk."""
    content = bytearray(path.read_bytes())
    digits = [index for index, byte in enumerate(content) if chr(byte).isdigit()]
    position = digits[-1] if path.suffix == ".json" else len(content) // 2
    content[position] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (flip_a_bit, "optimizer.pt"),
        (flip_a_bit, "model.safetensors"),
        (flip_a_bit, "epochs.json"),
        (flip_a_bit, "../test_logits/00001.npy"),
        (flip_a_bit, "../validation_logits/00001.npy"),
        (cut_short, "model.safetensors"),
        (Path.unlink, "rng_state.pth"),
    ],
)
def test_a_damaged_checkpoint_is_ignored_and_the_run_starts_again(run, uninterrupted, harm, name):
    run = stopped(run)
    (checkpoint,) = checkpoints(run)
    harm(checkpoint / name)
    assert epochs_reported(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


def test_the_checkpoint_with_the_most_steps_is_used_regardless_of_dates(run, uninterrupted, tmp_path):
    run = stopped(run)
    (first,) = checkpoints(run)
    shutil.copytree(first, tmp_path / "first")
    stopped(run)
    shutil.copytree(tmp_path / "first", first)
    for path in (first, *first.iterdir()):
        os.utime(path, (2e9, 2e9))  # the clock has been set back since
    assert [path.name for path in checkpoints(run)] == ["checkpoint-4", "checkpoint-8"]
    assert epochs_reported(run) == EPOCHS - 2
    assert outcome(run) == outcome(uninterrupted)


def test_damaged_kept_weights_are_an_error_and_the_run_starts_again(run):
    run = with_(run, keep_models=True, learning_rate=1e-30)  # the first epoch is the one to keep
    stopped(run)
    flip_a_bit(run.folder / "unfinished" / "model.safetensors")
    with pytest.raises(RecipeError, match=r"unfinished/model\.safetensors.*changed or damaged"):
        train(run)
    assert not run.is_done()
    assert epochs_reported(run) == EPOCHS
    assert run.is_done()


def test_an_incomplete_checkpoint_does_not_hide_the_complete_one_before_it(run, uninterrupted):
    run = stopped(run)
    (checkpoint,) = checkpoints(run)
    torn = checkpoint.with_name("checkpoint-8")  # named like a checkpoint of the second epoch
    shutil.copytree(checkpoint, torn)
    (torn / "epochs.json").unlink()
    assert epochs_reported(run) == EPOCHS - 1
    assert outcome(run) == outcome(uninterrupted)


def test_a_run_that_is_stopped_repeatedly_has_the_same_result(run, tmp_path):
    run = with_(run, epochs=5)
    whole = replace(run, folder=tmp_path / "whole")
    trained(whole)
    for _ in range(3):
        stopped(run)
    (checkpoint,) = checkpoints(run)
    assert checkpoint.name == "checkpoint-12"  # of the third epoch of four steps; the other checkpoints are deleted
    assert epochs_reported(with_(run, checkpoint_seconds=0.0)) == 2
    assert outcome(run) == outcome(whole)


def test_a_stopped_run_with_other_inputs_is_not_continued(run, tmp_path):
    changed = with_(run, learning_rate=1e-3)
    whole = replace(changed, folder=tmp_path / "whole")
    trained(whole)
    stopped(run)
    assert epochs_reported(changed) == EPOCHS
    assert outcome(changed) == outcome(whole)


def test_a_run_with_other_inputs_is_not_done_while_it_is_trained_again(run):
    trained(run)
    changed = with_(run, learning_rate=1e-3)
    with pytest.raises(Stopped):
        train(changed, stop_after(1))
    assert not changed.is_done()
    assert not run.is_done()


@pytest.mark.parametrize("name", ["unfinished/inputs.json", "unfinished"])
def test_an_unfinished_run_without_its_inputs_starts_again(run, uninterrupted, name):
    run = stopped(run)
    path = run.folder / name
    shutil.rmtree(path) if path.is_dir() else path.write_text("{")
    assert epochs_reported(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


@pytest.mark.parametrize("size", [50_000, 120_000])  # too small for the weights, and for the optimizer state
def test_a_checkpoint_on_a_full_disk_is_a_one_line_error_and_leaves_no_checkpoint(run, uninterrupted, size):
    with file_size_limit(size), pytest.raises(RecipeError, match=r"checkpoint-4 cannot be written"):
        train(with_(run, checkpoint_seconds=0.0))
    assert checkpoints(run) == []
    assert epochs_reported(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)


def test_training_needs_few_file_descriptors_and_restarts_after_lacking_them(run, uninterrupted):
    with file_limit(0), pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        train(run)
    assert not run.is_done()
    with file_limit(6):
        assert epochs_reported(run) == EPOCHS
    assert outcome(run) == outcome(uninterrupted)
