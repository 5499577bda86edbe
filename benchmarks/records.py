"""What a benchmark leaves behind: a JSON file that says what was measured, with what, and when."""

from __future__ import annotations

import json
import os
import platform
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

FOLDER = Path("benchmarks/records")


def environment(device: str | None = None) -> dict[str, Any]:
    """Versions and date; with a device, also its name, which times are nothing without."""
    found = {"date": date.today().isoformat(), "python": platform.python_version(), "torch": torch.__version__}
    found["triton"] = _version("triton")
    if device == "cuda":
        return {**found, "device": torch.cuda.get_device_name()}
    return found if device is None else {**found, "device": _cpu(), "threads": torch.get_num_threads()}


def write(path: Path, record: dict[str, Any]) -> None:
    """Writes all of it or nothing: who reads meanwhile, or is left with an interrupted run, has the file of before."""
    fields = [f"{json.dumps(name)}: {_lines(value)}" for name, value in record.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _lines(value: Any) -> str:
    """A list with a line for each item, so that a record made anew differs where its rows do."""
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f" {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n]"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
