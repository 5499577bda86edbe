"""Choose the reader of a corpus, for ``reader: auto``."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from .. import config
from ..utils.errors import RecipeError
from ..utils.names import clean_name
from ..utils.text_files import read_text
from .folders import audio_files, corpus_folder, sorted_entries
from .readers import cremad, emobox, emodb, ravdess

_NAMED = {"ravdess": ravdess.NAME, "cremad": cremad.NAME, "emodb": emodb.NAME}  # readers that are chosen by file names

_EMOTIONS = {  # classes of the shipped label maps, their synonyms, and emotions of other corpora
    *("anger", "angry", "anxiety", "anxious", "bored", "boredom", "calm", "contempt", "disgust", "disgusted"),
    *("excited", "excitement", "fear", "fearful", "frustrated", "frustration", "happiness", "happy", "joy", "joyful"),
    *("neutral", "relaxed", "sad", "sadness", "surprise", "surprised"),
}


def with_reader(corpus: config.Corpus) -> config.Corpus:
    """The corpus with the reader that fits its files; unchanged unless its reader is ``auto``.

    ==================================================  ==========================================
    path                                                reader
    ==================================================  ==========================================
    JSON lines as ``prepare`` writes them               ``manifest``
    another file                                        ``table``
    a folder with a folder such as ``Session1``         ``iemocap``
    a folder with ``label_map.json``                    ``emobox``
    a folder of recordings named as in one corpus       ``ravdess``, ``cremad`` or ``emodb``
    a folder of recordings at ``label/speaker/name``    ``folder``
    ==================================================  ==========================================

    The first row that fits decides. A folder with ``label_dict.json`` is also ``emobox``. In the last row, all folders
    of the first level must have names of labels: keys of the label map, or names of emotions. At least one folder of
    the second level must have another name. Otherwise speakers could be read as labels.

    Raises:
        RecipeError: If the path does not exist or cannot be read, a folder fits no row or is ambiguous, the recordings
            cannot be listed (see :func:`.audio_files`), or the reader does not support a setting.
    """
    if corpus.reader != "auto":
        return corpus
    found = _reader_of_file(corpus.path) if corpus.path.is_file() else _reader_of_folder(corpus)
    return config.Corpus.checked(**{**corpus.model_dump(exclude_unset=True), "reader": found})


def _reader_of_file(path: Path) -> str:
    first_line = read_text(path, "corpus").lstrip().partition("\n")[0]
    return "manifest" if first_line.startswith("{") and '"sha256"' in first_line else "table"


def _reader_of_folder(corpus: config.Corpus) -> str:
    root = corpus_folder(corpus.path)
    if any(re.fullmatch("Session[0-9]+", entry.name) and entry.is_dir() for entry in sorted_entries(root)):
        return "iemocap"
    if any((root / name).is_file() for name in emobox.MAPS):
        return "emobox"
    files = audio_files(root)
    if not files:
        raise RecipeError(f"the corpus folder {root} must contain recordings, got none")
    others = {reader: [file for file in files if not name.fullmatch(file.stem)] for reader, name in _NAMED.items()}
    reader, misfits = min(others.items(), key=lambda item: len(item[1]))
    if not misfits:
        return reader
    known = _EMOTIONS | {key.casefold() for key in corpus.label_map or ()}
    paths = [file.relative_to(root) for file in files]
    has_three_levels = all(len(path.parts) == 3 for path in paths)
    unlabelled = [path for path in paths if has_three_levels and not _has_label(path, 0, known)]
    if has_three_levels and not unlabelled and not all(_has_label(path, 1, known) for path in paths):
        return "folder"
    first = misfits[0].relative_to(root).as_posix()
    if 2 * len(misfits) <= len(files):
        raise RecipeError(
            f"the recordings in the corpus folder {root} must all be named as in one corpus: "
            f"{len(files) - len(misfits)} of {len(files)} are named as in {reader}, but {first} is not"
        )
    if has_three_levels:
        raise RecipeError(_ambiguity(root, (unlabelled or paths)[0]))
    raise RecipeError(
        f"the corpus folder {root} must contain Session1, Session2, ... (iemocap), {' or '.join(emobox.MAPS)} "
        f"(emobox), recordings named as in {', '.join(_NAMED)}, or paths label/speaker/name, got {first}: make a "
        "manifest with temporal-shift ser prepare"
    )


def _has_label(path: Path, level: int, known: Collection[str]) -> bool:
    return clean_name(path.parts[level]).casefold() in known


def _ambiguity(root: Path, example: Path) -> str:
    one, other, _ = example.parts
    return (
        f"for reader: auto, the corpus folder {root} must have only labels (names of emotions, or keys of label_map) "
        "in the first of its two levels of folders, and at least one other name in the second, got "
        f"{example.as_posix()}: if {one!r} is a speaker and {other!r} a label, use reader: folder with the pattern "
        "{speaker}/{label}/{name}, or make a "
        f'manifest with temporal-shift ser prepare folder {root} --pattern "{{speaker}}/{{label}}/{{name}}"'
    )
