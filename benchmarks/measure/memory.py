"""Memory of a function: its peak, and the tensors that autograd saves in a forward pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

NO_HEAP = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # bytes; larger blocks are returned to the system when freed


def peaks(setup: str, statements: Mapping[str, str], device: str = "cpu") -> dict[str, int]:
    """Peak memory of each statement in bytes, minus the memory before it. On a CPU without Linux, the result is empty.

    ``setup`` is the code that runs before the statements. All run in one new process. In it, glibc returns freed blocks
    above 64 KiB to the system, so earlier allocations hardly count. Each statement runs once for warm-up.
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
    """Print the peaks as JSON. This function runs in the new process."""
    peak = _peak_on_gpu if device == "cuda" else _peak
    found = {}
    for name, function in functions.items():
        function()
        found[name] = peak(function)
    print(json.dumps(found))


def _peak(function: Callable[[], object]) -> int:
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the current size
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
    """Bytes that autograd saves in a forward pass. Shared storage counts once; storage of ``besides`` is excluded."""
    others = {tensor.untyped_storage().data_ptr() for tensor in besides}
    kept: dict[int, int] = {}

    def pack(saved: torch.Tensor) -> torch.Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in others:
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        alive = function()  # freed storage could be reused at the same address and would not be counted
    del alive
    return sum(kept.values())
