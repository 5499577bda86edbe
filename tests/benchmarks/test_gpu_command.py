"""``python -m benchmarks gpu`` requires five packages; a failed step does not stop the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import record_file
from tests.benchmarks import five_packages

ROOT = Path(__file__).parents[2]
pytest.importorskip("triton", reason="Triton is not installed")


def run(tmp_path, *arguments: str, **environment: str) -> tuple[subprocess.CompletedProcess[str], list[dict], str]:
    command = [sys.executable, "-m", "benchmarks", "gpu", "--interpret", "--out", str(tmp_path / "out"), *arguments]
    refusing = {**five_packages.environment(tmp_path), **environment}
    done = subprocess.run(command, cwd=ROOT, env=refusing, capture_output=True, text=True, timeout=300)
    page = (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    return done, record_file.read(tmp_path / "out" / "gpu.jsonl"), page


def test_the_steps_run_in_the_interpreter_with_five_packages(tmp_path):
    done, lines, page = run(tmp_path, "--steps", "kernels", "bounds", "sanitizer", "op", "training")
    assert done.returncode == 0, done.stdout[-3000:]
    outcomes = {line["what"]: line["outcome"] for line in lines if line["kind"] == "step"}
    assert outcomes.keys() == {"tests of the kernels", "odd bounds", "memcheck", "racecheck", "op", "training"}
    assert set(outcomes.values()) <= {"passed", "not installed"}
    timers = {line["timer"] for line in lines if line["suite"] == "op" and line["what"] == "forward"}
    assert timers == {"wall clock", "device", "CUDA graph"}
    assert all(line["device"].startswith("Triton's interpreter") for line in lines)
    assert all(f"| {name} |" in page for name in outcomes)
    assert "| forward + backward |" in page
    assert "| training step | ShiftLSTM, bf16 autocast |" in page


def test_a_failed_step_is_reported_and_the_next_one_runs(tmp_path):
    (tmp_path / "out" / "layers-interpreter.jsonl").mkdir(parents=True)  # the step cannot write its record
    done, lines, page = run(tmp_path, "--steps", "layers", "sanitizer")
    first, *others = [line["outcome"] for line in lines if line["kind"] == "step"]
    assert first == "failed, exit status 1"
    assert len(others) == 2
    assert done.returncode == 1
    assert "steps that did not pass: layers" in done.stderr
    assert f"| layers | {lines[0]['seconds']} | {first} |" in page


def test_the_error_without_a_gpu_suggests_the_interpreter():
    done = subprocess.run([sys.executable, "-m", "benchmarks", "gpu"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--interpret" in done.stderr
