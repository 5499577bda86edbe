"""Documentation is executed: the docstrings' examples by pytest's doctest, README's and the pages' Python by Sybil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import temporal_shift

try:
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser
except ImportError:  # the pages are not collected then
    SYBIL = None
else:
    SYBIL = Sybil(parsers=[PythonCodeBlockParser()])

ROOT = Path(__file__).parent


class Page(pytest.File):
    """A page is one test: its blocks share their names, and must not be parted between two processes."""

    def collect(self) -> Iterator[pytest.Item]:
        if list(SYBIL.parse(self.path)):
            yield Blocks.from_parent(self, name="python")


class Blocks(pytest.Item):
    def runtest(self) -> None:
        for block in SYBIL.parse(self.path):
            block.evaluate()

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.relative_to(ROOT)}: its Python"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Page | None:
    is_page = file_path == ROOT / "README.md" or (file_path.suffix == ".md" and ROOT / "docs" in file_path.parents)
    return Page.from_parent(parent, path=file_path) if is_page and SYBIL else None


@pytest.fixture(autouse=True)
def _names_in_docstrings(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace |= {name: getattr(temporal_shift, name) for name in temporal_shift.__all__}
    doctest_namespace |= {"torch": torch, "nn": nn}
