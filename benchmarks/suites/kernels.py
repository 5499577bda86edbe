"""``python -m benchmarks kernels``: machine code and memory traffic of the GPU kernel, measured without a GPU.

Every variant is compiled for each target as for a launch on aligned tensors: eight sequences, bidirectional.

- *Access width*: with contiguous channels, the goal is at least 64 bits for each access to values. With
  contiguous frames, a shift by one frame is not aligned, so frames are loaded one by one, or as words of two or four.
- *Instructions per 16 bytes*: all instructions of the kernel, executed or not, with each loop counted once, divided by
  the number of 16-byte units that a thread writes.
- *Idle lanes*: the share of the lanes of all programs that move nothing.
- *Bytes*: bytes read and written per byte of the result, counted in Triton's interpreter over several programs.
  Repeated accesses of a program count once. The floor reads each value once (except x in padding frames and values
  that a shift with zero padding drops) and writes each result once. It does not include bounds.
- *Microseconds at full bandwidth*: time of the floor's bytes for ``(32, L, D)`` at the bandwidth of the data sheet.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from rich.progress import track

from ..measure.kernels.variants import LAYOUTS, Variant, every_variant, traffic
from ..measure.measurements import Count, Goal

# GB/s: data sheets of the NVIDIA A100 80GB SXM, H100 SXM, B200 (HGX B200: 64 TB/s for eight) and AMD Instinct MI300X.
BANDWIDTH = {"sm_80": 2039, "sm_90": 3350, "sm_100": 8000, "gfx942": 5300}
TARGETS = tuple(BANDWIDTH)
# several programs, the last one partly filled; if ragged, one sequence is shorter than the stride, and one is empty
COUNTED = {"frames": 72, "channels": 96, "stride": 3}
COUNTED_SEQUENCES = {"whole": [72, 72], "lengths": [72, 31, 2, 0], "packed": [60, 0, 2, 65]}
MAX_REGISTERS = 40
MIN_WIDTH = 64  # bits
MAX_IDLE = 15  # percent
MAX_INSTRUCTIONS = 12  # per 16 bytes

Row = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="one variant per layout and one target, for a test")


def measure(options: argparse.Namespace) -> Iterator[Count]:
    """Yield one line per variant with the figures for each target. The goals cover all variants."""
    variants, targets = every_variant(), TARGETS
    if options.quick:
        variants, targets = [next(v for v in variants if v.layout == layout) for layout in LAYOUTS], TARGETS[1:2]
    rows = {variant: _bandwidth_times(variant) for variant in variants}
    for variant, row in track(compiled(variants, targets), "Compiling", total=len(variants)):
        rows[variant] |= row
    for variant, row in track(counted(variants), "Counting bytes", total=len(variants)):
        rows[variant] |= row
    goals = goals_of(rows)
    for variant, figures in rows.items():
        setting = f"{variant.padding}, {variant.ragged}, n_div {variant.n_div}, {variant.layout}"
        yield Count(variant.form, figures, setting, variant.shape, variant.dtype, goals)
        goals = []


def compiled(variants: Iterable[Variant], targets: Iterable[str] = TARGETS) -> Iterator[tuple[Variant, Row]]:
    """Yield each variant with its tile, idle share and, for each target, the figures of :class:`.binaries.Binary`."""
    alike = groupby(variants, lambda variant: (variant.form, variant.padding, variant.ragged, variant.shape))
    return _in_processes(_compile, [(list(group), tuple(targets)) for _, group in alike], interpret=False)


def counted(variants: Iterable[Variant]) -> Iterator[tuple[Variant, Row]]:
    """Yield each variant with the bytes that it reads and writes, and their floor, per byte of the result."""
    alike: dict[Variant, list[Variant]] = {}
    for variant in variants:  # of a dtype, only its size matters; COUNTED replaces frames and channels
        alike.setdefault(replace(variant, dtype=f"{variant.itemsize} bytes", frames=0, channels=0), []).append(variant)
    groups = {group[0]: group for group in alike.values()}
    for first, row in _in_processes(_count, [([first],) for first in groups], interpret=True):
        yield from ((variant, row) for variant in groups[first])


def goals_of(rows: dict[Variant, Row]) -> list[Goal]:
    """Bounds on the number of binaries or variants that violate a requirement, on idle lanes, and on instructions."""
    binaries = [binary for row in rows.values() for binary in row["targets"].values()]
    channels_last = [
        b for variant, row in rows.items() if variant.layout == LAYOUTS[0] for b in row["targets"].values()
    ]
    packed = [
        binary["instructions_per_16_bytes"]
        for variant, row in rows.items()
        if variant.layout == LAYOUTS[1]
        and (variant.form, variant.padding, variant.ragged) == ("plain", "zeros", "whole")
        for binary in row["targets"].values()
    ]
    over = [any(b[kind] > b[f"floor_{kind}"] for kind in ("read", "written")) for b in _bytes(rows)]
    narrow = [min([*b["loads"], *b["stores"]]) < MIN_WIDTH for b in channels_last]
    return [
        _none("that spill a register", "binaries", [binary["spills"] > 0 for binary in binaries]),
        _none(
            f"with more than {MAX_REGISTERS} registers", "binaries", [b["registers"] > MAX_REGISTERS for b in binaries]
        ),
        _none(f"with an access of less than {MIN_WIDTH} bits, (B, L, D)", "binaries", narrow),
        Goal("largest share of idle lanes, %", max(100 * row["idle"] for row in rows.values()), MAX_IDLE),
        Goal("most instructions per 16 bytes, zeros, whole, (B, D, L)", max(packed), MAX_INSTRUCTIONS),
        _none("that read or write a byte above the floor", "kernels", over),
    ]


def _bytes(rows: dict[Variant, Row]) -> list[Row]:
    return [row["bytes"] for row in rows.values()]


def _none(which: str, things: str, found: list[bool]) -> Goal:
    return Goal(f"of {len(found)} {things}, those {which}", sum(found), 0)


def _bandwidth_times(variant: Variant) -> Row:
    floor = variant.floor([variant.frames] * 32, variant.frames, variant.channels, 1)
    return {"microseconds": {target: (floor.read + floor.written) / (of * 1e3) for target, of in BANDWIDTH.items()}}


def _compile(variants: list[Variant], targets: tuple[str, ...]) -> list[tuple[Variant, Row]]:
    from ..measure.kernels import binaries

    def row(variant: Variant) -> Row:
        sequences = [variant.frames] * 8
        sizes = variant.frames, variant.channels, 1, "meta"
        launch = binaries.launch_of(lambda backend: variant.call(backend, sequences, *sizes))
        found = {}
        for target in targets:
            figures = asdict(binaries.read(launch.compile(target)))
            accesses = launch.elements_per_thread(target) * variant.itemsize / 16
            found[target] = {**figures, "instructions_per_16_bytes": figures["instructions"] / accesses}
        tile = [launch.constants[name] for name in ("BLOCK", "VECTOR", "PACK")]
        idle = 1 - 8 * variant.frames * variant.channels / (launch.grid[0] * math.prod(tile))
        return {"tile": tile, "idle": idle, "targets": found}

    return [(variant, row(variant)) for variant in variants]


def _count(variants: list[Variant]) -> list[tuple[Variant, Row]]:
    found = []
    for variant in variants:
        sequences = COUNTED_SEQUENCES[variant.ragged]
        counted, floor = traffic(variant, sequences, **COUNTED), variant.floor(sequences, **COUNTED)
        sizes = {"read": counted.read, "written": counted.written, "index": counted.index}
        sizes |= {"floor_read": floor.read, "floor_written": floor.written}
        found.append((variant, {"bytes": {kind: size / floor.written for kind, size in sizes.items()}}))
    return found


def _in_processes(work: Any, arguments: list[tuple[Any, ...]], *, interpret: bool) -> Iterator[tuple[Variant, Row]]:
    """Run ``work`` in new processes, because Triton reads TRITON_INTERPRET on import. Yield each finished result."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {"TRITON_INTERPRET": str(int(interpret)), "TRITON_CACHE_DIR": cache}
        spawn = multiprocessing.get_context("spawn")
        workers = min(os.cpu_count() or 1, 8)
        with ProcessPoolExecutor(workers, spawn, initializer=_prepare, initargs=(environment,)) as pool:
            for done in as_completed([pool.submit(work, *these) for these in arguments]):
                yield from done.result()


def _prepare(environment: dict[str, str]) -> None:
    os.environ.update(environment)
