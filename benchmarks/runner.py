"""Run suites: measure, print the tables, and write the record, the tables and the plots."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import torch

from .measure import devices, record_file
from .measure.devices import INTERPRETER
from .measure.measurements import Line
from .report import tables

SUITES = ("op", "layers", "kernels", "host", "recipe", "package")  # the suites that `all` runs
OUT = Path("results/benchmarks")


def run(suite: str, argv: list[str]) -> None:
    """Run one suite in this process, with the command-line options ``argv``."""
    module = import_module(f"benchmarks.suites.{suite}")
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {suite}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    _add_out(parser)
    parser.add_argument("--partial", action="store_true", help="rewrite the record after each row")
    options = parser.parse_args(argv)
    device = getattr(options, "device", None)
    if device == "cuda" and not torch.cuda.is_available():
        other = parser.get_default("device")
        parser.error(f"--device cuda requires a GPU, but torch.cuda.is_available() is False; use --device {other}")
    if device == INTERPRETER and not devices.is_interpreting():
        parser.error("--device interpreter requires TRITON_INTERPRET=1 in the environment")
    record_file.make_folder(options.out, parser)
    name = suite if device is None else f"{suite}-{device}"
    environment = {"suite": suite, **record_file.environment(device or "cpu")}
    rows, goals = [], []
    started = time.monotonic()
    for found in module.measure(options):
        rows.append({"suite": suite, "kind": found.kind, **environment, **found.line()})
        goals += [{"kind": "goal", **environment, **goal.line()} for goal in found.goals]
        what = ", ".join(filter(None, (found.what, found.setting, rows[-1].get("timer"))))
        print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)
        if options.partial:
            record_file.write(options.out / f"{name}.jsonl", [*rows, *goals])
    lines = [*rows, *goals]
    _print_tables(lines)
    record_file.write(options.out / f"{name}.jsonl", lines)
    tables.write(options.out / f"{name}.md", lines)
    _draw(options.out, name, lines)
    held = sum(goal["held"] for goal in goals)
    print(f"goals met: {held} of {len(goals)}; results: {options.out / name}*")


def _print_tables(lines: list[Line]) -> None:
    try:
        from rich.console import Console
    except ImportError:
        print("\n\n".join(table.markdown() for table in tables.of_suite(lines)))
        return
    console = Console(width=max(Console().width, 160))  # the tables are wide
    for table in tables.of_suite(lines):
        console.print(table.for_terminal(), "")


def _draw(folder: Path, name: str, lines: list[Line]) -> None:
    try:
        from .report import plots
    except ImportError as error:
        print(f"the plots were not drawn: {error}")
        return
    plots.write(folder, name, lines)


def run_all(argv: list[str]) -> None:
    """Run the suites op, layers, kernels, host, recipe and package, each in a new process, until one fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks all", description=run_all.__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds, for a test: the figures mean nothing"
    )
    _add_out(parser)
    options = parser.parse_args(argv)
    record_file.make_folder(options.out, parser)
    started = time.monotonic()
    for suite in SUITES:
        given = ["--out", str(options.out), *(["--quick"] if options.quick else [])]
        if status := subprocess.run([sys.executable, "-m", "benchmarks", suite, *given]).returncode:
            sys.exit(f"python -m benchmarks {suite} failed with exit status {status}; later suites did not run")
    print(f"finished in {(time.monotonic() - started) / 60:.1f} min; results: {options.out}")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder for the record, tables and plots (default: %(default)s)"
    )
