"""Text files with a recording on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import RecipeError


def read_text(path: Path) -> str:
    """The whole of a UTF-8 file, without the mark that some programs write before it."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RecipeError(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path} is not UTF-8 text: save it as such") from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None


def json_lines(text: str, path: Path, problems: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, each with the file and the line where it stands; empty lines are passed over."""
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if isinstance(found, dict):
            yield where, found
        else:
            problems.append(f"{where}: not a JSON object")
