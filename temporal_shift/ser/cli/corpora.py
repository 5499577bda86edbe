"""``prepare``: from a corpus on disk to a manifest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import RecipeError
from .app import ser
from .errors import errors_as_sentences


@ser.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="Who reads it: iemocap.")],
    path: Annotated[Path, typer.Argument(help="The corpus folder. Nothing is written into it.")],
    out: Annotated[Path, typer.Option(help="The manifest.")] = Path("manifest.jsonl"),
) -> None:
    """Read a corpus into a manifest, a line of JSON for each utterance; say how it differs from the published one."""
    with errors_as_sentences():
        from .. import tables
        from ..corpora import iemocap
        from ..manifest import write_manifest

        if corpus != "iemocap":
            raise RecipeError(f"there is no reader {corpus!r}: it can be iemocap")
        if out.resolve().is_relative_to(path.resolve()):
            raise RecipeError(f"--out {out} lies in the corpus itself, into which nothing is written")
        manifest = iemocap.read_iemocap(path)
        write_manifest(manifest, out)
        console = Console()
        console.print(tables.counts(manifest).for_terminal())
        for difference in iemocap.count_differences(manifest):
            print(f"differs: {difference}", file=sys.stderr)
        console.print(f"{out}: {len(manifest.utterances)} utterances", soft_wrap=True)
