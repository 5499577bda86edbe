"""``python -m benchmarks gpu``: run tests and benchmarks on a GPU, by default in at most ten minutes.

Requires only torch, triton, numpy, pytest and hypothesis. Each step runs in a new process, so a step that fails,
crashes or times out does not stop the others. The record and the page are rewritten after each step.
"""

from __future__ import annotations

import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import torch

from temporal_shift.ser.utils.atomic_files import atomic_write
from temporal_shift.ser.utils.table import Table

from .measure import record_file
from .measure.devices import INTERPRETER
from .measure.measurements import Line, of_kind
from .report import tables

OUT = Path("results/gpu")
PASSED, NOT_INSTALLED = "passed", "not installed"
KEPT_LINES = 40  # last lines of a failed step's output, shown on the page
_PYTEST = (
    *("-m", "pytest", "-o", "addopts=", "-o", "faulthandler_timeout=90", "-p", "no:cacheprovider"),
    *("-v", "-rfE", "--tb=short", "--durations=3"),
)
_SUMMARY = re.compile(
    r"^=*\s*((?:\d+ (?:passed|failed|skipped|errors?|deselected|warnings?)(?:, )?)+ in [\d.]+s.*?)=*$"
)


@dataclass
class Step:
    """A command and its outcome."""

    name: str
    command: list[str]
    limit: float  # seconds
    record: str | None = None  # file name
    environment: dict[str, str] = field(default_factory=dict)  # additional variables
    outcome: str = ""  # a step that already has an outcome does not run
    seconds: float = 0.0
    output: list[str] = field(default_factory=list)

    def line(self) -> Line:
        details = [text for text in self.output if text.startswith(("FAILED ", "ERROR ")) or _SUMMARY.match(text)]
        return {
            "what": self.name,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 1),
            "command": " ".join(Path(part).name if Path(part).is_absolute() else part for part in self.command),
            "details": details,
        }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder for the record and the page (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=float, default=9.5, help="time limit for all steps together (default: %(default)s)"
    )
    parser.add_argument("--steps", nargs="+", metavar="STEP", help=f"steps to run: {', '.join(STEPS)} (default: all)")
    parser.add_argument(
        "--interpret",
        action="store_true",
        help="try the command without a GPU: Triton's interpreter and small inputs; the times mean nothing",
    )
    options = parser.parse_args(argv)
    if unknown := set(options.steps or ()) - STEPS.keys():
        parser.error(f"--steps must be among {', '.join(STEPS)}, got {', '.join(sorted(unknown))}")
    if not options.minutes > 0:  # also nan
        parser.error(f"--minutes must be greater than 0, got {options.minutes:g}")
    if not options.interpret and not torch.cuda.is_available():
        parser.error("torch.cuda.is_available() is False; use --interpret to try the command without a GPU")
    record_file.make_folder(options.out, parser)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # runs the finally blocks, which end the step
    started = time.monotonic()
    device = INTERPRETER if options.interpret else "cuda"
    environment = {**record_file.environment(device), "driver": _driver()}
    steps = [step for name in options.steps or STEPS for step in STEPS[name](device, options.out)]
    say = Clock(started)
    say(f"{environment['device']}, torch {torch.__version__}, steps: {len(steps)}, time limit: {options.minutes:g} min")
    done: list[Step] = []
    for step in steps:
        done.append(step)
        try:
            _run(step, 60 * options.minutes - (time.monotonic() - started), options.out, say)
        finally:  # also when the run is interrupted
            step.outcome = step.outcome or "stopped"
            _write(options.out, environment, done, say)
    failed = [step.name for step in done if step.outcome not in (PASSED, NOT_INSTALLED)]
    passed = sum(step.outcome == PASSED for step in done)
    say(f"steps: {len(done)} (passed: {passed}, not passed: {len(failed)}); results: {options.out / 'gpu'}.*")
    if failed:
        sys.exit(f"steps that did not pass: {', '.join(failed)}")


class Clock:
    """Prints lines with the time since the start, unbuffered."""

    def __init__(self, started: float) -> None:
        self._started = started

    def __call__(self, text: str) -> None:
        line = f"[{time.monotonic() - self._started:6.1f} s] {text}"
        print(line.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding), flush=True)


def _gpu_tests(device: str, out: Path) -> list[Step]:
    return [Step("tests of the GPU", [sys.executable, *_PYTEST, "-m", "gpu", "tests/core/test_gpu.py"], 150)]


def _triton_tests(device: str, out: Path) -> list[Step]:
    few = ["-k", "rounded_once or 32_bits"] if device == INTERPRETER else []
    return [Step("tests of the kernels", [sys.executable, *_PYTEST, *few, "tests/core/test_triton.py"], 120)]


def _bounds(device: str, out: Path) -> list[Step]:
    return [Step("odd bounds", [sys.executable, "-m", "benchmarks.measure.odd_bounds", device], 45)]


def _sanitizer(device: str, out: Path) -> list[Step]:
    tool = _compute_sanitizer()
    script = [sys.executable, "-m", "benchmarks.measure.odd_bounds", device]
    # a caching allocator would hide accesses beyond the end of a tensor
    environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    steps = []
    for name in ("memcheck", "racecheck"):
        command = [tool or "compute-sanitizer", "--tool", name, "--error-exitcode", "9", *script]
        steps.append(Step(name, command, 60, environment=environment, outcome="" if tool else NOT_INSTALLED))
    return steps


