"""Documentation is executed: the docstrings' examples by pytest's doctest, README's and the pages' Python by Sybil."""

from __future__ import annotations

import pytest
import torch
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from torch import nn

import temporal_shift

PAGES = ["README.md", "docs/*.md", "docs/*/*.md"]  # a star is no slash here

pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=PAGES).pytest()


@pytest.fixture(autouse=True)
def _names_in_docstrings(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace |= {name: getattr(temporal_shift, name) for name in temporal_shift.__all__}
    doctest_namespace |= {"torch": torch, "nn": nn}
