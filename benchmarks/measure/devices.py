"""The values of ``--device``: a CPU, a GPU, or Triton's interpreter on a CPU."""

from __future__ import annotations

import os

INTERPRETER = "interpreter"
DEVICES = ("cpu", "cuda", INTERPRETER)


def tensor_device(device: str) -> str:
    """Return the torch device of the tensors."""
    return "cpu" if device == INTERPRETER else device


def is_interpreting() -> bool:
    """Whether Triton interprets kernels. It reads the variable when it is imported."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def use(device: str) -> None:
    """If the device is the interpreter, run all later shifts of CPU tensors in it.

    Raises:
        ValueError: If ``TRITON_INTERPRET`` is not 1.
    """
    if device == INTERPRETER:
        if not is_interpreting():
            raise ValueError("TRITON_INTERPRET must be 1 in the environment for --device interpreter")
        from temporal_shift.core import dispatch

        dispatch.triton_devices = {"cuda", "cpu"}
