"""Time several functions in one run. They take turns, so that other work on the machine slows all of them.

A CPU is timed with ``torch.utils.benchmark``, a GPU and the interpreter with the timers of :mod:`.gpu_timing`.
"""

from __future__ import annotations

import ctypes
import math
import platform
import random
import time
from collections.abc import Callable

import torch
from torch.utils.benchmark import Timer

from .gpu_timing import DEVICE, Functions, Samples, gpu_samples

LONG = 0.1  # seconds


def sampled(
    functions: Functions,
    *,
    device: str,
    seconds: float = 1.0,
    keep_freed_memory: bool = True,
    timer: str | None = None,
) -> Samples:
    """Seconds per call of each function.

    A round takes one sample of each function, in random order. On a CPU, a sample of a fast function is the mean of
    several calls in a row after a warm-up, and there are at least 15 rounds, or 3 if a function takes longer than
    ``LONG``.

    Args:
        functions: The functions by name.
        device: One of ``DEVICES``.
        seconds: Time per function. Default: 1.
        keep_freed_memory: Whether glibc keeps freed memory, for the rest of the process; CPU only. Default: true.
        timer: One of ``GPU_TIMERS``, for a GPU and the interpreter. Default: ``DEVICE``.
    """
    if device != "cpu":
        return gpu_samples(functions, timer or DEVICE, device=device, seconds=seconds)
    if keep_freed_memory:
        hold_freed_memory()
    timers = {name: _timer(function) for name, function in functions.items()}
    calls = {name: _calls_of_a_sample(timer) for name, timer in timers.items()}
    samples: Samples = {name: [] for name in functions}
    end = time.perf_counter() + seconds * len(functions)
    min_rounds = 3 if 1 in calls.values() else 15
    while time.perf_counter() < end or len(samples[next(iter(functions))]) < min_rounds:
        for name in random.sample(list(functions), len(functions)):
            if calls[name] == 1:  # one warm-up call; timeit makes two
                measured = timers[name].blocked_autorange(min_run_time=0.0)
            else:
                measured = timers[name].timeit(calls[name])
            samples[name].append(measured.median)
    return samples


def _timer(function: Callable[[], object]) -> Timer:
    return Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())


def _calls_of_a_sample(timer: Timer) -> int:
    """The number of calls that take about a millisecond, at least 2; 1 if a call takes longer than ``LONG``."""
    took = timer.blocked_autorange(min_run_time=0.0).median
    if took > LONG:
        return 1
    took = timer.timeit(max(2, min(5, math.ceil(1e-3 / took)))).median
    return max(2, math.ceil(1e-3 / took))


def hold_freed_memory() -> None:
    """Make glibc keep freed memory for the next tensor instead of returning it to the system.

    Page faults of new memory can cost more than writing to it. Without this setting, they depend on the order of the
    functions.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            libc.mallopt(parameter, 2**31 - 1)
