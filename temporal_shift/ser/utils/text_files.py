"""Text files of the user's, and errors that name them."""

from __future__ import annotations

from pathlib import Path

from .errors import RecipeError


def read_text(path: Path, what: str = "file") -> str:
    """The content of a UTF-8 file, without a byte order mark.

    Args:
        what: What the file is, for messages.
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
