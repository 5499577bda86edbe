"""A stub of Triton's driver: kernels are compiled for an H100, and a launch calls an empty Python function.

It allows timing the host's part of a launch without a GPU. Requires Triton 3.4 or newer.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from temporal_shift.core import dispatch

TARGET = GPUTarget("cuda", 90, 32)
_PROPERTIES = {
    "max_shared_mem": 232448,
    "max_num_regs": 65536,
    "multiprocessor_count": 132,
    "warpSize": 32,
    "sm_clock_rate": 1980000,
    "mem_clock_rate": 2619000,
    "mem_bus_width": 5120,
}


class StubbedDriver:
    """A driver that reports one H100 and runs no kernel."""

    def __init__(self) -> None:
        self.utils = SimpleNamespace(
            # module, function, registers, spills, threads
            load_binary=lambda name, kernel, shared, device: (1, 1, 32, 0, 1024),
            unload_module=lambda module: None,
            get_device_properties=lambda device: _PROPERTIES,
            launch=_no_launch,
        )
        self.launcher_cls = lambda source, metadata: _no_launch

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, device: int) -> None:
        pass

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return TARGET

    def get_device_capability(self, device: int = 0) -> tuple[int, int]:
        return divmod(TARGET.arch, 10)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_device_interface(self) -> Any:
        return SimpleNamespace(current_device=self.get_current_device, current_stream=self.get_current_stream)


def _no_launch(*arguments: Any) -> None:
    """Replaces the C launcher."""


def install() -> None:
    """Send later shifts of CPU tensors to Triton with launches that do nothing; results are uninitialized memory.

    Call it in a new process: compiled kernels are cached by device number, and the stub's device is number 0.
    """
    driver.set_active(StubbedDriver())
    dispatch.triton_devices = {"cuda", "cpu"}


def launches_of(call: Callable[[], object]) -> list[Callable[[], object]]:
    """Record the ``kernel[grid](...)`` calls of ``call`` as functions that repeat them.

    Only the first run of a launch in a process uses ``JITFunction`` and is recorded. Later runs launch the compiled
    kernel without it.
    """
    from triton.runtime.jit import JITFunction

    found: list[Callable[[], object]] = []
    run = JITFunction.run

    def recorded(self: Any, *arguments: Any, grid: Any, warmup: bool, **constants: Any) -> Any:
        found.append(lambda: self[grid](*arguments, **constants))
        return run(self, *arguments, grid=grid, warmup=warmup, **constants)

    with mock.patch.object(JITFunction, "run", recorded):
        call()
    return found
