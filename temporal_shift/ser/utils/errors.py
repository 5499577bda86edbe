"""The error for invalid user input, and messages for the errors of libraries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_SHOWN = 20  # maximum problems in one message
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")  # pydantic's types of errors
_MISSING = ("missing", "missing_argument")


class RecipeError(ValueError):
    """Invalid input, or another problem that the user can solve.

    The command line prints the message and exits with code 2.
    """


def reason_of(error: Exception) -> str:
    """One line about a library's error, without a full stop: the start of its message, or its type if it has none."""
    if isinstance(error, KeyError):  # its message is only the key
        return f"{error} is not known"
    lines = str(error).strip().splitlines()
    if len(lines) > 1 and lines[0].endswith(":"):  # a heading
        lines[0] += f" {lines[1].strip()}"
    return lines[0].rstrip(".:") if lines else type(error).__name__


def sentences_of(error: ValidationError, settings: type[BaseModel] | None = None) -> list[str]:
    """One sentence for each problem that pydantic found, with its key; missing keys last.

    Args:
        error: The error.
        settings: The class that was validated, to propose a key for an unknown one. Default: ``None``, no proposals.
    """
    problems = sorted(error.errors(), key=lambda each: each["type"] in _MISSING)  # a misspelt key explains them
    return [
        _sentence(_key(each["loc"]), each["type"], each["msg"], each["input"], _similar_key(settings, each["loc"]))
        for each in problems
    ]


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one :class:`RecipeError` with the first 20 problems and the number of all, if there are any."""
    if len(problems) == 1:
        raise RecipeError(problems[0])
    if problems:
        lines = [f"{len(problems)} problems:", *problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"... and {len(problems) - _SHOWN} more")
        raise RecipeError("\n".join(lines))


def shortened(value: object, limit: int = 60) -> str:
    """The repr of a value for a message; text is cut after ``limit`` characters (default: 60).

    For an integer of more than 64 bits, the number of bits.
    """
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print more than 4300 digits
    if isinstance(value, str) and len(value) > limit:
        return f"{value[:limit]!r}... ({len(value)} characters)"
    return repr(value)


def _shown(value: object) -> str:
    """A value for a message: ``None``, text and numbers with :func:`shortened`, other values by their type."""
    value = value.decode(errors="replace") if isinstance(value, bytes) else value
    is_plain = value is None or isinstance(value, str | int | float)
    return shortened(value) if is_plain else type(value).__name__


def _key(place: Sequence[int | str]) -> str:
    """A place in nested settings as text: ``models[1].shift.n_div``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


def _similar_key(settings: type[BaseModel] | None, place: Sequence[int | str]) -> str | None:
    """The key of the section at ``place`` that is most similar to the last part of ``place``."""
    *sections, key = place or ("",)
    for section in sections:
        if settings is not None and isinstance(section, str):
            field = settings.model_fields.get(section)
            kinds = () if field is None else (field.annotation, *get_args(field.annotation))
            settings = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
    return next(iter(get_close_matches(str(key), settings.model_fields if settings else (), n=1)), None)


def _sentence(key: str, kind: str, message: str, value: object, similar_key: str | None) -> str:
    if not key and kind in ("json_invalid", "dataclass_type", "dict_type"):
        return f"must be a JSON object, got {_shown(value)}"
    if kind in _UNKNOWN_KEY:
        hint = "is it misspelt?" if similar_key is None else f"did you mean {similar_key!r}?"
        return f"the key {key!r} is not known: {hint}"
    if kind in _MISSING:
        return f"the key {key!r} is missing"
    message = message.removeprefix("Value error, ")
    if kind not in ("value_error", "assertion_error"):  # pydantic's own: Input should be ...
        message = re.sub(r"^\w+ should ", "must ", message).partition(", unable to")[0]
        message = re.sub(r"a valid dictionary or instance of \w+", "a mapping", message)
        message = re.sub(r"^Input is not a valid path.*", "must be a path", message)
        message += f", got {_shown(value)}"
    if key and message.startswith("must "):
        return f"{key} {message}"
    return f"{key}: {message}" if key else message
