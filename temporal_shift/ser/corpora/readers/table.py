"""Read a corpus that a table describes: CSV as spreadsheets write it, or JSON lines."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from ... import config
from ...utils.errors import RecipeError, raise_problems, shortened
from ...utils.names import check_local_path, clean_name, is_missing
from ...utils.text_files import json_lines, read_text
from ..folders import READ
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest
from ..speaker_groups import uses_sessions

_NEEDED = ("path", "label", "speaker")
_DELIMITERS = ",;\t"

_Record = tuple[str, Mapping[str, object]]  # file and line, for messages; cells by column


def read_table(corpus: config.Corpus) -> Manifest:
    """Read a table with the columns ``path``, ``label`` and ``speaker``, and optionally ``id`` and ``session``.

    ``corpus.columns`` maps these names to others, such as ``{"path": "file_id"}``. Names of columns match in any case.
    Other columns are ignored. A table is CSV with commas, semicolons or tabs, or JSON lines. Paths are relative to
    ``corpus.audio``, by default the table's folder, and need no extension. The default id is the path without its
    extension. Folds follow the column ``session``, if there is one, unless ``corpus.folds`` or
    ``corpus.groups`` ask for groups of speakers.

    Raises:
        RecipeError: If the table cannot be read or has no rows, a column is missing or occurs twice, lines are invalid,
            ``corpus.folds`` is ``published`` without a column ``session``, or as :func:`.make_manifest`. The message
            lists up to 20 problems.
    """
    path = corpus.path.resolve()
    text = read_text(path, "table")
    given = {column: column for column in (*_NEEDED, "id", "session")} | (corpus.columns or {})
    problems: list[str] = []
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json") or text.lstrip().startswith("{")
    records = list(_from_json(text, path, problems) if is_json else _from_csv(text, path, given, problems))
    if not records:
        raise_problems(problems)
        raise RecipeError(f"the table {path} must have a row for each recording, got none")
    columns = {column for _, cells in records for column in cells}
    sessions = uses_sessions(corpus, given["session"] in columns, f"a column {given['session']} in {path}")
    used = [*_NEEDED, *(["id"] if given["id"] in columns else []), *(["session"] if sessions else [])]
    for column in corpus.columns or {}:
        if given[column] not in columns:
            raise RecipeError(
                f"columns.{column} must be a column of {path} ({', '.join(columns)}), got {given[column]!r}"
            )
    folder = (corpus.audio or path.parent).resolve()
    rows = []
    for where, cells in records:
        texts = {column: _text(cells.get(given[column], "")) for column in used}
        if unreadable := _unreadable(texts, cells, given, corpus.label_map or {}):
            problems += [f"{where}: {reason}" for reason in unreadable]
            continue
        found = {column: text or "" for column, text in texts.items()}
        audio, *others = _audio(folder / found["path"])
        if others:
            names = " and ".join(path.name for path in (audio, *others))
            problems.append(f"{where}: {found['path']!r} must name one recording, got {names}")
        id = found.get("id") or PurePath(found["path"]).with_suffix("").as_posix()
        rows.append(Row(id, audio, found["label"], found["speaker"], found.get("session", ""), where))
    return make_manifest(rows, problems, corpus)


def _from_csv(text: str, path: Path, given: Mapping[str, str], problems: list[str]) -> Iterator[_Record]:
    if stated := re.match(r"sep=(.)(?=\n)", text):  # Excel's first line
        text = text[stated.end() :]
    first = text.lstrip().split("\n", 1)[0]
    needed = [given[column] for column in _NEEDED]
    delimiter = max(
        _DELIMITERS, key=lambda each: (len(set(needed) & set(_names(first.split(each)))), first.count(each))
    )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            where, line = f"{path}, line {line}", reader.line_num + 1  # a quoted cell may contain line breaks
            if not any(map(str.strip, cells)):
                continue
            if not header:
                header = _names(cells)
                if missing := [column for column in needed if column not in header]:
                    what = f"{'column' if len(missing) == 1 else 'columns'} {', '.join(missing)}"
                    raise RecipeError(
                        f"{where}: the table must have the {what}, got {', '.join(header)}; set columns for other names"
                    )
                if double := next((name for name in given.values() if header.count(name) > 1), None):
                    raise RecipeError(f"{where}: the column {double} occurs twice")
            elif len(cells) > len(header):
                problems.append(f"{where}: a row must have at most {len(header)} cells, got {len(cells)}")
            elif rows := _rows_in(cells, delimiter, len(header), header.index(given["path"])):
                problems.append(
                    f"{where}: a quoted cell must not contain rows of the table, got {rows}: double its quote marks"
                )
            else:
                yield where, dict.fromkeys(header, "") | dict(zip(header, cells, strict=False))
    except csv.Error as error:
        problems.append(f"{path}, line {line}: the row cannot be parsed: {error}")


def _rows_in(cells: list[str], delimiter: str, columns: int, path: int) -> int:
    """The number of lines in quoted cells that look like rows: after an unpaired quote mark, rows become one cell."""
    inside = (line.split(delimiter) for cell in cells if "\n" in cell for line in cell.split("\n"))
    return sum(len(row) == columns and PurePath(row[path].strip()).suffix.lower() in READ for row in inside)


def _from_json(text: str, path: Path, problems: list[str]) -> Iterator[_Record]:
    for where, found in json_lines(text, path, dict[str, Any], problems):
        cells: dict[str, object] = {}
        given: dict[str, str] = {}
        for key, value in found.items():
            name = _name(key)
            if name in given:
                problems.append(f"{where}: the keys {given[name]!r} and {key!r} name the same column: remove one")
            cells[name], given[name] = value, key
        yield where, cells


def _text(cell: object) -> str | None:
    """A cell as text: ``"null"`` for ``None``, ``"nan"`` for NaN; ``None`` if neither text nor a finite number."""
    if cell is None:
        return "null"
    if isinstance(cell, bool) or not isinstance(cell, str | int | float) or cell in (math.inf, -math.inf):
        return None
    return str(cell).strip()


def _unreadable(
    texts: Mapping[str, str | None],
    cells: Mapping[str, object],
    given: Mapping[str, str],
    named: Mapping[str, str | None],
) -> list[str]:
    """The problems of the cells of a row. A label may be a missing value if the label map has it."""
    reasons = []
    for column, text in texts.items():
        name = repr(given[column])
        if text is None:
            reasons.append(f"{name} must be text or a finite number, got {shortened(cells[given[column]])}")
        elif is_missing(text) and not (column == "label" and clean_name(text) in named):
            reasons.append(f"{name} is empty" if not text else f"{name} must not be a missing value, got {text!r}")
        elif column == "path":
            try:
                check_local_path(text)
            except RecipeError as error:
                reasons.append(f"{name} {error}")
    return reasons


def _audio(path: Path) -> list[Path]:
    """The path if there is such a file; otherwise the files with an added audio extension, or the path if none."""
    if path.is_file() or not path.name:
        return [path]
    return [other for extension in READ if (other := path.parent / (path.name + extension)).is_file()] or [path]


def _names(cells: list[str]) -> list[str]:
    return [_name(cell) for cell in cells]


def _name(cell: str) -> str:
    return clean_name(clean_name(cell).strip('"')).lower()
