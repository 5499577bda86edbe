"""How the costs of the package are measured."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.suites import package


def test_imports_are_timed_one_after_another_from_within_a_new_process(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import time; time.sleep(0.2)")
    (tmp_path / "slower.py").write_text("import slow, time; time.sleep(0.3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    slow, slower = package.seconds_of("slow", "slower")
    assert 0.2 <= slow < 0.3 <= slower < 0.45


def test_the_first_result_is_waited_for_and_a_command_that_fails_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as process:
        assert package.wait(process, 0.0, tmp_path, "th*") > 0
        with pytest.raises(RuntimeError, match=r"quickstart ended with 0 and left no run\.json"):
            package.wait(process, 0.0, tmp_path, "run.json")
