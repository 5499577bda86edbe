"""pydantic's errors as sentences for the user."""

from __future__ import annotations

from pydantic import ValidationError


def sentences_of(error: ValidationError) -> list[str]:
    """One sentence for each problem, with the key that it is about."""
    return [_sentence(".".join(map(str, each["loc"])), each["type"], each["msg"]) for each in error.errors()]


def _sentence(key: str, kind: str, message: str) -> str:
    if not key and kind in ("json_invalid", "dataclass_type", "dict_type"):
        return "not a JSON object"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"the key {key!r} is not known: is it misspelt?"
    if kind in ("missing", "missing_argument"):
        return f"the key {key!r} is missing"
    message = message.removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
