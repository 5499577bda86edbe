"""``prepare`` and ``describe``: from a corpus on disk to a manifest, and what is in one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .app import ser
from .errors import errors_as_sentences

_CORPORA = "iemocap, ravdess, cremad, emodb, emobox, table, folder"


@ser.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help=f"Who reads it: {_CORPORA}.")],
    path: Annotated[Path, typer.Argument(help="The corpus folder, or the table. Nothing is written into it.")],
    out: Annotated[Path, typer.Option(help="The manifest.")] = Path("manifest.jsonl"),
    label_map: Annotated[
        Path | None, typer.Option(help="A class for each of the corpus's labels, or null: a YAML file.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="How a folder's paths are made.", show_default="{label}/{speaker}/{name}")
    ] = None,
    groups: Annotated[int | None, typer.Option(help="Of speakers, as folds.", show_default="5")] = None,
    folds: Annotated[str | None, typer.Option(help="speakers, or published: the corpus's own.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Where a table's or EmoBox's paths start.")] = None,
) -> None:
    """Read a corpus into a manifest, a line of JSON for each utterance; say how it differs from the published one."""
    with errors_as_sentences():
        from ..config import Corpus
        from ..corpora import DIFFERENCES, READERS, read_corpus
        from ..corpora.label_maps import read_label_map
        from ..corpora.manifest import write_manifest
        from ..reports import report_tables

        if corpus == "manifest" or corpus not in READERS:
            raise RecipeError(f"there is no reader {corpus!r}: it can be {_CORPORA}")
        if out.resolve().is_relative_to(path.resolve()):
            raise RecipeError(f"--out {out} lies in the corpus itself, into which nothing is written")
        chosen = Corpus.checked(
            reader=corpus,
            path=path,
            label_map=None if label_map is None else read_label_map(label_map),
            pattern=pattern,
            groups=groups,
            folds=folds,
            audio=audio,
        )
        manifest = read_corpus(chosen)
        write_manifest(manifest, out)
        console = Console()
        console.print(report_tables.counts(manifest).for_terminal())
        if corpus in DIFFERENCES and label_map is not None:
            print(f"not compared with the published counts: {label_map} makes other classes", file=sys.stderr)
        elif corpus in DIFFERENCES:
            for difference in DIFFERENCES[corpus](manifest):
                print(f"differs: {difference}", file=sys.stderr)
        console.print(f"{out}: {len(manifest.utterances)} utterances", soft_wrap=True)


@ser.command()
def describe(
    manifest: Annotated[Path, typer.Argument(help="What prepare wrote, or a run: a file of JSON lines.")],
    plot: Annotated[
        Path | None, typer.Option(help="The picture, a PNG.", show_default="beside the manifest, by its name")
    ] = None,
) -> None:
    """What is in a corpus: durations, rates, speakers, balance, chance; who and what is there twice. With a picture."""
    with errors_as_sentences():
        from ..corpora import description
        from ..corpora.manifest import read_manifest
        from ..reports import report_tables
        from ..utils.atomic_files import atomic_write

        picture = manifest.with_suffix(".png") if plot is None else plot
        if picture.suffix.lower() != ".png":
            raise RecipeError(f"--plot is {picture}: it must end in .png")
        corpus = read_manifest(manifest)
        described = description.describe(corpus)
        console = Console()
        for table in (description.overview(described), report_tables.counts(corpus), description.speakers(corpus)):
            console.print(table.for_terminal())
            console.print()
        for finding in description.findings(described):
            console.print(finding, soft_wrap=True, markup=False, highlight=False)

        from ..corpora.description_plot import (
            corpus_figure,  # matplotlib takes seconds to import: the tables come first
        )
        from ..utils.plot_style import to_png

        with atomic_write(picture) as file:
            file.write(to_png(corpus_figure(corpus)))
        console.print(str(picture), soft_wrap=True, markup=False, highlight=False)
