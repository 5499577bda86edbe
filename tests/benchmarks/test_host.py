"""The host suite measures launches of compiled kernels without a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import measurements, record_file
from benchmarks.measure.host_timing import host_time
from tests.benchmarks import five_packages

ROOT = Path(__file__).parents[2]
pytest.importorskip("triton", reason="Triton is not installed")


def test_the_suite_times_our_launch_tritons_launch_and_an_identity_without_a_gpu(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "host", "--quick", "--out", str(tmp_path)]
    environment = five_packages.environment(tmp_path)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120)
    lines = record_file.read(tmp_path / "host-stubbed.jsonl")
    rows = {line["what"]: line for line in measurements.of_kind(lines, "measurement")}
    launches = {"forward", "forward, lengths", "forward, cu_seqlens", "temporal_shift_add", "in place"}
    with_grad = {"forward with grad", "forward + backward"}
    assert rows.keys() == launches | with_grad | {f"CPU, {what}" for what in with_grad}
    assert all(rows[what]["ratio_to_peers"]["kernel[grid]"] > 0 for what in launches)
    assert all("identity" in rows[what]["ratio_to_peers"] for what in with_grad)
    assert len(measurements.of_kind(lines, "goal")) == 3


def test_host_time_is_cpu_time_of_the_thread_and_functions_take_turns():
    order = []
    functions = {"idle": lambda: order.append("idle"), "busy": lambda: order.append(str(sum(range(500))))}
    samples = host_time(functions, seconds=0.0, device="stubbed")
    assert {len(values) for values in samples.values()} == {15}
    assert 0 < min(samples["idle"]) < min(samples["busy"]) < 1e-3
    assert order.index("idle") < len(order) / 2 < len(order) - order[::-1].index("idle")
