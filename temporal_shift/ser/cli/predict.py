"""``predict``: from audio files to emotions."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..utils.atomic_files import atomic_write
from ..utils.errors import RecipeError
from .app import ser
from .errors import errors_as_sentences
from .options import Revision

if TYPE_CHECKING:
    from ..inference.predict_files import Answer, Outcome, Refusal
    from ..inference.recognizer import Recognizer

_WIDE = 10_000  # columns where no terminal sets a limit: no name is cut short


class Format(str, Enum):
    """What answers look like."""

    table = "table"
    json = "json"
    csv = "csv"


@ser.command()
def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Audio files, or patterns such as 'calls/**/*.wav'; - reads names, one a line."
        ),
    ],
    model: Annotated[str, typer.Option(help="A model's folder or its hub name.")],
    revision: Revision = None,
    format: Annotated[Format, typer.Option(help="JSON tells the windows of long files, too.")] = Format.table,
    hop: Annotated[
        float | None, typer.Option(help="Seconds from one window to the next.", show_default="half a window")
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows/--no-windows", help="A row for each window, in the table and in CSV.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file for the answers.", show_default="standard output")
    ] = None,
) -> None:
    """What a model hears in audio files: a label, its probabilities, and, in long files, both over time.

    Exit code 1 says that some files have no answer; standard error says why, a line for each.
    """
    with errors_as_sentences(), _sink(output) as sink:
        from ..inference.predict_files import (  # with them comes torch, which takes seconds
            Outcome,
            Refusal,
            check_hop,
            expand,
        )
        from ..inference.recognizer import Recognizer

        named = list(expand(files, sys.stdin.buffer))
        if not named:
            raise RecipeError("standard input names no files, and neither does the command line")
        recognizer = Recognizer.load(model, revision)
        check_hop(recognizer, hop)
        results: list[Answer | Refusal] = []
        stopped = False
        try:
            for result in _answer_all(recognizer, named, hop):
                results.append(result)
        except KeyboardInterrupt:  # what was heard until then took its time: it is told
            stopped = True
            print(f"\nstopped: {len(results)} of {len(named)} files are done", file=sys.stderr)
            left = [file.file if isinstance(file, Refusal) else file for file in named[len(results) :]]
            results += [Refusal(file, "stopped before its end was heard") for file in left]
        outcome = Outcome.of(model, recognizer, results)
        _write(outcome, format, windows, sink)
    if stopped:
        raise typer.Exit(130)
    if outcome.refusals:
        raise typer.Exit(1)


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Where answers go. A file is opened before the work, so that one that cannot be written costs no time."""
    if output is not None and output.is_dir():
        raise RecipeError(f"--output {output} is a folder: it must be a file")
    try:
        with nullcontext(sys.stdout.buffer) if output is None else atomic_write(output) as file:
            yield file
    except BrokenPipeError:  # `| head` has seen enough; what Python still wants to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        name = "standard output" if output is None else f"--output {output}"
        raise RecipeError(f"{name} cannot be written: {error.strerror}") from None


def _write(outcome: Outcome, format: Format, windows: bool, sink: BinaryIO) -> None:
    if format is Format.json:
        sink.write(outcome.json())
    elif format is Format.csv:
        sink.write(outcome.csv(windows))
    else:
        looked_at = sink is sys.stdout.buffer and sys.stdout.isatty()
        text = io.StringIO()
        console = Console(file=text, force_terminal=looked_at, width=None if looked_at else _WIDE)
        console.print(outcome.table(windows).for_terminal())
        sink.write(text.getvalue().encode())
    sink.flush()


def _answer_all(recognizer: Recognizer, named: list[str | Refusal], hop: float | None) -> Iterator[Answer | Refusal]:
    """Answers and refusals, whose reasons are printed at once; a bar where a person looks on."""
    from ..inference.predict_files import Refusal, answer_or_refuse, one_line

    with _progress() as progress:
        bar = progress.add_task("", total=len(named))
        for file in named:
            if isinstance(file, Refusal):
                result: Answer | Refusal = file
            else:
                name = one_line(Path(file).name)

                def told(seconds: float, name: str = name) -> None:
                    progress.update(bar, description=f"{name}: {seconds:.0f} s")

                result = answer_or_refuse(recognizer, file, hop, told)
            if isinstance(result, Refusal):
                print(result.reason, file=sys.stderr)
            progress.advance(bar)
            yield result


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
