"""One module a corpus: a folder as its publishers laid it out -> a :class:`~temporal_shift.ser.manifest.Manifest`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import config
from ..manifest import Manifest
from .iemocap import read_iemocap

READERS: dict[str, Callable[[Path], Manifest]] = {"iemocap": read_iemocap}


def read_corpus(corpus: config.Corpus) -> Manifest:
    """Read the corpus with the reader that the experiment names."""
    return READERS[corpus.reader](corpus.path)
