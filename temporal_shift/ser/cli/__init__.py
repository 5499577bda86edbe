"""``temporal-shift ser ...``: the tree of commands. The modules of this folder parse arguments and call the recipe.

Nothing here imports torch, NumPy or pydantic before a command runs, so that help and usage errors are immediate.
"""

from __future__ import annotations

import typer

from . import cache, corpora, experiments, live, models, predict

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _temporal_shift() -> None:
    """The temporal shift: experiments on the command line."""


_ser = typer.Typer(no_args_is_help=True)
for _command in (
    experiments.quickstart,
    corpora.prepare,
    corpora.describe,
    experiments.run,
    experiments.reproduce,
    experiments.ablate,
    experiments.compare,
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

app.add_typer(_ser, name="ser", help="Speech emotion recognition on pre-trained encoders.")
_ser.add_typer(_cache, name="cache", help="List, verify and delete cached features.")
