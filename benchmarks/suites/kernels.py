"""``python -m benchmarks kernels``: what the GPU kernels compile to, without a GPU, and what they read and write.

Every variant is compiled for each target as a launch on aligned tensors would compile it: eight sequences, 768
channels, ``n_div=4`` both ways, and 374 frames, or 384 where time is innermost, so that its rows are aligned as well.

- *Access width*: a goal where channels are neighbours in memory. Where frames are, a shift by one frame is not aligned
  to 16 bytes, and how many frames there are is no constant of a kernel: neighbouring threads then access neighbouring
  elements, one each.
- *Instructions per 16 bytes*: those of the kernel's text, run or not and each loop once, over what a thread writes of
  one tile, in units of 16 bytes.
- *Bytes*: for each element that is written, counted over several tiles in Triton's interpreter. The floor is each value
  read once where it is needed and each result written once; what says where sequences end is counted apart.
- *Microseconds at full bandwidth*: the floor's bytes for ``(32, 374, 768)``, at the bandwidth of the data sheet.
"""

from __future__ import annotations

import argparse
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
CHANNELS, FRAMES = 768, {"(B, L, D)": 374, "(B, D, L)": 384}
# Several tiles along both dims, the last not full; one sequence is shorter than the stride, one empty.
COUNTED = {"frames": 70, "channels": 72, "stride": 3}
COUNTED_SEQUENCES = {"whole": [70, 70], "lengths": [70, 31, 2, 0], "packed": [60, 0, 2, 65]}
MOST_REGISTERS = 40
WIDEST = 128

Row = dict[str, Any]


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a variant of each layout, for two of the targets")


def measure(options: argparse.Namespace) -> Iterator[Count]:
    """A line for each variant, with its figures for each target; the goals are of all of them."""
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
        setting = f"{variant.padding}, {variant.ragged}, {variant.layout}"
        shape = (8, FRAMES[variant.layout], CHANNELS)
        yield Count(variant.form, figures, setting, shape, variant.dtype, goals)
        goals = []


def compiled(variants: Iterable[Variant], targets: Iterable[str] = TARGETS) -> Iterator[tuple[Variant, Row]]:
    """Each variant with its tile and, for each target, the figures of :class:`.binaries.Binary`."""
    alike = groupby(variants, lambda variant: (variant.form, variant.padding, variant.ragged, variant.layout))
    return _in_processes(_compile, [(list(group), tuple(targets)) for _, group in alike], interpret=False)


def counted(variants: Iterable[Variant]) -> Iterator[tuple[Variant, Row]]:
    """Each variant with the bytes that it reads and writes, and their floor, for each element that is written."""
    alike: dict[Variant, list[Variant]] = {}
    for variant in variants:  # dtypes of one size touch the same bytes
        alike.setdefault(replace(variant, dtype=f"{variant.itemsize} bytes"), []).append(variant)
    groups = {group[0]: group for group in alike.values()}
    for first, row in _in_processes(_count, [([first],) for first in groups], interpret=True):
        yield from ((variant, row) for variant in groups[first])


def goals_of(rows: dict[Variant, Row]) -> list[Goal]:
    """How many of the binaries, or of the variants, are not what every kernel must be."""
    binaries = [binary for row in rows.values() for binary in row["targets"].values()]
    last = [b for variant, row in rows.items() if variant.layout == LAYOUTS[0] for b in row["targets"].values()]
    over = [any(b[kind] > b[f"floor_{kind}"] for kind in ("read", "written")) for b in _bytes(rows)]
    fat = [binary["registers"] > MOST_REGISTERS for binary in binaries]
    return [
        _none("that spill a register", "binaries", [binary["spills"] > 0 for binary in binaries]),
        _none(f"with more than {MOST_REGISTERS} registers", "binaries", fat),
        _none(
            "with a load that is not 128 bits wide, (B, L, D)", "binaries", [set(b["loads"]) != {WIDEST} for b in last]
        ),
        _none(
            "with a store that is not 128 bits wide, (B, L, D)",
            "binaries",
            [set(b["stores"]) != {WIDEST} for b in last],
        ),
        _none("that read or write a byte above the floor", "kernels", over),
    ]


def _bytes(rows: dict[Variant, Row]) -> list[Row]:
    return [row["bytes"] for row in rows.values()]


def _none(which: str, things: str, found: list[bool]) -> Goal:
    return Goal(f"of {len(found)} {things}, those {which}", sum(found), 0)


def _bandwidth_times(variant: Variant) -> Row:
    floor = variant.floor([374] * 32, 374, CHANNELS, 1)
    moved = (floor.read + floor.written) * variant.itemsize
    return {"microseconds": {target: moved / (speed * 1e3) for target, speed in BANDWIDTH.items()}}


def _compile(variants: list[Variant], targets: tuple[str, ...]) -> list[tuple[Variant, Row]]:
    from ..measure.kernels import binaries

    def row(variant: Variant) -> Row:
        frames = FRAMES[variant.layout]
        launch = binaries.launch_of(lambda backend: variant.call(backend, [frames] * 8, frames, CHANNELS, 1, "meta"))
        found = {}
        for target in targets:
            figures = asdict(binaries.read(launch.compile(target)))
            accesses = launch.elements_per_thread(target) * variant.itemsize / 16
            found[target] = {**figures, "instructions_per_16_bytes": figures["instructions"] / accesses}
        return {"tile": [launch.constants["BLOCK_T"], launch.constants["BLOCK_C"]], "targets": found}

    return [(variant, row(variant)) for variant in variants]


def _count(variants: list[Variant]) -> list[tuple[Variant, Row]]:
    found = []
    for variant in variants:
        sequences = COUNTED_SEQUENCES[variant.ragged]
        touched, floor = traffic(variant, sequences, **COUNTED), variant.floor(sequences, **COUNTED)
        per_element = {"read": touched.read, "written": touched.written}
        per_element |= {"floor_read": floor.read, "floor_written": floor.written}
        row = {kind: elements * variant.itemsize / floor.written for kind, elements in per_element.items()}
        found.append((variant, {"bytes": {**row, "index": touched.index / floor.written}}))
    return found


def _in_processes(work: Any, arguments: list[tuple[Any, ...]], *, interpret: bool) -> Iterator[tuple[Variant, Row]]:
    """Results in no order. Whether kernels are compiled or interpreted is settled where they are imported, once."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {"TRITON_INTERPRET": str(int(interpret)), "TRITON_CACHE_DIR": cache}
        spawn = multiprocessing.get_context("spawn")
        workers = min(os.cpu_count() or 1, 8)
        with ProcessPoolExecutor(workers, spawn, initializer=_prepare, initargs=(environment,)) as pool:
            for done in as_completed([pool.submit(work, *these) for these in arguments]):
                yield from done.result()


def _prepare(environment: dict[str, str]) -> None:
    os.environ.update(environment)
