"""What importing the package costs, and which names it has."""

from __future__ import annotations

import ast
import pickle
import pydoc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

import temporal_shift
import temporal_shift.ser

PACKAGES = [temporal_shift, temporal_shift.ser]


def imported_by(*arguments: str) -> set[str]:
    """The top-level packages that a Python process imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def typed_imports(package: object) -> dict[str, str]:
    """Name -> module of the imports that type checkers read."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {
        alias.name: f"{package.__name__}.{node.module or alias.name}" for node in block.body for alias in node.names
    }


def test_importing_the_package_needs_the_standard_library_only():
    assert imported_by("-c", "import temporal_shift") - sys.stdlib_module_names <= imported_by("-c", "") | {
        "temporal_shift"
    }


def test_the_layers_and_a_cpu_shift_need_torch_only_and_do_not_import_triton():
    with_torch = imported_by("-c", "import torch")
    imported = imported_by("-c", "from temporal_shift import *; import torch; temporal_shift(torch.zeros(1, 4, 8))")
    assert imported - with_torch - sys.stdlib_module_names == {"temporal_shift"}
    assert "triton" not in imported


HEAVY = {"matplotlib", "numpy", "soundfile", "torch", "transformers", "yaml"}


def test_help_imports_no_heavy_package():
    imported = imported_by("-m", "temporal_shift", "--help")
    assert "typer" in imported
    assert imported.isdisjoint({*HEAVY, "pydantic"})


@pytest.mark.parametrize("command", ["run", "prepare", "predict", "package", "live", "cache"])
def test_help_of_a_command_imports_no_heavy_package(command):
    assert imported_by("-m", "temporal_shift", "ser", command, "--help").isdisjoint(HEAVY)


def test_predict_imports_nothing_for_training_plots_or_the_demo():
    examples = Path(__file__).parents[2] / "examples"
    recording = next((examples / "quickstart" / "corpus").rglob("*.ogg"))
    model = examples / "real-speech" / "models" / "Shiftformer"
    imported = imported_by("-m", "temporal_shift", "ser", "predict", "--model", str(model), str(recording))
    assert "transformers" in imported
    assert imported.isdisjoint({"datasets", "gradio", "matplotlib", "onnx", "ray", "sklearn", "tensorboard"})


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_type_checkers_dir_and_runtime_agree_on_the_public_names(package):
    modules = typed_imports(package)
    assert set(package.__all__) <= set(modules) <= set(dir(package))
    for name, module in modules.items():
        found = import_module(module)
        assert getattr(package, name) is (found if module.endswith(f".{name}") else getattr(found, name))


def test_help_shows_every_public_name():
    plain = pydoc.plain(pydoc.render_doc(temporal_shift))
    assert all(f"class {name}(" in plain or f"{name}(" in plain for name in temporal_shift.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=rf"{package.__name__}.*TemporalShfit"):
        _ = package.TemporalShfit


def test_a_layer_from_the_package_can_be_pickled():
    layer = pickle.loads(pickle.dumps(temporal_shift.TemporalShift(nn.Linear(16, 16))))
    assert isinstance(layer, temporal_shift.TemporalShift)


def test_a_first_use_of_the_lazy_names_can_be_inside_a_compiled_function():
    script = (
        "import torch, temporal_shift\n"
        "shift = torch.compile(lambda x: temporal_shift.temporal_shift(x), fullgraph=True, backend='eager')\n"
        "assert shift(torch.ones(1, 3, 8)).sum() == 23"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_star_import_gives_the_public_names():
    names: dict[str, object] = {}
    exec("from temporal_shift import *", names)
    assert set(temporal_shift.__all__) <= set(names)
    assert torch.equal(names["temporal_shift"](torch.zeros(1, 4, 8)), torch.zeros(1, 4, 8))
