"""``cache ls``, ``cache verify`` and ``cache rm``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .exit_codes import exit_on_error
from .options import CACHE, Cache


@exit_on_error()
def list_caches(cache: Cache = CACHE) -> None:
    """List the feature caches: name, encoder, layer, clip, utterances, files, size."""
    from ..encoders.cache_maintenance import caches_table

    _check(cache)
    Console().print(caches_table(cache).for_terminal())


@exit_on_error()
def verify(
    name: Annotated[str | None, typer.Argument(help="Beginning of the name of a cache (default: all caches).")] = None,
    cache: Cache = CACHE,
) -> None:
    """Verify the checksums of the files in all feature caches, or in one.

    Exit code 1 if a file is missing or damaged. The next experiment that uses the cache computes such files again.
    """
    from ..encoders.cache_maintenance import entries, find

    _check(cache, name)
    found = list(entries(cache)) if name is None else [find(cache, name)]
    if not found:
        print(f"there are no caches in {cache}")
        return
    broken = [path for entry in found for path in entry.broken()]
    for path in broken:
        print(f"missing or damaged: {path}")
    if broken:
        raise typer.Exit(1)
    print("all files are intact")


@exit_on_error()
def remove_cache(
    name: Annotated[str, typer.Argument(help="Beginning of the name of the cache.")],
    cache: Cache = CACHE,
) -> None:
    """Delete a feature cache."""
    from ..encoders.cache_maintenance import find, remove

    _check(cache, name)
    entry = find(cache, name)
    size = entry.bytes
    remove(entry)
    print(f"deleted {entry.folder} ({size / 1e6:.1f} MB)")


def _check(cache: Path, name: str | None = None) -> None:
    if not cache.is_dir() and cache != CACHE:  # the default folder may not exist yet
        raise RecipeError(f"--cache must be a folder of feature caches, got {cache}")
    if name is not None and not name.strip():  # an unset shell variable must not match every cache
        raise RecipeError(f"the name of the cache must not be empty, got {name!r}")
