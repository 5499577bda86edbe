"""The notebook of the tour runs, has the sections of the page, and is committed without outputs."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="requires the extra dev-all")
nbclient = pytest.importorskip("nbclient", reason="requires the extra dev-all")
pytest.importorskip("ipykernel", reason="requires the extra dev-all")
pytest.importorskip("transformers", reason="requires the extra ser")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "tour.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_runs_in_its_folder_without_a_network_and_writes_no_files(notebook, tmp_path, monkeypatch):
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # parallel tests share the cores
    before = sorted(NOTEBOOK.parent.rglob("*"))
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    done = nbclient.NotebookClient(copy.deepcopy(notebook), timeout=120, resources=resources).execute()
    assert sorted(NOTEBOOK.parent.rglob("*")) == before
    pictures = [output for output in outputs(done) if "image/png" in output.get("data", {})]
    assert len(pictures) == sum("figsize" in cell.source for cell in notebook.cells) > 3


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def test_the_notebook_is_committed_without_outputs_counts_or_a_local_kernel(notebook):
    nbformat.validate(notebook)
    assert outputs(notebook) == []
    assert [cell for cell in notebook.cells if cell.get("execution_count") is not None] == []
    assert notebook.metadata.kernelspec.name == "python3"  # the name of the default kernel


def test_the_sections_of_the_notebook_match_the_page(notebook):
    page = (ROOT / "docs" / "tour.md").read_text(encoding="utf-8")
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    sections = re.findall(r"^## .*$", text, flags=re.MULTILINE)
    assert sections == re.findall(r"^## .*$", page, flags=re.MULTILINE)


def test_the_links_of_the_notebook_resolve(notebook):
    links = re.findall(
        r"\]\(([^)]+)\)", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    )
    assert len(links) > 2
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []
