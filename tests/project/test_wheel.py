"""The wheel and the sdist: their content, and an installed wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from benchmarks.suites import package

ROOT = Path(__file__).parents[2]
USE_DATA = """
from temporal_shift.ser.corpora.label_maps import shipped_map
assert "calm" in shipped_map("ravdess").values()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel and the sdist offline, from a copy, because other tests read the metadata in the clone."""
    dist, copy = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("clone")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "temporal_shift", copy / "temporal_shift", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(copy)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = dist.glob("*.whl")
    return found


def test_the_wheel_is_small_and_contains_the_files_of_the_package_only(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert package.strays_of(names) == []
    assert package.strays_of(["tests/test_x.py", "temporal_shift/x.py"]) == ["tests/test_x.py"]
    files = (path for path in (ROOT / "temporal_shift").rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert {path.relative_to(ROOT).as_posix() for path in files} <= names
    assert wheel.stat().st_size < package.MAX_WHEEL_BYTES


def test_wheel_and_sdist_pass_the_checks_of_twine(wheel):
    distributions = [str(path) for path in wheel.parent.iterdir()]
    assert len(distributions) == 2
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *distributions], capture_output=True, text=True
    )
    assert done.stdout.count("PASSED") == 2, done.stdout + done.stderr


def test_the_installed_wheel_works(wheel, tmp_path):
    """Install the wheel in a new environment that can import torch and the other packages of this environment."""
    venv.create(tmp_path / "env", symlinks=True)
    (site,) = (tmp_path / "env").rglob("site-packages")
    (site / "borrowed.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    python = tmp_path / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(install, check=True, capture_output=True, env=environment)

    commands = (
        [python, ROOT / ".ci" / "smoke.py"],
        [python, "-c", USE_DATA],
        [python.with_name("temporal-shift"), "--help"],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
    assert "Speech emotion recognition" in done.stdout
