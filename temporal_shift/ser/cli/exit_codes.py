"""Errors as messages without traceback, and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import typer

from ..utils.errors import RecipeError, reason_of
from ..utils.wording import printable_lines

USAGE, INTERRUPTED = 2, 130
_CLOSED_PIPE = 1  # the exit code of Typer and rich


@contextmanager
def exit_on_error(*, resumes: bool = False) -> Iterator[None]:
    """Print errors of the user or the machine without traceback and exit with code 2; on Ctrl-C, exit with code 130.

    These errors are :class:`RecipeError`, errors of files, memory, nesting and text encoding, and a lost connection to
    another process of a run. Any other exception is a bug and keeps its traceback. If the reader of standard output
    stops reading (``| head``), the command ends silently with code 1; ``predict`` keeps its own exit code.

    Args:
        resumes: Whether the same command continues where Ctrl-C stopped it. The message then says so. Default:
            ``False``. In both cases, the text of the :class:`KeyboardInterrupt` follows.
    """
    try:
        yield
        sys.stdout.flush()  # raises here if the disk is full or the pipe is closed
    except BrokenPipeError:
        discard_output()
        raise typer.Exit(_CLOSED_PIPE) from None
    except KeyboardInterrupt as stop:
        details = "; ".join(filter(None, ("run the same command to continue" * resumes, str(stop))))
        print("\nstopped" + (f": {details}" if details else ""), file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        message = _message(error)
        if message is None:
            raise
        try:
            sys.stdout.flush()
        except OSError:
            discard_output()
        with suppress(OSError):  # standard error is closed
            print(f"error: {printable_lines(message)}", file=sys.stderr)
        raise typer.Exit(USAGE) from None


def _message(error: Exception) -> str | None:
    """The message of an error, or None if it is a bug."""
    if isinstance(error, RecipeError):
        return str(error)
    if isinstance(error, OSError):
        name = error.filename if error.filename2 is None else error.filename2  # the target of a rename
        reason = error.strerror or reason_of(error)
        return reason if name is None else f"{os.fsdecode(name)}: {reason}"
    if isinstance(error, MemoryError) or _is_allocation(error):
        return "not enough memory" + (f": {reason_of(error)}" if str(error) else "")
    if isinstance(error, RecursionError):
        return "the input is nested too deeply"
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # from Path.resolve until Python 3.12
        return f"too many levels of symbolic links: {reason_of(error)}"
    if isinstance(error, RuntimeError) and _is_lost_connection(error):
        return "another process of this run ended or lost its connection: run the same command to continue"
    if isinstance(error, UnicodeError):
        return f"text cannot be encoded or decoded: {reason_of(error)}"
    return None


def _is_allocation(error: Exception) -> bool:
    """Whether the error is torch's RuntimeError for insufficient memory."""
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _is_lost_connection(error: RuntimeError) -> bool:
    if "torch" not in sys.modules:
        return False
    from ..utils.distributed import is_lost_connection

    return is_lost_connection(error)


def discard_output() -> None:
    """Discard the buffer of standard output, because Python's last flush would fail again."""
    with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
