"""Files with a JSON object on each line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from .validation import sentences_of

T = TypeVar("T")


def json_lines(text: str, path: Path, kind: type[T], problems: list[str]) -> Iterator[tuple[str, T]]:
    """Parse each line of ``text`` as a ``kind``; skip empty lines.

    Args:
        path: Where the text comes from, for messages.
        kind: What pydantic validates a line as: a dataclass, or ``dict[str, Any]`` for any object.
        problems: Gets a sentence for each thing wrong with a line; such a line is not yielded.
    Yields:
        The file and the line number, for messages, and the object.
    """
    adapter = TypeAdapter(kind)
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            found = adapter.validate_json(line)
        except ValidationError as error:
            problems += [f"{where}: {sentence}" for sentence in sentences_of(error)]
        else:
            yield where, found
