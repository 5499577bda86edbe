"""Timers: functions take turns, and samples are seconds per call."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest
import torch

from benchmarks.measure import floors, gpu_timing, growth, timing


def test_functions_take_turns_and_have_equal_numbers_of_samples():
    order = []
    functions = {name: lambda name=name: order.append(name) for name in "abc"}
    samples = timing.sampled(functions, device="cpu", seconds=0.0)
    assert {len(of_one) for of_one in samples.values()} == {15}
    assert all(value > 0 for of_one in samples.values() for value in of_one)
    changes = sum(a != b for a, b in pairwise(order))
    assert changes >= 2 * 15  # at least two changes of the function per round
    assert min(Counter(order).values()) > 15


def test_a_slow_function_has_fewer_rounds_and_the_right_time():
    samples = timing.sampled({"sleep": lambda: time.sleep(0.11)}, device="cpu", seconds=0.0)
    assert len(samples["sleep"]) == 3
    assert all(0.11 <= value < 0.4 for value in samples["sleep"])


def test_functions_run_with_torchs_number_of_threads(monkeypatch):
    threads = set()
    timing.sampled({"f": lambda: threads.add(torch.get_num_threads())}, device="cpu", seconds=0.0)
    assert threads == {torch.get_num_threads()}


@pytest.mark.parametrize("timer", gpu_timing.GPU_TIMERS)
def test_each_timer_of_a_gpu_returns_the_seconds_of_one_call(timer):
    samples = timing.sampled({"sleep": lambda: time.sleep(0.02)}, device="interpreter", seconds=0.0, timer=timer)
    assert all(0.02 <= value < 0.1 for value in samples["sleep"])


def test_a_function_that_a_cuda_graph_cannot_capture_has_no_samples(monkeypatch, capsys):
    def capture(self, function, calls):
        if function is refused:
            raise RuntimeError("operation not permitted when stream is capturing")
        return function

    def refused():
        pass

    monkeypatch.setattr(gpu_timing.InterpretedGpu, "capture", capture)
    functions = {"refused": refused, "captured": lambda: None}
    samples = timing.sampled(functions, device="interpreter", seconds=0.0, timer=gpu_timing.GRAPH)
    assert samples.keys() == {"captured"}
    assert "no CUDA graph: operation not permitted" in capsys.readouterr().out


def test_bandwidth_is_bytes_read_and_written_per_second(monkeypatch):
    monkeypatch.setattr(floors, "BEYOND_CACHES", 1 << 20)
    monkeypatch.setattr(floors, "sampled", lambda functions, **_: {name: [0.5, 0.25] for name in functions})
    assert floors.bandwidth("cpu", 1.0).samples == {"copy_": [2 * (2 << 20), 4 * (2 << 20)]}


def test_the_floors_of_a_shift_are_full_copies():
    x = torch.randn(2, 3, 4)
    assert all(torch.equal(function(), x) for function in floors.copies(x).values())


@pytest.mark.parametrize("power", [-0.5, 0.25, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(power):
    sizes = [2, 4, 8, 16]
    slope, error = growth.exponent(sizes, [3 * size**power for size in sizes])
    assert (slope, error) == (pytest.approx(power, abs=1e-3), pytest.approx(0, abs=1e-3))
    assert growth.exponent(sizes, [1.0, 3.0, 1.0, 3.0])[1] > 0.1
