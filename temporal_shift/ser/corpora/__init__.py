"""Corpora as their publishers distribute them -> a :class:`~temporal_shift.ser.corpora.manifest.Manifest`.

A corpus without a module is a table or a folder with a pattern, or a manifest file, which anyone can write.
"""

from __future__ import annotations

from collections.abc import Callable

from .. import config
from ..utils.errors import RecipeError
from .manifest import Manifest, read_manifest
from .published_counts import PublishedCounts
from .readers import cremad, emobox, emodb, folder, iemocap, ravdess, table

READERS: dict[str, Callable[[config.Corpus], Manifest]] = {
    "iemocap": lambda corpus: iemocap.read_iemocap(corpus.path, corpus.label_map),
    "ravdess": ravdess.read_ravdess,
    "cremad": cremad.read_cremad,
    "emodb": emodb.read_emodb,
    "emobox": emobox.read_emobox,
    "table": table.read_table,
    "folder": folder.read_folder,
    "manifest": lambda corpus: read_manifest(corpus.path, corpus.labels),
}

PUBLISHED: dict[str, PublishedCounts] = {  # under the corpora's own label maps
    "iemocap": iemocap.PUBLISHED,
    "ravdess": ravdess.PUBLISHED,
    "cremad": cremad.PUBLISHED,
    "emodb": emodb.PUBLISHED,
}


def read_corpus(corpus: config.Corpus) -> Manifest:
    """Read the corpus with the reader that the experiment names.

    Raises:
        RecipeError: If the corpus is not as its reader needs it, or has ``labels`` where the reader has its own.
    """
    if corpus.labels is not None and corpus.reader != "manifest":
        raise RecipeError(f"corpus.labels is for the reader manifest: {corpus.reader} has its own, leave them out")
    return READERS[corpus.reader](corpus)
