"""Compile the kernel for several GPUs on a machine without them, and read the figures of the code.

A recorder replaces the kernel while the package launches it. Triton's ``warmup`` then compiles the kernel for the
recorded arguments, as for a launch on the GPU.
"""

from __future__ import annotations

import inspect
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from temporal_shift.core import triton as backend

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
# source lines that load bounds or the step of a group (AMD's compiler loads an argument that depends on a lane)
_INDEX = re.compile(r"\b(bounds|cu)_ptr\b|\bof_3\b")
_AMD = ("vgpr_count", "vgpr_spill_count", "sgpr_spill_count")
_NAMED_WIDTHS = {"ubyte": 8, "sbyte": 8, "byte": 8, "ushort": 16, "sshort": 16, "short": 16, "dword": 32}


@dataclass(frozen=True)
class Binary:
    """Figures of the machine code."""

    registers: int  # per thread; vector registers on AMD
    spills: int  # spill instructions (LDL, STL) on NVIDIA, spilled registers on AMD
    shared: int  # bytes of shared memory
    instructions: int  # all in the code, executed or not, without NOPs
    loads: dict[int, int]  # width in bits: number of load instructions, without those in `index`
    stores: dict[int, int]  # width in bits: number of store instructions
    index: dict[int, int]  # width in bits: number of accesses to bounds and steps


@dataclass(frozen=True)
class RecordedLaunch:
    """The arguments of one launch."""

    kernel: Any
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    constants: dict[str, Any]

    def compile(self, target: str) -> Any:
        """Compile the kernel for one of ``TARGETS``."""
        driver.set_active(_NoDevice(target))
        return self.kernel.warmup(*self.arguments, grid=self.grid, **self.constants)

    def elements_per_thread(self, target: str) -> float:
        """Average number of elements of the tile per thread."""
        tile = self.constants["BLOCK"] * self.constants["VECTOR"] * self.constants["PACK"]
        return tile / (self.constants["num_warps"] * TARGETS[target].warp_size)


class _NoDevice:
    """The part of Triton's driver that compilation needs. Kernels are cached per device, so each target is a device."""

    def __init__(self, target: str):
        self._target = target

    def get_current_device(self) -> str:
        return self._target

    def get_current_stream(self, device: str) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return TARGETS[self._target]


class _Recorder:
    """Replaces a kernel and records the arguments of its launches."""

    def __init__(self, kernel: Any, launches: list[RecordedLaunch]):
        self._kernel, self._launches = kernel, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *arguments, **constants: self._launches.append(
            RecordedLaunch(self._kernel, grid, arguments, constants)
        )


def launch_of(call: Callable[[Any], None]) -> RecordedLaunch:
    """Record the one launch that ``call(backend)`` makes."""
    launches: list[RecordedLaunch] = []
    with mock.patch.object(backend, "shift_kernel", _Recorder(backend.shift_kernel, launches)):
        call(backend)
    (launch,) = launches
    return launch


@cache  # plain shifts of dtypes with the same size share a compiled kernel
def read(compiled: Any) -> Binary:
    """The figures of a compiled kernel."""
    shared = compiled.metadata.shared
    if "cubin" in compiled.asm:
        return _of_cubin(compiled.asm["cubin"], shared)
    return _of_amdgcn(compiled.asm["amdgcn"], shared)


def _of_cubin(cubin: bytes, shared: int) -> Binary:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run(knobs.nvidia.cuobjdump.path, "-res-usage", file.name)
        sass = _run(knobs.nvidia.nvdisasm.path, "-g", "-c", "-ndf", file.name)
    operations = [(line, op) for line, op in _sass(sass) if op != "NOP"]
    accesses = []
    for line, op in operations:
        name, *modifiers = op.split(".")
        if name in ("LDG", "LD", "STG", "ST"):
            width = max((int(number) for part in modifiers for number in re.findall(r"^[US]?(\d+)$", part)), default=32)
            accesses.append((_kind(line, name.startswith("ST")), width))
    spills = sum(op.split(".")[0] in ("LDL", "STL") for _, op in operations)
    registers = int(re.search(r"REG:(\d+)", usage)[1])
    return Binary(registers, spills, shared, len(operations), **_by_width(accesses))


def _sass(text: str) -> Iterator[tuple[int, str]]:
    """Source line and operation of each instruction."""
    source = 0
    for line in text.splitlines():
        if found := re.search(r'//## File ".*/(\S+?)", line (\d+)', line):
            source = int(found[2]) if found[1] == "kernels.py" else 0
        elif found := re.match(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([\w.]+)", line):
            yield source, found[1]


def _of_amdgcn(text: str, shared: int) -> Binary:
    code = text[: text.index(".Lfunc_end0:")]
    accesses = []
    source = instructions = 0
    for line in code.splitlines():
        if found := re.match(r"\s+\.loc\s+\d+ (\d+) .*; (\S+?):", line):
            source = int(found[1]) if found[2] == "kernels.py" and found[1] != "0" else source
        elif found := re.match(r"\t([a-z]\w+)", line):
            instructions += found[1] != "s_nop"
            if access := re.match(r"(?:global|buffer|flat)_(load|store)_([a-z]+?)(?:x(\d))?(?:_|$)", found[1]):
                width = _NAMED_WIDTHS[access[2]] * int(access[3] or 1)
                accesses.append((_kind(source, access[1] == "store"), width))
    of_metadata = {key: int(re.search(rf"\.{key}:\s+(\d+)", text)[1]) for key in _AMD}
    spills = of_metadata["vgpr_spill_count"] + of_metadata["sgpr_spill_count"]
    return Binary(of_metadata["vgpr_count"], spills, shared, instructions, **_by_width(accesses))


def _by_width(accesses: list[tuple[str, int]]) -> dict[str, Any]:
    return {
        kind: dict(sorted(Counter(width for of, width in accesses if of == kind).items()))
        for kind in ("loads", "stores", "index")
    }


def _kind(line: int, stores: bool) -> str:
    # for NVIDIA, a load is inline assembly of several lines; the compiler may attribute some to the next source line
    if any(_INDEX.search(_lines().get(near, "")) for near in (line, line - 1)):
        return "index"
    return "stores" if stores else "loads"


@cache
def _lines() -> dict[int, str]:
    file = inspect.getsourcefile(backend.shift_kernel.fn)
    with open(file, encoding="utf-8") as source:
        return dict(enumerate(source, start=1))


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