def _suite(suite: str, limit: float) -> Callable[[str, Path], list[Step]]:
    def steps(device: str, out: Path) -> list[Step]:
        name = "stubbed" if suite == "host" and device == INTERPRETER else device
        command = [sys.executable, "-m", "benchmarks", suite, "--device", name, "--partial", "--out", str(out)]
        command += ["--quick"] if device == INTERPRETER else []
        return [Step(suite, command, limit, record=f"{suite}-{name}.jsonl")]

    return steps


STEPS: dict[str, Callable[[str, Path], list[Step]]] = {
    "tests": _gpu_tests,
    "kernels": _triton_tests,
    "bounds": _bounds,
    "sanitizer": _sanitizer,
    "host": _suite("host", 45),
    "op": _suite("op", 150),
    "layers": _suite("layers", 75),
    "training": _suite("training", 120),
}


def _compute_sanitizer() -> str | None:
    places = [os.environ.get("CUDA_HOME", "/usr/local/cuda"), *sorted(glob.glob("/usr/local/cuda-*"), reverse=True)]
    paths = ["compute-sanitizer", *(f"{place}/bin/compute-sanitizer" for place in places)]
    return next((found for path in paths if (found := shutil.which(path))), None)


def _driver() -> str | None:
    """GPU name, driver version, memory and power limit from ``nvidia-smi``, or ``None`` if it fails."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _run(step: Step, left: float, out: Path, say: Clock) -> None:
    """Run a step, print its output and write it to a log file.

    A step does not run if it has an outcome or less than 5 s are left.
    """
    if not step.outcome and left < 5:
        step.outcome = "no time left"
    if step.outcome:
        say(f"{step.name}: {step.outcome}")
        return
    limit, started = min(step.limit, left), time.monotonic()
    say(f"{step.name}: {' '.join(step.command)}")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", **step.environment}
    environment.pop("TRITON_INTERPRET", None)
    if INTERPRETER in step.command or ("pytest" in step.command and not torch.cuda.is_available()):
        environment["TRITON_INTERPRET"] = "1"
    process = subprocess.Popen(
        step.command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    reader = threading.Thread(target=_read, args=(process.stdout, step, say), daemon=True)
    reader.start()
    try:
        process.wait(limit)
        step.outcome = PASSED if process.returncode == 0 else f"failed, exit status {process.returncode}"
    except subprocess.TimeoutExpired:
        step.outcome = f"stopped after {limit:.0f} s"
    finally:
        _end(process)
        reader.join(5)
        step.seconds = time.monotonic() - started
    slug = step.name.replace(" ", "-")
    (out / f"{slug}.log").write_text("\n".join(step.output) + "\n", encoding="utf-8")
    say(f"{step.name}: {step.outcome} in {step.seconds:.1f} s")


def _read(lines: IO[str], step: Step, say: Clock) -> None:
    for text in lines:
        step.output.append(text.rstrip())
        say(f"  {text.rstrip()}")


def _end(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM to the process group of the step, and SIGKILL when the step has ended, or after 5 s."""
    for ending, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, ending)
            process.wait(patience)
        except (ProcessLookupError, PermissionError):
            return
        except subprocess.TimeoutExpired:
            continue


def _write(out: Path, environment: Line, done: list[Step], say: Clock) -> None:
    """Write the record and the page of the steps so far."""
    lines = [{"suite": "gpu", "kind": "step", **environment, **step.line()} for step in done]
    of_suites = {step.name: found for step in done if (found := _lines_of(out, step))}
    record_file.write(out / "gpu.jsonl", [*lines, *(line for found in of_suites.values() for line in found)])
    try:
        page = page_of(environment, done, of_suites)
    except Exception as error:  # keep the record even if the page fails
        say(f"the page was not written: {error!r}")
        return
    with atomic_write(out / "gpu.md") as file:
        file.write(page.encode())


def _lines_of(out: Path, step: Step) -> list[Line]:
    path = out / (step.record or "none")
    return record_file.read(path) if path.is_file() else []


def page_of(environment: Line, done: list[Step], of_suites: dict[str, list[Line]]) -> str:
    """Markdown with the machine, the steps, the last output of failed steps, and the tables of each suite."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    parts = [
        "# On a GPU",
        f"{environment['device']}. {versions}. Commit {environment['commit']}, {environment['date']}."
        + (f" Driver: {environment['driver']}." if environment["driver"] else ""),
        Table(("step", "seconds", "outcome", ""), [_cells(step) for step in done]).markdown(),
    ]
    for step in done:
        if step.outcome not in (PASSED, NOT_INSTALLED) and step.output:
            end = "\n".join(step.output[-KEPT_LINES:]).replace("```", "'''")
            parts.append(f"## Last output of {step.name}\n\n```text\n{end}\n```")
    for name, lines in of_suites.items():
        goals = of_kind(lines, "goal")
        held = sum(goal["held"] for goal in goals)
        parts.append(f"## {name}\n\nGoals met: {held} of {len(goals)}.")
        if name == "op":
            parts.append(f"In brackets: ours / floor, and {tables.PEER} / ours, where measured.")
        elif name == "layers":
            parts.append("In brackets: ours / floor, where measured.")
        parts += [table.markdown() for table in tables.of_suite(lines)]
    return "\n\n".join(parts) + "\n"


def _cells(step: Step) -> tuple[str, ...]:
    summaries = [found[1].strip() for text in step.output if (found := _SUMMARY.match(text))]
    return (step.name, f"{step.seconds:.1f}", step.outcome, summaries[-1] if summaries else "")
