"""``live`` and ``demo``: a model on what is said now."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .app import ser
from .errors import errors_as_sentences

if TYPE_CHECKING:
    from ..inference.live import Sound
    from ..inference.live_view import View

_MODELS = Path("examples/quickstart/models")
_CORPUS = Path("examples/quickstart/corpus")
_LEAST_HOP = 0.02  # seconds

Model = Annotated[
    str | None,
    typer.Option(help="A model's folder or its hub name.", show_default="in a clone, the quickstart's Shiftformer"),
]


class Format(str, Enum):
    """What is written for each update."""

    text = "text"
    json = "json"


@ser.command()
def live(
    model: Model = None,
    file: Annotated[
        Path | None, typer.Option(help="A recording, played in real time instead of the microphone.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="A microphone, by its number or a part of its name.")] = None,
    hop: Annotated[float, typer.Option(help="Seconds from one update to the next.")] = 0.5,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Say which microphones there are.")] = False,
    seconds: Annotated[
        float | None, typer.Option(help="When to stop; with Ctrl-C or the recording by default.")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="Plain text, drawn in a terminal, or a line of JSON for each update.")
    ] = (Format.text),
) -> None:
    """The classes while one speaks: the microphone, or a recording, with latency and real-time factor."""
    with errors_as_sentences():
        if list_devices:
            from ..inference.microphone import devices_table

            Console().print(devices_table().for_terminal())
            return
        if not _LEAST_HOP <= hop <= 60:
            raise RecipeError(f"--hop is {hop:g}: it must be between {_LEAST_HOP:g} and 60 seconds")
        if seconds is not None and not seconds > 0:
            raise RecipeError(f"--seconds is {seconds:g}: it must be above 0")
        if file is not None and device is not None:
            raise RecipeError("--file and --device: it can only be one of them")
        name = model or _of_quickstart("Shiftformer")
        from ..inference import live as _live
        from ..inference.recognizer import Recognizer

        sound = _sound(file, device, seconds)  # what cannot be heard is told of before the model is loaded
        recognizer = Recognizer.load(name)
        view = _view(format, recognizer.labels)
        ear, way = _live.ear_of(recognizer)
        view.begin(Path(name).name, way)
        summary = _live.Summary()
        # To be stopped is the way to end it.
        with suppress(KeyboardInterrupt), _live.reading(sound, recognizer.window + hop) as inbox, view.shown():
            for update in _live.updates(ear, inbox, hop):
                summary.add(update)
                view.show(update, summary)
        view.end(summary)


@ser.command()
def demo(
    model: Model = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="A model to show beside it.", show_default="its baseline, unless --model is given"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Where it listens; by default, only this machine can reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 7860,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether to open it in the browser.")] = True,
) -> None:
    """A page in the browser: upload or record, and see the classes over time by a shift model and its baseline."""
    with errors_as_sentences():
        names = (
            [model, baseline] if model else [_of_quickstart("Shiftformer"), baseline or _of_quickstart("Transformer")]
        )
        from ..inference.demo import quickstart_examples, serve
        from ..inference.recognizer import Recognizer

        models = [(Path(name).name, Recognizer.load(name)) for name in names if name]
        examples = quickstart_examples(_CORPUS) if _CORPUS.is_dir() else []
        serve(models, examples, host, port, browser=browser)


def _sound(file: Path | None, device: str | None, seconds: float | None) -> Sound:
    from ..audio.reading import read_blocks, read_header
    from ..inference.live import BLOCK, first, played
    from ..inference.microphone import microphone

    if file is None:
        sound = microphone(device)
    else:
        read_header(file)
        sound = played(read_blocks(file, BLOCK))
    return sound if seconds is None else first(sound, seconds)


def _view(format: Format, labels: Sequence[str]) -> View:
    from ..inference.live_view import Drawing, JsonLines, Lines

    if format is Format.json:
        return JsonLines(labels)
    console = Console()
    return Drawing(labels, console) if console.is_terminal else Lines(labels)


def _of_quickstart(name: str) -> str:
    """A model that the repository holds."""
    folder = _MODELS / name
    if not folder.is_dir():
        raise RecipeError(f"there is no {folder} here: run this in a clone of the repository, or name a --model")
    return str(folder)
