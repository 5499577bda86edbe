"""What a person reads when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ..utils.errors import RecipeError


@contextmanager
def errors_as_sentences(*, resumes: bool = False) -> Iterator[None]:
    """One sentence and exit code 2 for what the user can mend; a traceback only for what we must.

    Args:
        resumes: Whether the command, given again after Ctrl-C, goes on from where it was.
    """
    try:
        yield
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print(f"\nstopped{': the same command goes on from here' * resumes}", file=sys.stderr)
        raise typer.Exit(130) from None
