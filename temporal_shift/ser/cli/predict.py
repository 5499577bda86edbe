"""``predict``: predictions for audio files."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer
from rich.console import Console

from ..utils.atomic_files import atomic_write
from ..utils.errors import RecipeError
from ..utils.wording import counted, printable
from .exit_codes import INTERRUPTED, USAGE, exit_on_error
from .options import AllowDownload, Channel, Revision, channel_of, out_option

if TYPE_CHECKING:
    from rich.progress import Progress

    from ..config import Channel as ChannelSetting
    from ..inference.predict_files import Answer, Outcome, Refusal
    from ..inference.recognizer import Recognizer

_SOME_REFUSED = 1  # exit code
_UNLIMITED = 10_000  # columns of a table outside a terminal, so that no name is truncated


class Format(str, Enum):
    """The output formats of ``predict``."""

    table = "table"
    json = "json"
    csv = "csv"


@exit_on_error()
def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Audio files, or patterns such as 'calls/**/*.wav'; - reads names from standard input, one per line.",
        ),
    ],
    model: Annotated[str, typer.Option(help="Folder or hub name of a model.")],
    revision: Revision = None,
    allow_download: AllowDownload = False,
    format: Annotated[Format, typer.Option(help="Output format. JSON includes the windows of long files.")] = (
        Format.table
    ),
    hop: Annotated[
        float | None, typer.Option(help="Seconds between the starts of two windows.", show_default="half a window")
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows/--no-windows", help="Print one row per window, in tables and CSV.")
    ] = False,
    channel: Channel = "mean",
    output: Annotated[Path | None, out_option("Output file.", show_default="standard output")] = None,
) -> None:
    """Predict the emotion of audio files: a label and the probability of each class, over time for long files.

    Exit code 1 if some files have no prediction, 2 if none has one. Standard error gives one line per failed file.
    """
    chosen = channel_of(channel)
    with _sink(output) as sink:
        from ..inference.predict_files import Outcome, Refusal, check_hop, expand
        from ..inference.recognizer import Recognizer

        named = list(expand(files, sys.stdin.buffer))
        if not named:
            raise RecipeError("FILE must name at least one file, got none on the command line or standard input")
        _check_no_input(output, named, model)
        recognizer = Recognizer.load(model, revision, allow_download=allow_download)
        check_hop(recognizer, hop)
        results: list[Answer | Refusal] = []
        stopped = False
        try:
            for result in _predict_all(recognizer, named, hop, chosen):
                results.append(result)
        except KeyboardInterrupt:  # write what is finished
            stopped = True
            print(f"\nstopped: {len(results)} of {counted(len(named), 'file')} finished", file=sys.stderr)
            left = [file.file if isinstance(file, Refusal) else file for file in named[len(results) :]]
            results += [Refusal(file, "stopped before the end of the file") for file in left]
        outcome = Outcome.of(model, recognizer, results)
        with _written("standard output" if output is None else f"--out {output}"):
            _write(outcome, format, windows, sink)
    if stopped:
        raise typer.Exit(INTERRUPTED)
    if outcome.refusals:
        raise typer.Exit(_SOME_REFUSED if outcome.answers else USAGE)


_MODEL = ("config.json", "preprocessor_config.json", "model.safetensors", "README.md")


@contextmanager
def _sink(output: Path | None) -> Iterator[BinaryIO]:
    """Open the output before the work starts, so that an unwritable file is an immediate error."""
    if output is not None and output.is_dir():
        raise RecipeError(f"--out must be a file, got the folder {output}")
    name = "standard output" if output is None else f"--out {output}"
    with ExitStack() as stack:
        with _written(name):
            sink = sys.stdout.buffer if output is None else stack.enter_context(atomic_write(output))
        yield sink
        with _written(name):
            sink.flush()
            stack.close()


@contextmanager
def _written(name: str) -> Iterator[None]:
    """Turn an error of writing into a :class:`RecipeError` that names the output; ignore a closed pipe."""
    try:
        yield
    except BrokenPipeError:  # `| head` closed the pipe: Python's last flush must not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise RecipeError(f"{name} cannot be written: {error.strerror}") from None


def _check_no_input(output: Path | None, named: Sequence[str | Refusal], model: str) -> None:
    """Raise a :class:`RecipeError` if the output would replace one of the recordings, or a file of the model."""
    if output is not None and any(isinstance(file, str) and _is_same(output, file) for file in named):
        raise RecipeError(f"--out must not be one of the recordings, got {output}")
    if output is not None and any(_is_same(output, os.path.join(model, name)) for name in _MODEL):
        raise RecipeError(f"--out must not be a file of the model, got {output}")


def _is_same(path: Path, file: str) -> bool:
    try:
        return path.samefile(file)
    except (OSError, ValueError):  # one of them does not exist or has an invalid name
        return False


def _write(outcome: Outcome, format: Format, windows: bool, sink: BinaryIO) -> None:
    if format is Format.json:
        sink.write(outcome.json())
    elif format is Format.csv:
        sink.write(outcome.csv(windows))
    elif outcome.answers:
        in_terminal = sink is sys.stdout.buffer and sys.stdout.isatty()
        text = io.StringIO()
        console = Console(file=text, force_terminal=in_terminal, width=None if in_terminal else _UNLIMITED)
        console.print(outcome.table(windows).for_terminal())
        sink.write(text.getvalue().encode())


def _predict_all(
    recognizer: Recognizer, named: list[str | Refusal], hop: float | None, channel: ChannelSetting
) -> Iterator[Answer | Refusal]:
    """Yield a result for each file; print reasons and warnings as they come, and a progress bar in a terminal."""
    from ..inference.predict_files import Refusal, answer_or_refuse

    with _progress() as progress:
        bar = progress.add_task("", total=len(named))
        for file in named:
            if isinstance(file, Refusal):
                result: Answer | Refusal = file
            else:
                name = printable(Path(file).name)

                def report(seconds: float, name: str = name) -> None:
                    progress.update(bar, description=f"{name}: {seconds:.0f} s")

                result = answer_or_refuse(recognizer, file, hop, report, channel)
            if isinstance(result, Refusal):
                print(result.reason, file=sys.stderr)
            elif result.warning:
                print(f"warning: {result.warning}", file=sys.stderr)
            progress.advance(bar)
            yield result


def _progress() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

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
