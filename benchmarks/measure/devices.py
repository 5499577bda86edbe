"""The values of ``--device``: a CPU, a GPU, or Triton's interpreter on a CPU."""

from __future__ import annotations

import os

INTERPRETER = "interpreter"
DEVICES = ("cpu", "cuda", INTERPRETER)


def tensor_device(device: str) -> str:
    """Where the tensors are."""
    return "cpu" if device == INTERPRETER else device


def use(device: str) -> None:
    """With the interpreter, send shifts of CPU tensors to it from here on.

    Raises:
        ValueError: If Triton was not told to interpret, which it reads when it is imported.
    """
    if device == INTERPRETER:
        if os.environ.get("TRITON_INTERPRET") != "1":
            raise ValueError("TRITON_INTERPRET must be 1 in the environment for --device interpreter")
        from temporal_shift.core import dispatch

        dispatch.triton_devices = {"cuda", "cpu"}
