"""Errors of the user and the machine on the command line: one line, exit code 2, no partial files."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from click.testing import Result
from safetensors.torch import save_file
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.cli.exit_codes import exit_on_error
from temporal_shift.ser.utils.atomic_files import atomic_path, atomic_write, write_array, write_bytes
from temporal_shift.ser.utils.errors import RecipeError

from ..faults import file_limit, file_size_limit
from ..tiny import write_noise_corpus


def exit_of(work) -> tuple[int, str]:
    """The exit code and the standard error of a command that does the work."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(exit_on_error()(lambda: work()))
    done = CliRunner().invoke(app, [], catch_exceptions=False)
    return done.exit_code, done.stderr


def raising(error: BaseException):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (raising(RecipeError("n_div must be in [1, 8], got 9")), r"n_div must be in \[1, 8\], got 9"),
        (raising(OSError(errno.ENOSPC, "No space left on device", "a/b")), "a/b: No space left on device"),
        (raising(PermissionError(errno.EACCES, "Permission denied", "a")), "a: Permission denied"),
        (raising(OSError(errno.EXDEV, "Invalid cross-device link", "a.tmp", None, "a")), "a: Invalid cross-device .*"),
        (raising(TimeoutError("no answer in 5 s\nand a traceback")), "no answer in 5 s"),
        (lambda: np.empty((1 << 50,)), r".*memory.*8\.00 PiB.*"),
        (lambda: torch.empty(1 << 50), r".*memory.*4503599627370496.*"),
        (raising(RuntimeError("Symlink loop from 'a'")), "too many levels of symbolic links: .*'a'"),
        (raising(RecursionError("maximum recursion depth exceeded")), ".*nested too deeply"),
        (lambda: "\udcff".encode(), r".*\\udcff.*"),
    ],
)
def test_errors_of_the_user_and_the_machine_are_one_line_and_exit_code_2(work, sentence):
    code, printed = exit_of(work)
    assert code == 2
    assert re.fullmatch(f"error: {sentence}\n", printed)


def test_ctrl_c_is_exit_code_130_and_a_bug_keeps_its_traceback():
    assert exit_of(raising(KeyboardInterrupt())) == (130, "\nstopped\n")
    with pytest.raises(ZeroDivisionError):
        exit_of(lambda: 1 / 0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="requires /dev/full")
def test_a_full_disk_and_a_closed_pipe_behind_standard_output_end_without_a_traceback():
    script = """
import typer
from click.testing import Result
from temporal_shift.ser.cli import app
from temporal_shift.ser.cli.exit_codes import exit_on_error
app = typer.Typer()
app.command()(exit_on_error()(lambda: print("printed")))
app()
"""
    command = [sys.executable, "-c", script]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def _write_tensors(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.mkdir()
        save_file({"w": torch.zeros(50_000)}, temporary / "model.safetensors")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_bytes(path, bytes(200_000)),
        lambda path: write_array(path, np.zeros(50_000)),
        _write_tensors,
    ],
)
def test_a_write_that_fails_names_its_file_and_leaves_the_old_one(tmp_path, write):
    path = tmp_path / "file"
    path.write_text("old")
    with file_size_limit(100_000):
        code, printed = exit_of(lambda: write(path))
    assert (code, printed) == (2, f"error: {path}: {os.strerror(errno.EFBIG)}\n")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "named", "reason"),
    [
        ("file/below", "file", errno.ENOTDIR),
        ("file/below/it", "file/below", errno.ENOTDIR),
        ("folder", "folder", errno.EISDIR),
        ("n" * 300, "n" * 300, errno.ENAMETOOLONG),
        ("n" * 300 + "/file", "n" * 300, errno.ENAMETOOLONG),
    ],
)
def test_a_path_that_cannot_be_written_is_named_with_the_reason(tmp_path, path, named, reason):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    code, printed = exit_of(lambda: write_bytes(tmp_path / path, b"new"))
    assert (code, printed) == (2, f"error: {tmp_path / named}: {os.strerror(reason)}\n")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_written_array_equals_the_file_that_numpy_writes(tmp_path):
    for array in (np.arange(12.0).reshape(3, 4).T, np.zeros((0, 2), np.float16), np.int64(3)):
        write_array(tmp_path / "ours.npy", np.asarray(array))
        np.testing.assert_array_equal(np.load(tmp_path / "ours.npy"), array)


def test_a_temporary_file_is_deleted_without_a_free_file_descriptor(tmp_path):
    def work():
        with atomic_write(tmp_path / "file"), file_limit(0):
            os.dup(0)

    code, printed = exit_of(work)
    assert (code, printed) == (2, f"error: {tmp_path / 'file'}: {os.strerror(errno.EMFILE)}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("full", os.strerror(errno.EFBIG)),
        ("below a file", os.strerror(errno.ENOTDIR)),
        ("a folder", os.strerror(errno.EISDIR)),
        ("long", os.strerror(errno.ENAMETOOLONG)),
    ],
)
@pytest.mark.parametrize("command", ["prepare", "describe"])
def test_a_manifest_or_plot_that_cannot_be_written_is_a_one_line_error_and_leaves_no_file(
    tmp_path, corpus, command, fault, reason
):
    manifest, out = tmp_path / "in" / "manifest.jsonl", tmp_path / "out" / "new.png"
    arguments = ["prepare", "iemocap", corpus, "--out"]
    if command == "describe":
        assert invoke(*arguments, manifest).exit_code == 0
        arguments = ["describe", manifest, "--plot"]
    (tmp_path / "out").mkdir()
    if fault == "a folder":
        out.mkdir()
    elif fault == "below a file":
        out.parent.rmdir()
        out.parent.write_text("a file")
    elif fault == "long":
        out = out.with_name("n" * 251 + ".png")
    before = sorted(tmp_path.rglob("*"))
    with file_size_limit(50 if fault == "full" else 10_000_000):
        done = invoke(*arguments, out)
    assert done.exit_code == 2
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message.endswith(f": {reason}")
    assert str(tmp_path / "out") in message
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_noise_corpus(folder, 8)
    return folder


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["ser", *map(str, arguments)], catch_exceptions=False)
