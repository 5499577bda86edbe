"""Read text files and JSON lines, with errors that name the file and the line."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import RecipeError, sentences_of

T = TypeVar("T")

_MAX_BYTES = 1 << 30  # the manifest of a million utterances is smaller
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # first bytes of UTF-16


def read_text(path: Path, what: str = "file", max_bytes: int = _MAX_BYTES) -> str:
    r"""The content of a UTF-8 file, without a byte order mark. Line ends are ``\n`` on every system.

    Args:
        path: The file.
        what: The kind of file, for messages. Default: ``"file"``.
        max_bytes: Maximum bytes of the file. Default: 1 GiB.
    Raises:
        RecipeError: If the file does not exist, cannot be read, is a folder, is too large, is not UTF-8 text or
            contains a null byte.
    """
    try:
        content = bytearray()
        with path.open("rb") as file:
            while (piece := file.read(1 << 20)) and len(content) <= max_bytes:
                content += piece
    except FileNotFoundError:
        raise RecipeError(f"there is no {what} {path}") from None
    except IsADirectoryError:
        raise RecipeError(f"the {what} must be a file, got the folder {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise RecipeError(f"the {what} {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > max_bytes:
        raise RecipeError(f"the {what} {path} must have at most {max_bytes >> 10} KiB, got more")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith(_WIDE):
            raise RecipeError(f"the {what} {path} must be UTF-8 text, got UTF-16: save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            f"the {what} {path} must be UTF-8 text, got the byte 0x{content[error.start]:02x} in line {line}"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise RecipeError(f"the {what} {path} must be text, got a null byte in line {line}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_lines(text: str, path: Path, kind: type[T], problems: list[str]) -> Iterator[tuple[str, T]]:
    """Parse each line of ``text`` as a ``kind``; skip empty lines.

    Args:
        text: The lines, with the line ends of :func:`read_text`.
        path: The file of the text, for messages.
        kind: The type that pydantic validates a line as: a dataclass, or ``dict[str, Any]`` for any object.
        problems: Receives a sentence for each problem of a line, such as a key that occurs twice. Such a line is not
            yielded.
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
            json.loads(line, object_pairs_hook=unique_keys)
        except ValidationError as error:
            problems += [f"{where}: {sentence}" for sentence in sentences_of(error)]
        except RecipeError as error:
            problems.append(f"{where}: {error}")
        else:
            yield where, found


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the pairs as a dictionary.

    Pass it as ``object_pairs_hook`` to :func:`json.loads`, which otherwise keeps the last value of a repeated key.

    Raises:
        RecipeError: If a key occurs twice.
    """
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise RecipeError(f"the key {key!r} occurs twice")
        found[key] = value
    return found
