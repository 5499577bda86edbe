"""Devices of benchmarks: a CPU, a GPU, or Triton's interpreter on a CPU."""

from __future__ import annotations

import os

INTERPRETER = "interpreter"
DEVICES = ("cpu", "cuda", INTERPRETER)


def tensor_device(device: str) -> str:
    """Return the torch device of the tensors; the interpreter uses tensors on the CPU."""
    return "cpu" if device == INTERPRETER else device


def is_interpreting() -> bool:
    """Whether Triton interprets kernels: ``TRITON_INTERPRET`` is 1. Triton reads the variable on import."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def use(device: str) -> None:
    """If the device is the interpreter, send later shifts of CPU tensors to it.

    Raises:
        ValueError: If the device is the interpreter and ``TRITON_INTERPRET`` is not 1.
    """
    if device == INTERPRETER:
        if not is_interpreting():
            value = os.environ.get("TRITON_INTERPRET")
            raise ValueError(f"TRITON_INTERPRET must be 1 for --device interpreter, got {value!r}")
        from temporal_shift.core import dispatch

        dispatch.triton_devices = {"cuda", "cpu"}
