"""Any corpus that a table describes: CSV as spreadsheets write it, or JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Record:
    """A line's cells by column; a cell that is not there is empty."""

    where: str
    cells: Mapping[str, str]


def read_table(corpus: config.Corpus) -> Manifest:
    """Read a table with the columns ``path``, ``label``, ``speaker``, and ``id`` and ``session`` where they are there.

    Other columns are passed over, and so are the names' capitals. Commas, semicolons or tabs divide the cells. A path
    starts from ``corpus.audio``, or from the table's folder, and is the id where the table has none. Folds follow the
    column ``session`` where there is one, unless ``corpus.folds`` or ``corpus.groups`` ask for groups of speakers.

    Raises:
        RecipeError: If a column is missing, or lines are not what they should be; the message names the line of each.
    """
    path = corpus.path.resolve()
    text = read_text(path)
    problems: list[str] = []
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json") or text.lstrip().startswith("{")
    records = list(_from_json(text, path, problems) if is_json else _from_csv(text, path, problems))
    columns = {column for record in records for column in record.cells}
    sessions = wants_sessions(corpus, "session" in columns, f"a column session, which {path} has not")
    used = (*_NEEDED, *("id" for _ in columns & {"id"}), *("session" for _ in range(sessions)))
    rows = []
    for record in records:
        empty = [column for column in used if not record.cells.get(column)]
        problems += [f"{record.where}: {column!r} is empty" for column in empty]
        if not empty:
            rows.append(_row(record, (corpus.audio or path.parent).resolve(), sessions))
    return make_manifest(rows, problems, corpus)


def _row(record: _Record, folder: Path, sessions: bool) -> Row:
    cells = record.cells
    return Row(
        id=cells.get("id") or PurePath(cells["path"]).with_suffix("").as_posix(),
        path=folder / cells["path"],
        label=cells["label"],
        speaker=cells["speaker"],
        session=cells["session"] if sessions else "",
        where=record.where,
    )


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
            where, line = f"{path}, line {line}", reader.line_num + 1  # a quoted cell may hold the end of a line
            if not any(cells):
                continue
            if not header:
                header = _names(cells)
                _check_columns(header, where)
            elif len(cells) > len(header):
                problems.append(f"{where}: there are {len(cells)} cells under {len(header)} columns")
            else:
                found = dict.fromkeys(header, "")
                found.update(zip(header, map(str.strip, cells), strict=False))
                yield _Record(where, found)
    except csv.Error as error:
        problems.append(f"{path}, line {line}: not a row of a table: {error}")


def _from_json(text: str, path: Path, problems: list[str]) -> Iterator[_Record]:
    for where, found in json_lines(text, path, dict[str, Any], problems):
        yield _Record(where, {key.strip().lower(): _cell(value) for key, value in found.items()})


def _cell(value: object) -> str:
    """Text, or a number as text; anything else is as good as nothing."""
    is_text = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value).strip() if is_text else ""


def _names(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in cells]


def _check_columns(header: list[str], where: str) -> None:
    missing = [column for column in _NEEDED if column not in header]
    if missing:
        raise RecipeError(f"{where}: there is no column {', '.join(missing)}: the columns are {', '.join(header)}")
    if twice := next((column for column in (*_NEEDED, "id", "session") if header.count(column) > 1), None):
        raise RecipeError(f"{where}: the column {twice} occurs twice")
