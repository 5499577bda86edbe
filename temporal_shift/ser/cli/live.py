"""``live`` and ``demo``: predictions for the microphone or for recordings, in the terminal or in the browser."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .exit_codes import exit_on_error
from .options import AllowDownload, Channel, Revision, channel_of

if TYPE_CHECKING:
    from ..config import Channel as ChannelSetting
    from ..inference.live import Sound
    from ..inference.live_view import View

_MODELS = Path("examples/real-speech/models")
_CORPUS = Path("examples/quickstart/corpus")
_AUTH = "TEMPORAL_SHIFT_DEMO_AUTH"
_MIN_HOP, _MAX_HOP = 0.02, 60  # seconds

Model = Annotated[
    str | None,
    typer.Option(help="Folder or hub name of a model.", show_default="the repository's Shiftformer, in a clone"),
]


class Format(str, Enum):
    """The output formats of ``live``."""

    text = "text"
    json = "json"


@exit_on_error()
def live(
    model: Model = None,
    revision: Revision = None,
    allow_download: AllowDownload = False,
    file: Annotated[
        Path | None, typer.Option(help="Recording to process in real time, instead of the microphone.")
    ] = None,
    channel: Channel = "mean",
    device: Annotated[
        str | None, typer.Option(help="Microphone: number or part of its name (see --list-devices).")
    ] = None,
    hop: Annotated[float, typer.Option(help="Seconds between two updates.")] = 0.5,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the microphones and exit.")] = False,
    seconds: Annotated[
        float | None, typer.Option(help="Seconds to run (default: until Ctrl-C or the end of the recording).")
    ] = None,
    format: Annotated[
        Format, typer.Option(help="Output format: text (bars in a terminal) or json (one object per update).")
    ] = (Format.text),
) -> None:
    """Predict emotions in real time, from the microphone or a recording; measure latency and real-time factor."""
    if list_devices:
        from ..inference.microphone import devices_table

        Console().print(devices_table().for_terminal())
        return
    if not _MIN_HOP <= hop <= _MAX_HOP:
        raise RecipeError(f"--hop must be in [{_MIN_HOP:g}, {_MAX_HOP:g}] seconds, got {hop:g}")
    if seconds is not None and not 0 < seconds < math.inf:
        raise RecipeError(f"--seconds must be above 0 and finite, got {seconds:g}")
    if file is not None and device is not None:
        raise RecipeError(f"--file and --device are mutually exclusive, got {file} and {device}")
    if file is None and channel != "mean":
        raise RecipeError(
            f"--channel requires --file, because the microphone is recorded with one channel, got {channel}"
        )
    name = model or _model_of_the_clone("Shiftformer")
    from ..inference import live as _live
    from ..inference.recognizer import Recognizer

    # report an invalid file or device before the model is loaded
    sound = _sound(file, channel_of(channel), device, seconds)
    recognizer = Recognizer.load(name, revision, allow_download=allow_download)
    view = _view(format, recognizer.labels)
    predictor, way = _live.predictor_of(recognizer)
    view.begin(Path(name).name, way)
    summary = _live.Summary()
    # Ctrl-C is the normal way to stop
    with suppress(KeyboardInterrupt), _live.reading(sound, recognizer.window + hop) as inbox, view.shown():
        for update in _live.updates(predictor, inbox, hop):
            summary.add(update)
            view.show(update, summary)
    view.end(summary)


@exit_on_error()
def demo(
    model: Model = None,
    revision: Revision = None,
    allow_download: AllowDownload = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Second model, for comparison.", show_default="the repository's Transformer, if --model is not given"
        ),
    ] = None,
    baseline_revision: Annotated[str | None, typer.Option(help="Hub revision of the second model.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. By default, only this machine can connect.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 7860,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Host name of the page, for example behind a proxy (repeatable)."),
    ] = None,
    auth: Annotated[
        Path | None,
        typer.Option(
            help="File with one line, user:password, to protect the page.",
            show_default="the environment variable above",
        ),
    ] = None,
    without_password: Annotated[
        bool, typer.Option("--without-password", help="Allow any address in --host without a password.")
    ] = False,
    channel: Channel = "mean",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Serve a web page that shows predictions of one model or two for uploads, recordings and examples.

    The environment variable TEMPORAL_SHIFT_DEMO_AUTH can contain user:password. --auth overrides it.
    """
    if model is None:
        model, baseline = _model_of_the_clone("Shiftformer"), baseline or _model_of_the_clone("Transformer")
    if baseline is None and baseline_revision is not None:
        raise RecipeError(f"--baseline-revision requires --baseline, got {baseline_revision!r} without it")
    from ..inference.demo import quickstart_examples
    from ..inference.demo_server import Access, serve
    from ..inference.recognizer import Recognizer

    chosen = channel_of(channel)
    for each in name or ():
        if not re.fullmatch(r"[\w.-]+", each):
            raise RecipeError(f"--name must be a host name without scheme and port, got {each!r}")
    access = Access(host, port, name or (), _user_and_password(auth))
    if not (access.is_local or access.auth or without_password):
        raise RecipeError(
            f"--host must be an address that only this machine can reach, unless there is a password, got {host!r}: "
            f"pass --auth FILE, set {_AUTH}, or pass --without-password to let anyone use the page"
        )

    models = [(Path(model).name, Recognizer.load(model, revision, allow_download=allow_download))]
    if baseline is not None:
        second = Recognizer.load(baseline, baseline_revision, allow_download=allow_download)
        models.append((Path(baseline).name, second))
    examples = quickstart_examples(_CORPUS) if _CORPUS.is_dir() else []
    serve(models, examples, access, browser=browser, channel=chosen)


def _user_and_password(file: Path | None) -> str | None:
    """``user:password`` from a file or the environment, because other users can read a command line; or ``None``."""
    if file is None:
        text, source = os.environ.get(_AUTH), _AUTH
        if text is None:
            return None
    else:
        from ..utils.text_files import read_text

        if not file.is_file():  # the value may be a password: do not repeat it
            raise RecipeError("--auth must be a file with one line, user:password, got a path that is not a file")
        text, source = read_text(file).rstrip("\r\n"), f"--auth {file}"
    user, colon, password = text.partition(":")
    if not (user and colon and password and text.isprintable()):
        raise RecipeError(f"{source} must contain one line, user:password")
    return text


def _sound(file: Path | None, channel: ChannelSetting, device: str | None, seconds: float | None) -> Sound:
    from ..audio.reading import read_blocks
    from ..inference.live import BLOCK, first, played
    from ..inference.microphone import microphone

    if file is None:
        sound = microphone(device)
    else:
        blocks = read_blocks(file, BLOCK, channel=channel)
        sound = played(chain(list(islice(blocks, 1)), blocks))
    return sound if seconds is None else first(sound, seconds)


def _view(format: Format, labels: Sequence[str]) -> View:
    from ..inference.live_view import Drawing, JsonLines, Lines

    if format is Format.json:
        return JsonLines(labels)
    console = Console()
    return Drawing(labels, console) if console.is_terminal else Lines(labels)


def _model_of_the_clone(name: str) -> str:
    folder = _MODELS / name
    if not folder.is_dir():
        raise RecipeError(f"{folder} does not exist: run this in a clone of the repository, or pass --model")
    return str(folder)
