"""One module a corpus: a folder as its publishers laid it out -> a :class:`~temporal_shift.ser.manifest.Manifest`.

A corpus without a module is a manifest file, which anyone can write.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import config
from ..errors import RecipeError
from ..manifest import Manifest, read_manifest
from .iemocap import read_iemocap

READERS: dict[str, Callable[[Path], Manifest]] = {"iemocap": read_iemocap, "manifest": read_manifest}


def read_corpus(corpus: config.Corpus) -> Manifest:
    """Read the corpus with the reader that the experiment names.

    Raises:
        RecipeError: If the corpus is not as its reader needs it, or has ``labels`` where the reader has its own.
    """
    if corpus.reader == "manifest":
        return read_manifest(corpus.path, corpus.labels)
    if corpus.labels is not None:
        raise RecipeError(f"corpus.labels is for the reader manifest: {corpus.reader} has its own, leave them out")
    return READERS[corpus.reader](corpus.path)
