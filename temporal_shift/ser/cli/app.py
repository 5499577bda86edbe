"""The tree of commands, which the other modules of this folder hang theirs on."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ser = typer.Typer(no_args_is_help=True)
cache = typer.Typer(no_args_is_help=True)
app.add_typer(ser, name="ser", help="Speech emotion recognition on pre-trained encoders.")
ser.add_typer(cache, name="cache", help="What lies in the feature cache.")


@app.callback()
def _temporal_shift() -> None:
    """The temporal shift: experiments on the command line."""
