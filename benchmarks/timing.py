"""Time of several functions that do the same, in one run: in turns, so that what slows one slows all."""

from __future__ import annotations

import ctypes
import platform
import random
import statistics
import time
from collections.abc import Callable

import torch

Functions = dict[str, Callable[[], object]]
LONG = 0.1  # seconds


def medians(
    functions: Functions, *, device: str, seconds: float = 1.0, keep_freed_memory: bool = True
) -> dict[str, float]:
    """Median seconds of a call of each, from as many rounds as fit into ``seconds`` a function, at least 15, or 9.

    A round runs each function several times in a row, so that it finds its own memory and not another's; one that
    takes longer than ``LONG`` has driven it out itself, and runs once. With such there are at least 9 rounds. Freed
    memory, once kept, is kept for the rest of the process.
    """
    if device == "cuda":
        from triton.testing import do_bench

        return {name: do_bench(function, return_mode="median") / 1e3 for name, function in functions.items()}
    if keep_freed_memory:
        _keep_freed_memory()
    long = {name for name, function in functions.items() if _time(function, 1) > LONG}
    calls = {name: 1 if name in long else _calls_of_a_sample(function) for name, function in functions.items()}
    samples: dict[str, list[float]] = {name: [] for name in functions}
    end = time.perf_counter() + seconds * len(functions)
    least = 9 if long else 15
    while time.perf_counter() < end or min(map(len, samples.values())) < least:
        for name in random.sample(list(functions), len(functions)):
            if name not in long:
                functions[name]()
            samples[name].append(_time(functions[name], calls[name]))
    return {name: statistics.median(values) for name, values in samples.items()}


def _keep_freed_memory() -> None:
    """Let glibc give freed memory to the next tensor rather than back to the system.

    Otherwise whether a tensor's pages are new, which costs more than to fill them, depends on what was freed before it:
    one order of the same functions shows ours four times as fast as a copy, another at twice its time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            libc.mallopt(parameter, 2**31 - 1)


def _calls_of_a_sample(function: Callable[[], object]) -> int:
    """Enough calls to last a millisecond; the first ones warm up."""
    for _ in range(3):
        function()
    return max(1, int(1e-3 / max(_time(function, 5), 1e-9)))


def _time(function: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def bytes_kept_for_backward(function: Callable[[], torch.Tensor]) -> int:
    """What autograd keeps alive of a forward pass, in bytes."""
    kept = 0

    def pack(saved: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += saved.numel() * saved.element_size()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        function()
    return kept
