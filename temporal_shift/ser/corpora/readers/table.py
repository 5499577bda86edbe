"""Read any corpus that a table describes: CSV as spreadsheets write it, or JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ... import config
from ...utils.errors import RecipeError
from ...utils.text_files import json_lines, read_text
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest
from ..speaker_groups import wants_sessions

_NEEDED = ("path", "label", "speaker")
_DELIMITERS = ",;\t"


_Record = tuple[str, Mapping[str, str]]  # file and line, for messages; cells by column


def read_table(corpus: config.Corpus) -> Manifest:
    """Read a table with the columns ``path``, ``label`` and ``speaker``, and optionally ``id`` and ``session``.

    Other columns are ignored, and so is the case of their names. Commas, semicolons or tabs separate the cells. Paths
    are relative to ``corpus.audio``, by default the table's folder. The default id is the path. Folds follow the column
    ``session``, if there is one, unless ``corpus.folds`` or ``corpus.groups`` ask for groups of speakers.

    Raises:
        RecipeError: If a column is missing, or lines are invalid; the message names each line.
    """
    path = corpus.path.resolve()
    text = read_text(path)
    problems: list[str] = []
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json") or text.lstrip().startswith("{")
    records = list(_from_json(text, path, problems) if is_json else _from_csv(text, path, problems))
    columns = {column for _, cells in records for column in cells}
    sessions = wants_sessions(corpus, "session" in columns, f"a column session in {path}")
    used = [*_NEEDED, *(["id"] if "id" in columns else []), *(["session"] if sessions else [])]
    folder = (corpus.audio or path.parent).resolve()
    rows = []
    for where, cells in records:
        if empty := [column for column in used if not cells.get(column)]:
            problems += [f"{where}: {column!r} is empty" for column in empty]
            continue
        id = cells.get("id") or PurePath(cells["path"]).with_suffix("").as_posix()
        session = cells["session"] if sessions else ""
        rows.append(Row(id, folder / cells["path"], cells["label"], cells["speaker"], session, where))
    return make_manifest(rows, problems, corpus)


def _from_csv(text: str, path: Path, problems: list[str]) -> Iterator[_Record]:
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(
        _DELIMITERS, key=lambda each: (len(set(_NEEDED) & set(_names(first.split(each)))), first.count(each))
    )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            where, line = f"{path}, line {line}", reader.line_num + 1  # a quoted cell may contain line breaks
            if not any(cells):
                continue
            if not header:
                header = _names(cells)
                if missing := [column for column in _NEEDED if column not in header]:
                    raise RecipeError(
                        f"{where}: there is no column {', '.join(missing)}: the columns are {', '.join(header)}"
                    )
                if double := next((name for name in (*_NEEDED, "id", "session") if header.count(name) > 1), None):
                    raise RecipeError(f"{where}: the column {double} occurs twice")
            elif len(cells) > len(header):
                problems.append(f"{where}: there are {len(cells)} cells under {len(header)} columns")
            else:
                yield where, dict.fromkeys(header, "") | dict(zip(header, map(str.strip, cells), strict=False))
    except csv.Error as error:
        problems.append(f"{path}, line {line}: not a row of a table: {error}")


def _from_json(text: str, path: Path, problems: list[str]) -> Iterator[_Record]:
    for where, found in json_lines(text, path, dict[str, Any], problems):
        yield where, {key.strip().lower(): _cell(value) for key, value in found.items()}


def _cell(value: object) -> str:
    """Text, or a number as text; other values count as empty."""
    is_text = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value).strip() if is_text else ""


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in cells]
