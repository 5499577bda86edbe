"""What an import of the package loads, its public names, and what works without the extras."""

from __future__ import annotations

import ast
import json
import pickle
import pydoc
import subprocess
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from torch import nn

import temporal_shift
import temporal_shift.ser
from temporal_shift import __main__, _environment, _extras

PACKAGES = [temporal_shift, temporal_shift.ser]


def imported_by(*arguments: str) -> set[str]:
    """The top-level packages that a Python process imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def typed_imports(package: object) -> dict[str, str]:
    """The imports that type checkers read, as a dictionary from name to module."""
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


@pytest.mark.parametrize("missing", ["", "typer"])
def test_env_prints_the_versions_with_and_without_the_extra_ser(monkeypatch, capsys, missing):
    monkeypatch.setattr(sys, "argv", ["temporal-shift", "env"])
    if missing:
        for name in [name for name in sys.modules if name.startswith("temporal_shift.ser.cli")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, missing, None)
        __main__.main()
    else:
        with pytest.raises(SystemExit, match="0"):
            __main__.main()
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["temporal-shift"] == temporal_shift.__version__
    assert rows["PyTorch"] == torch.__version__
    assert rows["GPU"] == "none" or torch.cuda.is_available()
    assert rows["Python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert {"system", "GPU platform", "Triton", "extra ser", "extra onnx"} <= set(rows)
    assert f"transformers {version('transformers')}" in rows["extra ser"]


def test_env_reports_missing_packages_and_a_torch_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(_environment, "packages_of_extras", lambda: {"ser": ["numpy", "no-such-package"]})
    report = _environment.report()
    assert "cannot be imported: ModuleNotFoundError" in report
    assert f"numpy {version('numpy')}; missing: no-such-package" in report


def test_env_reports_whether_triton_works_on_each_gpu(monkeypatch):
    probe = pytest.importorskip("temporal_shift.core.triton.probe", reason="Triton is not installed")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", ["GPU A", "GPU B"].__getitem__)

    def works_on(device):
        if device.index == 1:
            warnings.warn("Triton cannot run on cuda:1: no\nC compiler", RuntimeWarning, stacklevel=2)
        return device.index == 0

    monkeypatch.setattr(probe, "works_on", works_on)
    rows = dict(line.split("  ", 1) for line in _environment.report().splitlines())
    assert rows["GPU"].strip() == "GPU A, GPU B"
    assert rows["Triton"].strip().partition(", ")[2] == "works on cuda:0, Triton cannot run on cuda:1: no C compiler"


def test_env_reports_a_gpu_that_cannot_be_initialized(monkeypatch):
    def fails(index):
        raise RuntimeError("CUDA driver\ninitialization failed")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", fails)
    assert "cannot be used: RuntimeError: CUDA driver initialization failed" in _environment.report()


VCS = {"url": "https://example.org/t.git", "vcs_info": {"vcs": "git", "commit_id": "0123abc"}}


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "temporal-shift[ser]"'),
        ({"url": "file:///t.whl", "archive_info": {}}, 'pip install "temporal-shift[ser] @ file:///t.whl"'),
        ({"url": "file:///clone", "dir_info": {}}, 'pip install "temporal-shift[ser] @ file:///clone"'),
        (VCS, 'pip install "temporal-shift[ser] @ git+https://example.org/t.git@0123abc"'),
    ],
    ids=["index", "wheel", "folder", "repository"],
)
def test_an_extra_is_installed_from_where_the_package_came(monkeypatch, tmp_path, origin, command):
    class Installed:
        read_text = staticmethod(lambda name: origin and json.dumps(origin))

    monkeypatch.setattr(_extras, "distribution", lambda name: Installed)
    assert _extras.install_command("ser", tmp_path / "temporal_shift") == command


def test_in_a_clone_an_extra_is_installed_from_the_clone(monkeypatch, tmp_path):
    clone = Path(temporal_shift.__file__).parents[1]
    monkeypatch.chdir(tmp_path)
    assert _extras.install_command("ser") == f'pip install -e "{clone}[ser]"'
    monkeypatch.chdir(clone)
    assert _extras.not_installed("typer", "ser") == 'typer is not installed: pip install -e ".[ser]"'
