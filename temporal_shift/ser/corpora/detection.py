"""The reader that fits a corpus, for ``reader: auto``."""

from __future__ import annotations

import re
from pathlib import Path

from .. import config
from ..utils.errors import RecipeError
from ..utils.text_files import read_text
from .folders import audio_files, corpus_folder
from .readers import cremad, emobox, emodb, ravdess

_NAMED = {"ravdess": ravdess.NAME, "cremad": cremad.NAME, "emodb": emodb.NAME}  # readers that go by names of files


def with_reader(corpus: config.Corpus) -> config.Corpus:
    """The corpus with the reader that its files fit; unchanged unless its reader is ``auto``.

    ==================================================  ==========================================
    path                                                reader
    ==================================================  ==========================================
    JSON lines as ``prepare`` writes them               ``manifest``
    another file                                        ``table``
    a folder with ``Session1``                          ``iemocap``
    a folder with ``label_map.json``                    ``emobox``
    a folder of recordings that all have a known name   ``ravdess``, ``cremad`` or ``emodb``
    a folder of folders of folders                      ``folder``: ``{label}/{speaker}/{name}``
    ==================================================  ==========================================

    Raises:
        RecipeError: If the path does not exist or a folder fits none of them.
    """
    if corpus.reader != "auto":
        return corpus
    found = _reader_of_file(corpus.path) if corpus.path.is_file() else _reader_of_folder(corpus.path)
    return config.Corpus.checked(**{**corpus.model_dump(exclude_unset=True), "reader": found})


def _reader_of_file(path: Path) -> str:
    first_line = read_text(path, "corpus").lstrip().partition("\n")[0]
    return "manifest" if first_line.startswith("{") and '"sha256"' in first_line else "table"


def _reader_of_folder(path: Path) -> str:
    root = corpus_folder(path)
    if any(re.fullmatch("Session[0-9]+", entry.name) and entry.is_dir() for entry in root.iterdir()):
        return "iemocap"
    if any((root / name).is_file() for name in emobox.MAPS):
        return "emobox"
    files = audio_files(root)
    if not files:
        raise RecipeError(f"the corpus folder {root} must contain recordings, got none")
    for reader, name in _NAMED.items():
        if all(name.fullmatch(file.stem) for file in files):
            return reader
    if all(len(file.relative_to(root).parts) == 3 for file in files):
        return "folder"
    raise RecipeError(
        f"the corpus folder {root} must have the names of {', '.join(_NAMED)} or iemocap, or the layout "
        f"label/speaker/name, got {files[0].relative_to(root)}: make a manifest with temporal-shift ser prepare"
    )
