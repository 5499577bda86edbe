"""Memory of a function: the most it holds at a moment, and what autograd keeps of a forward pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

NO_HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # every larger block comes from the system, and goes back when it is free


def peaks(setup: str, statements: Mapping[str, str], device: str = "cpu") -> dict[str, int]:
    """Bytes at the peak of each statement over those before it; on the CPU as Linux sees them, and elsewhere nothing.

    They run in a process of their own, in which freed memory goes back to the system, so that neither what others left
    behind nor how a heap happens to be cut up is counted. Each runs once before, for what a first call sets up.
    """
    if device == "cpu" and not Path("/proc/self/clear_refs").exists():
        return {}
    forms = ", ".join(f"{name!r}: lambda: {statement}" for name, statement in statements.items())
    script = f"{setup}\nfrom benchmarks.measure.memory import report\nreport({{{forms}}}, {device!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **NO_HEAP}
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(functions: Mapping[str, Callable[[], object]], device: str) -> None:
    """What the new process does."""
    peak = _peak_on_gpu if device == "cuda" else _peak
    found = {}
    for name, function in functions.items():
        function()
        found[name] = peak(function)
    print(json.dumps(found))


def _peak(function: Callable[[], object]) -> int:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is the present again
    before = _resident("VmRSS")
    kept = function()
    peak = _resident("VmHWM") - before
    del kept
    return peak


def _peak_on_gpu(function: Callable[[], object]) -> int:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = function()
    peak = torch.cuda.max_memory_allocated() - before
    del kept
    return peak


def _resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def kept_for_backward(function: Callable[[], object], besides: Iterable[torch.Tensor] = ()) -> int:
    """Bytes that autograd keeps alive of a forward pass; what is kept twice counts once, ``besides`` not at all."""
    others = {tensor.untyped_storage().data_ptr() for tensor in besides}
    kept: dict[int, int] = {}

    def pack(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in others:
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        alive = function()  # until all is counted: the address of what is freed would be given away again
    del alive
    return sum(kept.values())
