"""Read text files and JSON lines, with errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import RecipeError, sentences_of

T = TypeVar("T")


def read_text(path: Path, what: str = "file") -> str:
    """The content of a UTF-8 file, without a byte order mark.

    Args:
        what: The kind of file, for messages.
    Raises:
        RecipeError: If the file does not exist or cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"there is no {what} {path}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"the {what} {path} cannot be read: it must be UTF-8 text") from None
    except OSError as error:
        raise RecipeError(f"the {what} {path} cannot be read: {error.strerror}") from None


def json_lines(text: str, path: Path, kind: type[T], problems: list[str]) -> Iterator[tuple[str, T]]:
    """Parse each line of ``text`` as a ``kind``; skip empty lines.

    Args:
        path: The file of the text, for messages.
        kind: The type that pydantic validates a line as: a dataclass, or ``dict[str, Any]`` for any object.
        problems: Receives a sentence for each problem of a line. Such a line is not yielded.
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
