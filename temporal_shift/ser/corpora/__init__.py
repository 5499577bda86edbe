"""Read a corpus into a :class:`~temporal_shift.ser.corpora.manifest.Manifest`.

IEMOCAP, RAVDESS, CREMA-D and EmoDB are read as their publishers distribute them. Other corpora are read from EmoBox's
metadata, a table, a folder with a pattern, or a manifest file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath

from .. import config
from ..utils.errors import RecipeError, raise_problems
from .caveats import corpus_caveats
from .detection import with_reader
from .label_maps import classes_of
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
    "manifest": lambda corpus: _read_manifest(corpus),
}

PUBLISHED: dict[str, PublishedCounts] = {  # by reader; the classes are from this package's label maps
    "iemocap": iemocap.PUBLISHED,
    "ravdess": ravdess.PUBLISHED,
    "cremad": cremad.PUBLISHED,
    "emodb": emodb.PUBLISHED,
}

_NAMES = {
    "iemocap": iemocap.NAME,
    "ravdess": ravdess.NAME,
    "cremad": cremad.NAME,
    "emodb": emodb.NAME,
}  # patterns of the utterances' ids


def read_corpus(corpus: config.Corpus) -> Manifest:
    """Read a corpus with the reader that its settings name, or, with ``auto``, the reader that fits its files.

    Args:
        corpus: The settings of the corpus.

    Returns:
        The manifest of the utterances that have a class, with the ``channel`` of the settings. Except with the reader
        ``manifest``, each recording was decoded to its end.

    Raises:
        RecipeError: If no reader fits the files, the reader cannot read the corpus or does not support a setting, a
            recording does not have the ``channel``, or ``labels`` is set for a reader other than ``manifest``. The
            message lists up to 20 problems.

    Example:
        >>> from pathlib import Path
        >>> manifest = read_corpus(config.Corpus(path=Path("examples/quickstart/corpus")))
        >>> manifest.labels, len(manifest.utterances)
        (('happy', 'angry', 'sad', 'neutral'), 400)
    """
    corpus = with_reader(corpus)
    if corpus.labels is not None and corpus.reader != "manifest":
        raise RecipeError(f"corpus.reader must be manifest if corpus.labels is set, got {corpus.reader}")
    manifest = replace(READERS[corpus.reader](corpus), channel=corpus.channel)
    if corpus.channel != "mean":
        raise_problems(
            [
                f"channel must be mean or in [0, {each.channels - 1}] for {each.path}, got {corpus.channel}"
                for each in manifest.utterances
                if each.channels is not None and corpus.channel >= each.channels
            ]
        )
    return manifest


def _read_manifest(corpus: config.Corpus) -> Manifest:
    manifest = read_manifest(corpus.path, corpus.labels, check_audio=True)
    if corpus.label_map is None:
        return manifest
    classes, labels = classes_of(manifest.count("label"), None, corpus.label_map)
    kept = [replace(each, label=label) for each in manifest.utterances if (label := classes[each.label]) is not None]
    if not kept:
        raise RecipeError(
            f"the label map must keep at least one label of {corpus.path}, got null for {', '.join(sorted(classes))}"
        )
    return Manifest(tuple(kept), labels)


def published_of(corpus: config.Corpus) -> PublishedCounts | None:
    """The published figures for a reader in :data:`PUBLISHED`; ``None`` for other readers, and with a label map."""
    return PUBLISHED.get(corpus.reader) if corpus.label_map is None else None


def caveats(manifest: Manifest, corpus: config.Corpus) -> list[str]:
    """Sentences about properties of a corpus that make results doubtful; see :func:`.corpus_caveats`.

    With a reader in :data:`PUBLISHED`, the manifest is compared with the published corpus, unless ``label_map`` is set.
    With the reader ``manifest``, it is compared if all ids, without folders, have the format of one of these corpora.
    With the reader ``table``, ``folder`` or ``emobox`` (its ids begin with the name of the dataset), or with a
    ``note``, it is not compared.

    Args:
        manifest: The corpus as read.
        corpus: Its settings. The reader must not be ``auto``.
    """
    if corpus.note or corpus.reader in ("table", "folder"):
        return corpus_caveats(manifest)
    if corpus.reader in PUBLISHED:
        return corpus_caveats(manifest, published_of(corpus))
    ids = [PurePath(utterance.id).name for utterance in manifest.utterances]
    name = next((name for name, pattern in _NAMES.items() if all(map(pattern.fullmatch, ids))), None)
    return corpus_caveats(manifest, None if name is None else PUBLISHED[name])
