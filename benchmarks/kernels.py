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
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from . import records
from .variants import LAYOUTS, Variant, every_variant, traffic

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


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks kernels", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=records.FOLDER / "kernels.json", help="default: %(default)s")
    options = parser.parse_args(argv)
    console = Console(width=max(Console().width, 165))  # what the tables take
    variants = every_variant()
    rows = {variant: {**asdict(variant), **_bandwidth_times(variant)} for variant in variants}
    for variant, row in _followed(console, "Compiling", compiled(variants), len(variants)):
        rows[variant] |= row
    for variant, row in _followed(console, "Counting bytes", counted(variants), len(variants)):
        rows[variant] |= row
    found = list(rows.values())
    goals = goals_of(found)
    console.print(*(_table(layout, [row for row in found if row["layout"] == layout]) for layout in LAYOUTS))
    console.print(_table_of_goals(goals))
    records.write(options.json, {**records.environment(), "goals": goals, "rows": found})
    console.print(f"{sum(goal['held'] for goal in goals)} of {len(goals)} goals held; record: {options.json}")


def compiled(variants: Iterable[Variant], targets: Iterable[str] = TARGETS) -> Iterator[tuple[Variant, Row]]:
    """Each variant with its tile and, for each target, the figures of :class:`.binary.Binary`."""
    alike = groupby(variants, lambda variant: (variant.form, variant.padding, variant.ragged, variant.layout))
    return _in_processes(_compile, [(list(group), tuple(targets)) for _, group in alike], interpret=False)


def counted(variants: Iterable[Variant]) -> Iterator[tuple[Variant, Row]]:
    """Each variant with the bytes that it reads and writes, and their floor, for each element that is written."""
    return _in_processes(_count, [([variant],) for variant in variants], interpret=True)


def goals_of(rows: list[Row]) -> list[Row]:
    """What must hold of every kernel, and how far it does."""
    binaries = [binary for row in rows for binary in row["targets"].values()]
    registers = max(binary["registers"] for binary in binaries)
    last = [row for row in rows if row["layout"] == LAYOUTS[0]]
    over = sum(row["bytes"][kind] > row["bytes"][f"floor_{kind}"] for row in rows for kind in ("read", "written"))
    return [
        _all("no register is spilled", [binary["spills"] == 0 for binary in binaries]),
        {
            **_all(f"at most {MOST_REGISTERS} registers", [b["registers"] <= MOST_REGISTERS for b in binaries]),
            "most": registers,
        },
        _all("128-bit loads, (B, L, D)", _wide(last, "loads")),
        _all("128-bit stores, (B, L, D)", _wide(last, "stores")),
        {"what": "no byte above the floor", "of": len(rows), "missed": over, "held": over == 0},
    ]


def _wide(rows: list[Row], kind: str) -> list[bool]:
    return [set(binary[kind]) == {WIDEST} for row in rows for binary in row["targets"].values()]


def _all(what: str, held: list[bool]) -> Row:
    return {"what": what, "of": len(held), "missed": held.count(False), "held": all(held)}


def _bandwidth_times(variant: Variant) -> Row:
    floor = variant.floor([374] * 32, 374, CHANNELS, 1)
    moved = (floor.read + floor.written) * variant.itemsize
    return {"microseconds": {target: moved / (speed * 1e3) for target, speed in BANDWIDTH.items()}}


def _compile(variants: list[Variant], targets: tuple[str, ...]) -> list[tuple[Variant, Row]]:
    from . import binary

    def row(variant: Variant) -> Row:
        frames = FRAMES[variant.layout]
        launch = binary.launch_of(lambda backend: variant.call(backend, [frames] * 8, frames, CHANNELS, 1, "meta"))
        found = {}
        for target in targets:
            figures = asdict(binary.read(launch.compile(target)))
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


def _followed(console: Console, what: str, results: Iterator[tuple[Variant, Row]], total: int) -> Iterator[Any]:
    yield from track(results, what, total=total, console=console)


def _table(layout: str, rows: list[Row]) -> Table:
    """A row for each variant and the dtypes whose figures are the same."""
    targets = "/".join(TARGETS)
    table = Table(title=f"{layout}, each figure for {targets}", padding=(0, 1, 0, 0), box=None, show_edge=False)
    for name in ("kernel", "padding", "ends", "dtype", "registers", "spills", "shared, B", "loads, bits"):
        table.add_column(name, no_wrap=True)
    for name in ("stores, bits", "instr. / 16 B", "B/element", "floor", "µs at bandwidth"):
        table.add_column(name, no_wrap=True)
    cells: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        cells.setdefault(_cells(row), []).append(row["dtype"].replace("float", "f"))
    for (form, padding, ragged, *others), dtypes in cells.items():
        table.add_row(form, padding, ragged, " ".join(dtypes), *others)
    return table


def _cells(row: Row) -> tuple[str, ...]:
    binaries, touched = row["targets"].values(), row["bytes"]
    return (
        *(row[key] for key in ("form", "padding", "ragged")),
        "/".join(str(binary["registers"]) for binary in binaries),
        _same("/".join(str(binary["spills"]) for binary in binaries)),
        _same("/".join(str(binary["shared"]) for binary in binaries)),
        _same("/".join(_range(binary["loads"]) for binary in binaries)),
        _same("/".join(_range(binary["stores"]) for binary in binaries)),
        "/".join(f"{binary['instructions_per_16_bytes']:.0f}" for binary in binaries),
        f"{touched['read']:.2f}+{touched['written']:.2f}",
        f"{touched['floor_read'] + touched['floor_written']:.2f}",
        "/".join(f"{time:.0f}" for time in row["microseconds"].values()),
    )


def _same(figures: str) -> str:
    """One figure where all targets have the same."""
    different = set(figures.split("/"))
    return different.pop() if len(different) == 1 else figures


def _range(widths: dict[int, int]) -> str:
    return str(min(widths)) if len(widths) == 1 else f"{min(widths)}-{max(widths)}"


def _table_of_goals(goals: list[Row]) -> Table:
    table = Table("goal", "missed by", "most", "", title="Goals")
    for goal in goals:
        verdict = "held" if goal["held"] else "[bold red]MISSED[/]"
        table.add_row(goal["what"], f"{goal['missed']} of {goal['of']}", str(goal.get("most", "")), verdict)
    return table
