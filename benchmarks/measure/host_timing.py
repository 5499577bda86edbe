"""The time that the host spends on a call. The functions take turns."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable

import torch

from .timing import Functions, Samples, hold_freed_memory

BATCH = 50  # consecutive calls; the launch queue of a GPU holds about a thousand


def host_time(functions: Functions, *, seconds: float, device: str) -> Samples:
    """Host seconds per call of each function: CPU time of this thread with the stub, wall-clock time with a GPU.

    On a GPU, the device is synchronized before each batch of calls, and the batch does not wait for the device.
    """
    on_gpu = device == "cuda"
    if not on_gpu:
        hold_freed_memory()  # like PyTorch's allocator for a GPU
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
    function()  # warm-up: the caches contain data of the other functions
    start = clock()
    for _ in range(BATCH):
        function()
    return (clock() - start) / BATCH / 1e9
