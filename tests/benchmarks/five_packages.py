"""An environment that hides packages that ``python -m benchmarks gpu`` does not require."""

from __future__ import annotations

import os
from pathlib import Path

REFUSED = (
    *("accelerate", "datasets", "einops", "gradio", "jinja2", "matplotlib", "onnx", "onnxruntime", "onnxscript"),
    *("pandas", "pooch", "pydantic", "ray", "requests", "rich", "safetensors", "scipy", "sklearn", "sounddevice"),
    *("soundfile", "soxr", "starlette", "sybil", "tensorboard", "transformers", "typer", "x_transformers", "xdist"),
    "yaml",
)
HIDING = f"""
from importlib.machinery import PathFinder

find = PathFinder.find_spec

def find_spec(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in {REFUSED} else find(name, path, target)

PathFinder.find_spec = classmethod(find_spec)
"""


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a process that cannot import ``REFUSED``. Writes ``sitecustomize.py`` to ``folder``."""
    (folder / "sitecustomize.py").write_text(HIDING)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRITON_INTERPRET", "PYTEST_"))}
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
