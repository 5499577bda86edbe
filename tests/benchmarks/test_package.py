"""What the package costs who installs it, and how that is measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.suites import package

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built without a network, from a copy: other tests read the metadata that lie here."""
    folder, copy = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("clone")
    unwanted = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "results", "corpus", "models", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=unwanted, dirs_exist_ok=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_is_small_and_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert package.strays_of(names) == []
    assert package.strays_of([*names, "tests/test_x.py", "benchmarks/suites/op.py"]) == [
        "tests/test_x.py",
        "benchmarks/suites/op.py",
    ]
    assert wheel.stat().st_size < package.MOST_OF_WHEEL
    assert {"temporal_shift/py.typed", "temporal_shift/ser/experiments/configs/features-shiftcnn.yaml"} <= set(names)


def test_what_is_uploaded_passes_the_checks_of_twine(wheel):
    distributions = [str(path) for path in wheel.parent.iterdir()]
    assert len(distributions) == 2
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *distributions], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


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
