"""What ``temporal-shift env`` prints: the versions and devices that a bug report needs.

The command works without any extra.
"""

from __future__ import annotations

import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

from . import __version__
from ._extras import packages_of_extras

_FOR_DEVELOPERS = {"dev", "dev-all", "docs", "test"}


def report() -> str:
    """Return the environment as text, with a name and a value in each line."""
    rows = {
        "temporal-shift": __version__,
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
    }
    try:
        import torch
    except Exception as error:  # report a broken installation, too
        rows["PyTorch"] = f"cannot be imported: {_one_line(error)}"
    else:
        rows |= {"PyTorch": torch.__version__, **_gpus(torch), "Triton": _triton(torch)}
    for extra, packages in packages_of_extras().items():
        if extra not in _FOR_DEVELOPERS:
            rows[f"extra {extra}"] = _installed(packages)
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows.items())


def _gpus(torch: ModuleType) -> dict[str, str]:
    rocm = torch.version.hip
    platform = f"ROCm {rocm}" if rocm else f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA, no ROCm"
    try:
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except Exception as error:
        names = [f"cannot be used: {_one_line(error)}"]
    return {"GPU platform": platform, "GPU": ", ".join(names) or "none"}


def _triton(torch: ModuleType) -> str:
    """Describe Triton: its version, and the GPUs on which it can compile and launch a kernel, or what is missing."""
    if find_spec("triton") is None:
        return "not installed"
    try:
        import triton

        if not torch.cuda.is_available():
            return f"{triton.__version__}, not used without a GPU"
        from .core.triton.probe import works_on

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            devices = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
            working = [str(device) for device in devices if works_on(device)]
    except Exception as error:
        return f"does not work: {_one_line(error)}"
    state = [f"works on {', '.join(working)}"] if working else []
    return ", ".join([triton.__version__, *state, *(" ".join(str(each.message).split()) for each in caught)])


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _installed(packages: list[str]) -> str:
    installed, missing = [], []
    for name in packages:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return "; ".join(filter(None, (", ".join(installed), f"missing: {', '.join(missing)}" * bool(missing))))
