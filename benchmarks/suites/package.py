"""``python -m benchmarks package``: size of the wheel, time of the import, and time until the first result.

- *Import*: of torch, and then of all layers (``temporal_shift.surgery``), in one new process, with warm file caches.
- *Wheel, sdist*: built in an environment of its own, as ``pip`` builds them.
- *First result*: from the start of the command that README gives until the quickstart's first run is on disk, its
  corpus encoded and its first model trained and tested; with ``--whole`` also until its table. Nothing is installed.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..measure.measurements import OURS, Count, Goal, Measurement

MOST_OF_IMPORT, MOST_OF_WHEEL = 1.05, 400e3
QUICKSTART = (sys.executable, "-m", "temporal_shift", "ser", "quickstart")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--imports", type=int, default=9, help="of each kind (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="wait for the quickstart's table, some minutes")
    parser.add_argument("--quick", action="store_true", help="three imports, and no quickstart")


def measure(options: argparse.Namespace) -> Iterator[Measurement | Count]:
    yield _imports(3 if options.quick else options.imports)
    yield from _distributions()
    if not options.quick:
        yield _quickstart(options.whole)


def _imports(times: int) -> Measurement:
    seconds_of("torch", "temporal_shift.surgery")  # once, so that compiled files are written and read
    samples: dict[str, list[float]] = {OURS: [], "import torch": []}
    for _ in range(times):
        torch, package = seconds_of("torch", "temporal_shift.surgery")
        samples[OURS].append(torch + package)
        samples["import torch"].append(torch)
    row = Measurement("import temporal_shift", samples, "with torch", floor="import torch")
    row.goals.append(Goal("import torch, temporal_shift / import torch", row.to_floor, MOST_OF_IMPORT))
    return row


def seconds_of(*modules: str) -> list[float]:
    """Of each import, one after another: how long the interpreter takes to start is no one's fault."""
    timed = "start = time.perf_counter()\nimport {}\nprint(time.perf_counter() - start)"
    script = "\n".join(["import time", *(timed.format(module) for module in modules)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.splitlines()]


def _distributions() -> Iterator[Count]:
    """Bytes of wheel and sdist, and what in the wheel is not the package."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--outdir", folder, "."]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
        sizes = {"wheel": wheel.stat().st_size, "sdist": sdist.stat().st_size}
        names = zipfile.ZipFile(wheel).namelist()
    strays = strays_of(names)
    goals = [
        Goal("bytes of the wheel", sizes["wheel"], MOST_OF_WHEEL),
        Goal("files in the wheel that are not the package's", len(strays), 0),
    ]
    yield Count("wheel", {"bytes": sizes["wheel"], "files": len(names)}, goals=goals)
    yield Count("sdist", {"bytes": sizes["sdist"]})


def strays_of(names: list[str]) -> list[str]:
    """What in a wheel is neither the package nor what describes it."""
    return [name for name in names if not name.startswith(("temporal_shift/", "temporal_shift-"))]


def _quickstart(whole: bool) -> Count:
    """Seconds until something is there, from an empty folder of results and an empty cache."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results"
        command = [*QUICKSTART, "--output", str(output), "--cache", str(Path(folder) / "cache")]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                waited = {"seconds until the first run": wait(process, started, output, "runs/*/*/*/run.json")}
                if whole:
                    waited["seconds until the table"] = wait(process, started, output, "metrics.json")
            finally:
                process.send_signal(signal.SIGINT)  # it stops its workers
    return Count("temporal-shift ser quickstart", waited)


def wait(process: subprocess.Popen, started: float, folder: Path, pattern: str) -> float:
    while not any(folder.glob(pattern)):
        if process.poll() is not None and not any(folder.glob(pattern)):
            raise RuntimeError(f"temporal-shift ser quickstart ended with {process.returncode} and left no {pattern}")
        time.sleep(0.05)
    return round(time.perf_counter() - started, 2)
