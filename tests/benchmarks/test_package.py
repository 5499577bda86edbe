"""The suite of the package measures imports and waits for the first result."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.suites import package


def test_imports_are_timed_separately_in_a_new_process(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.2)")
    (tmp_path / "slower.py").write_text("import slow, time; time.sleep(0.3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    slow, slower = package.seconds_of("slow", "slower")
    assert 0.2 <= slow < 0.3 <= slower < 0.45


def test_wait_returns_when_the_file_exists_and_raises_if_the_command_ends_first(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        assert package.wait(process, 0.0, tmp_path, "th*") > 0
        with pytest.raises(RuntimeError, match=r"quickstart exited with 0 before it wrote run\.json"):
            package.wait(process, 0.0, tmp_path, "run.json")
