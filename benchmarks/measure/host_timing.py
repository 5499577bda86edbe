"""The time that the host spends on a call, several functions in turns."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable

import torch

from .timing import Functions, Samples, hold_freed_memory

BATCH = 50  # calls in a row: a GPU's queue, of about a thousand launches, does not fill up


def host_time(functions: Functions, *, seconds: float, device: str) -> Samples:
    """Seconds of the host for a call of each: CPU time of this thread with a stub, wall-clock time with a GPU.

    A GPU runs behind: its queue is empty when a batch of calls starts, and nothing waits for it while they are timed.
    """
    on_gpu = device == "cuda"
    if not on_gpu:
        hold_freed_memory()  # as a GPU's allocator does
    clock = time.perf_counter_ns if on_gpu else time.thread_time_ns
    synchronize = torch.cuda.synchronize if on_gpu else lambda: None
    samples: Samples = {name: [] for name in functions}
    for function in functions.values():
        _batch(function, clock)
    end = time.perf_counter() + seconds * len(functions)
    gc.disable()
    try:
        while time.perf_counter() < end or len(samples[next(iter(functions))]) < 15:
            for name in random.sample(list(functions), len(functions)):
                synchronize()
                samples[name].append(_batch(functions[name], clock))
    finally:
        synchronize()
        gc.enable()
    return samples


def _batch(function: Callable[[], object], clock: Callable[[], int]) -> float:
    function()  # not timed: the caches contain data of the other functions
    start = clock()
    for _ in range(BATCH):
        function()
    return (clock() - start) / BATCH / 1e9
