"""Collects the Python blocks of README.md and docs/ with Sybil, and defines the names in the examples of docstrings."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

import temporal_shift

try:
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser
except ImportError:  # without Sybil, the pages are not collected
    SYBIL = None
else:
    SYBIL = Sybil(parsers=[PythonCodeBlockParser()])

ROOT = Path(__file__).parent
HAS_RECIPE = all(find_spec(name) for name in ("pydantic", "transformers", "typer"))  # packages of the extra ser
NEED_RECIPE = {ROOT / "tests" / name for name in ("benchmarks", "project", "ser")}


def pytest_report_header() -> str | None:
    return None if HAS_RECIPE else "without the extra dev-all: tests/{benchmarks,project,ser} are not collected"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if not HAS_RECIPE and collection_path in NEED_RECIPE else None


class Page(pytest.File):
    """All Python blocks of a page are one test, because they share their variables. README's blocks share none."""

    def collect(self) -> Iterator[pytest.Item]:
        if list(SYBIL.parse(self.path)):
            yield Blocks.from_parent(self, name="python")


class Blocks(pytest.Item):
    def runtest(self) -> None:
        document = SYBIL.parse(self.path)
        try:
            for block in document:
                if self.path == ROOT / "README.md":
                    document.namespace.clear()
                block.evaluate()
        except ModuleNotFoundError as error:
            if HAS_RECIPE:
                raise
            pytest.skip(f"{error.name} is not installed")

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.relative_to(ROOT)}: Python blocks"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Page | None:
    is_page = file_path == ROOT / "README.md" or (file_path.suffix == ".md" and ROOT / "docs" in file_path.parents)
    return Page.from_parent(parent, path=file_path) if is_page and SYBIL else None


@pytest.fixture(autouse=True)
def _names_in_docstrings(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace |= {name: getattr(temporal_shift, name) for name in temporal_shift.__all__}
    doctest_namespace |= {"torch": torch, "nn": nn}
