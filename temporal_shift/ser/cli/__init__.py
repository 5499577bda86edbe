"""The command line, ``temporal-shift``. The modules of this folder parse arguments and call the recipe.

torch, NumPy and pydantic are imported only when a command runs, so help and usage errors are immediate.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ... import __version__
from . import cache, corpora, experiments, live, models, predict
from .exit_codes import exit_on_error

__all__ = ["app"]


class _WithHint(TyperGroup):
    """The top-level commands; the error for ``temporal-shift predict`` names ``temporal-shift ser predict``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and args[0] in getattr(self.commands["ser"], "commands", ()):
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'temporal-shift ser {args[0]}'?")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_WithHint,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},  # inherited by all commands
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"temporal-shift {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def _temporal_shift(version: _Version = False) -> None:
    """Experiments with the temporal shift."""


@app.command()
def env() -> None:
    """Print the versions of Python and the packages, the GPUs and the state of Triton, for a bug report."""
    from ..._environment import report

    with exit_on_error():
        print(report())


_ser = typer.Typer(no_args_is_help=True)


@_ser.callback()
def _speech(version: _Version = False) -> None:
    """Speech emotion recognition with pre-trained encoders."""


for _command in (
    experiments.quickstart,
    corpora.download,
    corpora.prepare,
    corpora.describe,
    experiments.run,
    experiments.reproduce,
    experiments.ablate,
    experiments.compare,
    models.train,
    models.package,
    models.export,
    predict.predict,
    live.live,
    live.demo,
):
    _ser.command()(_command)

_cache = typer.Typer(no_args_is_help=True)
_cache.command("ls")(cache.list_caches)
_cache.command("verify")(cache.verify)
_cache.command("rm")(cache.remove_cache)

app.add_typer(_ser, name="ser")
_ser.add_typer(_cache, name="cache", help="List, verify and delete cached features.")
