"""``cache ls``, ``cache verify`` and ``cache rm``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .app import cache as cache_app
from .errors import errors_as_sentences
from .options import CACHE, Cache


@cache_app.command("ls")
def list_caches(cache: Cache = CACHE) -> None:
    """What is there: name, backbone, layer, clip, utterances, files of all, size."""
    with errors_as_sentences():
        from ..encoders.cache_maintenance import caches_table

        Console().print(caches_table(cache).for_terminal())


@cache_app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="The beginning of its name; all by default.")] = None,
    cache: Cache = CACHE,
) -> None:
    """Hold every file against its sum; exit code 1 where one is missing or broken, to be encoded by the next run."""
    with errors_as_sentences():
        from ..encoders.cache_maintenance import entries, find

        broken = [path for entry in ([find(cache, name)] if name else entries(cache)) for path in entry.broken()]
        for path in broken:
            print(f"broken: {path}")
        if broken:
            raise typer.Exit(1)
        print("all files are whole")


@cache_app.command("rm")
def remove_cache(
    name: Annotated[str, typer.Argument(help="The beginning of its name.")],
    cache: Cache = CACHE,
) -> None:
    """Delete a cache."""
    with errors_as_sentences():
        from ..encoders.cache_maintenance import find, remove

        if not name.strip():
            raise RecipeError("the name of the cache to delete is empty")  # as of a shell's variable that is not set
        entry = find(cache, name)
        size = entry.bytes
        remove(entry)
        print(f"deleted {entry.folder} ({size / 1e6:.1f} MB)")
