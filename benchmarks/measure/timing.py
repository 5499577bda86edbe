"""Time of several functions that do the same, in one run: in turns, so that what slows one slows all.

On the CPU by ``torch.utils.benchmark``; on a GPU by the timers of :mod:`.gpu_timing`.
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
    """Seconds of a call of each, from as many rounds as fit into ``seconds`` a function, at least 15, or 3.

    A round runs each function in turn, in another order each time; a quick one several times in a row, after a few
    calls that are not timed, so that it finds its own memory and not another's. Where one takes longer than ``LONG``,
    3 rounds are enough. Freed memory, once kept, is kept for the rest of the process. ``timer`` is of a GPU.
    """
    if device != "cpu":
        return gpu_samples(functions, timer or DEVICE, device=device, seconds=seconds)
    if keep_freed_memory:
        hold_freed_memory()
    timers = {name: _timer(function) for name, function in functions.items()}
    calls = {name: _calls_of_a_sample(timer) for name, timer in timers.items()}
    samples: Samples = {name: [] for name in functions}
    end = time.perf_counter() + seconds * len(functions)
    least = 3 if 1 in calls.values() else 15
    while time.perf_counter() < end or len(samples[next(iter(functions))]) < least:
        for name in random.sample(list(functions), len(functions)):
            if calls[name] == 1:  # a call before it, and no more: timeit makes two
                measured = timers[name].blocked_autorange(min_run_time=0.0)
            else:
                measured = timers[name].timeit(calls[name])
            samples[name].append(measured.median)
    return samples


def _timer(function: Callable[[], object]) -> Timer:
    return Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())


def _calls_of_a_sample(timer: Timer) -> int:
    """Enough calls to last a millisecond; the first ones warm up."""
    took = timer.blocked_autorange(min_run_time=0.0).median
    if took > LONG:
        return 1
    took = timer.timeit(max(2, min(5, math.ceil(1e-3 / took)))).median
    return max(2, math.ceil(1e-3 / took))


def hold_freed_memory() -> None:
    """Let glibc give freed memory to the next tensor rather than back to the system.

    Otherwise whether a tensor's pages are new, which costs more than to fill them, depends on what was freed before it:
    one order of the same functions shows ours four times as fast as a copy, another at twice its time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            libc.mallopt(parameter, 2**31 - 1)
