"""The error that the command line prints as one sentence, with exit code 2."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 20  # problems in one message


class RecipeError(ValueError):
    """The user's input is wrong: the message says what, where, and what would be right."""


def reason_of(error: Exception) -> str:
    """The first line of a library's error, without its last full stop; the error's type where it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".:") if lines else type(error).__name__


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one :class:`RecipeError` with the first 20 of the problems, if there are any."""
    if len(problems) == 1:
        raise RecipeError(problems[0])
    if problems:
        lines = [f"{len(problems)} problems:", *problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            lines.append(f"... and {len(problems) - _SHOWN} more")
        raise RecipeError("\n".join(lines))
