"""Errors as one-line messages and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..utils.errors import RecipeError

USAGE, INTERRUPTED = 2, 130


@contextmanager
def exit_on_error(*, resumes: bool = False) -> Iterator[None]:
    """Print a :class:`RecipeError` as one line and exit with code 2; on Ctrl-C, exit with code 130.

    Args:
        resumes: Whether the same command continues where Ctrl-C stopped it, which the message then says.
    """
    try:
        yield
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(USAGE) from None
    except KeyboardInterrupt:
        print("\nstopped" + ": run the same command to continue" * resumes, file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
