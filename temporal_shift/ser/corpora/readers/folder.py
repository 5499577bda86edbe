"""Read any folder of recordings that have the label and the speaker in their paths."""

from __future__ import annotations

import re
from pathlib import Path

from ... import config
from ...utils.errors import RecipeError
from ..folders import audio_files, corpus_folder
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest
from ..speaker_groups import uses_sessions

PATTERN = "{label}/{speaker}/{name}"

_FIELD = re.compile(r"\{([^{}]*)\}")


def read_folder(corpus: config.Corpus) -> Manifest:
    """Read every recording below a folder by a pattern of its path, such as ``{speaker}_{label}_{name}``.

    The pattern is ``corpus.pattern``, by default ``{label}/{speaker}/{name}``.

    A field matches at least one character and no slash, as few as possible; text must be between two fields.
    ``{label}`` and ``{speaker}`` are required. ``{session}`` defines the folds, unless ``corpus.folds`` or
    ``corpus.groups`` ask for groups of speakers. Other fields are ignored. A field that occurs twice must match the
    same text. The extension may be omitted from the pattern.

    Raises:
        RecipeError: If the pattern is not valid, recordings do not match it, ``corpus.folds`` is ``published`` without
            a field ``{session}``, or as :func:`.audio_files` and :func:`.make_manifest`.
    """
    root = corpus_folder(corpus.path)
    pattern = corpus.pattern or PATTERN
    expression = _compiled(pattern)
    sessions = uses_sessions(corpus, "session" in expression.groupindex, "a field {session} in the pattern")
    rows: list[Row] = []
    misfits: list[Path] = []
    for path in audio_files(root):
        relative = path.relative_to(root)
        found = expression.fullmatch(relative.with_suffix("").as_posix()) or expression.fullmatch(relative.as_posix())
        if found is None:
            misfits.append(path)
        else:
            session = found["session"] if sessions else ""
            rows.append(Row(relative.with_suffix("").as_posix(), path, found["label"], found["speaker"], session))
    if misfits and not rows:
        raise RecipeError(f"pattern must match the recordings in {root}, such as {misfits[0]}, got {pattern!r}")
    return make_manifest(rows, [f"the file {path} does not match {pattern!r}" for path in misfits], corpus)


def _compiled(pattern: str) -> re.Pattern[str]:
    first, *parts = _FIELD.split(pattern)
    fields, texts = parts[::2], parts[1::2]
    if not all(texts[:-1]):
        raise RecipeError(f"pattern must have text between two fields, got {pattern!r}")
    for field in fields:
        if not field.isidentifier():
            raise RecipeError(f"fields of the pattern must be one word, like {{take}}, got {{{field}}} in {pattern!r}")
    if missing := [f"{{{field}}}" for field in ("label", "speaker") if field not in fields]:
        raise RecipeError(f"pattern must contain {' and '.join(missing)}, like {PATTERN!r}, got {pattern!r}")
    expression = re.escape(first)
    unique = len({*fields}) == len(fields)
    for index, (field, text) in enumerate(zip(fields, texts, strict=True)):
        found = f"(?P<{field}>[^/]+?)"
        if field in fields[:index]:
            expression += f"(?P={field})"
        elif unique and index < len(fields) - 1:  # prevents backtracking, which can take minutes on long names
            expression += f"(?={found}{re.escape(text)})(?P={field})"
        else:
            expression += found
        expression += re.escape(text)
    return re.compile(expression)
