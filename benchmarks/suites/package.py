"""``python -m benchmarks package``: import time, size of the wheel, and time until the first result.

- *Import*: torch, then all layers (``temporal_shift.surgery``). Each sample is a new process with warm file caches.
- *Wheel, sdist*: built in an isolated environment, as ``pip`` does.
- *Installed packages*: the size of all packages that an extra requires, torch included, in the current environment.
- *First result*: from the start of ``temporal-shift ser quickstart`` until its first run is on disk. This includes
  encoding the corpus, and one run of the first model. With ``--whole``, also until ``metrics.json``. The time
  for installation is not included.
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
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..measure.measurements import OURS, Count, Goal, Measurement

MAX_IMPORT_RATIO, MAX_WHEEL_BYTES = 1.05, 410e3
EXTRAS = ("ser", "dev-all")
QUICKSTART = (sys.executable, "-m", "temporal_shift", "ser", "quickstart")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--imports", type=int, default=9, help="number of timed imports (default: %(default)s)")
    parser.add_argument(
        "--whole", action="store_true", help="also wait for the quickstart's results, which takes minutes"
    )
    parser.add_argument("--quick", action="store_true", help="three imports and no quickstart")


def measure(options: argparse.Namespace) -> Iterator[Measurement | Count]:
    """Yield every row of the table."""
    yield _imports(3 if options.quick else options.imports)
    yield from _distributions()
    sizes = {f"bytes, extra {extra}": installed_bytes(extra) for extra in EXTRAS}
    yield Count("installed packages", {name: size for name, size in sizes.items() if size})
    if not options.quick:
        yield _quickstart(options.whole)


def _imports(times: int) -> Measurement:
    seconds_of("torch", "temporal_shift.surgery")  # warm-up: writes the bytecode files
    samples: dict[str, list[float]] = {OURS: [], "import torch": []}
    for _ in range(times):
        torch, package = seconds_of("torch", "temporal_shift.surgery")
        samples[OURS].append(torch + package)
        samples["import torch"].append(torch)
    row = Measurement("import temporal_shift", samples, "with torch", floor="import torch")
    row.goals.append(Goal("import torch, temporal_shift / import torch", row.to_floor, MAX_IMPORT_RATIO))
    return row


def seconds_of(*modules: str) -> list[float]:
    """Seconds of each import in one new process, without the start of the interpreter."""
    timed = "start = time.perf_counter()\nimport {}\nprint(time.perf_counter() - start)"
    script = "\n".join(["import time", *(timed.format(module) for module in modules)])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.splitlines()]


def _distributions() -> Iterator[Count]:
    """Sizes of wheel and sdist, and the number of files in the wheel that do not belong to the package."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "build", "--outdir", folder, "."]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (wheel,), (sdist,) = Path(folder).glob("*.whl"), Path(folder).glob("*.tar.gz")
        sizes = {"wheel": wheel.stat().st_size, "sdist": sdist.stat().st_size}
        names = zipfile.ZipFile(wheel).namelist()
    strays = strays_of(names)
    goals = [
        Goal("bytes of the wheel", sizes["wheel"], MAX_WHEEL_BYTES),
        Goal("files in the wheel that are not the package's", len(strays), 0),
    ]
    yield Count("wheel", {"bytes": sizes["wheel"], "files": len(names)}, goals=goals)
    yield Count("sdist", {"bytes": sizes["sdist"]})


def strays_of(names: list[str]) -> list[str]:
    """Files of a wheel that are neither the package nor its metadata."""
    return [name for name in names if not name.startswith(("temporal_shift/", "temporal_shift-"))]


def installed_bytes(extra: str) -> int | None:
    """Size of all packages that temporal-shift requires with one extra, torch included; None if one is missing."""
    waiting, found = [Requirement(f"temporal-shift[{extra}]")], set()
    while waiting:
        asked = waiting.pop()
        extras = asked.extras or {""}
        try:
            needs = distribution(asked.name).requires or ()
        except PackageNotFoundError:
            return None
        for need in map(Requirement, needs):
            if need.marker is None or any(need.marker.evaluate({"extra": name}) for name in extras):
                key = (canonicalize_name(need.name), frozenset(need.extras))
                if key not in found:
                    found.add(key)
                    waiting.append(need)
    paths = [path for name in {name for name, _ in found} for path in distribution(name).files or ()]
    return sum(path.locate().stat().st_size for path in paths if path.locate().exists())


def _quickstart(whole: bool) -> Count:
    """Seconds until the first run and, if ``whole``, until all results, with an empty cache and output folder."""
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
                process.send_signal(signal.SIGINT)  # also stops its workers
    return Count("temporal-shift ser quickstart", waited)


def wait(process: subprocess.Popen, started: float, folder: Path, pattern: str) -> float:
    """Return the seconds from ``started`` until a file in ``folder`` matches ``pattern``.

    Raises:
        RuntimeError: If the process ends before such a file exists.
    """
    while not any(folder.glob(pattern)):
        if process.poll() is not None and not any(folder.glob(pattern)):
            raise RuntimeError(
                f"temporal-shift ser quickstart exited with {process.returncode} before it wrote {pattern}"
            )
        time.sleep(0.05)
    return round(time.perf_counter() - started, 2)
