"""The most memory that a function takes, as the operating system sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def peak_bytes(setup: str, statement: str) -> int | None:
    """Resident bytes at the peak of ``statement`` over those before it, in a process of its own; Linux only.

    The process is a new one, so that what other functions left behind is not counted, and the peak is reset after
    ``setup``.
    """
    if not Path("/proc/self/clear_refs").exists():
        return None
    script = f"from benchmarks.memory import measured\n{setup}\nmeasured(lambda: {statement})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def measured(function: Callable[[], object]) -> None:
    """What the new process does."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is the present again
    before = _resident("VmRSS")
    kept = function()
    print(_resident("VmHWM") - before)
    del kept


def _resident(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
