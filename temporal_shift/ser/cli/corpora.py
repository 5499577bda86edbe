"""``prepare`` and ``describe``: from a corpus on disk to a manifest, and what a manifest contains."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .exit_codes import exit_on_error
from .options import out_option

_CORPORA = "iemocap, ravdess, cremad, emodb, emobox, table, folder"


@exit_on_error()
def prepare(
    corpus: Annotated[str, typer.Argument(help=f"Reader: {_CORPORA}.")],
    path: Annotated[Path, typer.Argument(help="Corpus folder or table (read only).")],
    out: Annotated[Path, out_option("Manifest to write.")] = Path("manifest.jsonl"),
    label_map: Annotated[
        Path | None, typer.Option(help="YAML file that maps each label of the corpus to a class, or to null.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Pattern of a folder's paths.", show_default="{label}/{speaker}/{name}")
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Number of speaker groups used as folds.", show_default="5")
    ] = None,
    folds: Annotated[str | None, typer.Option(help="Folds: speakers, or published (the corpus's own).")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Names of a table's columns, e.g. path=file_id,label=emotion,speaker=speaker_id.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Folder that the paths of a table or of EmoBox start from.")
    ] = None,
) -> None:
    """Read a corpus into a manifest (JSON lines, one per utterance); report differences from the published corpus."""
    from ..config import Corpus
    from ..corpora import PUBLISHED, READERS, description, published_of, read_corpus
    from ..corpora.caveats import leaks, mixed_channels
    from ..corpora.label_maps import read_label_map
    from ..corpora.manifest import write_manifest

    if corpus == "manifest" or corpus not in READERS:
        raise RecipeError(f"corpus must be one of {_CORPORA}, got {corpus!r}")
    if out.resolve().is_relative_to(path.resolve()):
        raise RecipeError(f"--out must be outside the corpus {path}, got {out}")
    chosen = Corpus.checked(
        reader=corpus,
        path=path,
        label_map=None if label_map is None else read_label_map(label_map),
        pattern=pattern,
        groups=groups,
        folds=folds,
        columns=None if columns is None else _pairs(columns),
        audio=audio,
    )
    manifest = read_corpus(chosen)
    if out.resolve() in {label_map and label_map.resolve(), *(each.path.resolve() for each in manifest.utterances)}:
        raise RecipeError(f"--out must not be a file that prepare reads, got {out}")
    write_manifest(manifest, out)
    console = Console()
    console.print(description.classes_by_session(manifest).for_terminal())
    published = published_of(chosen)
    if published is not None:
        for difference in (*published.audio_differences(manifest), *published.differences(manifest)):
            print(f"differs: {difference}", file=sys.stderr)
    elif corpus in PUBLISHED:
        print(f"not compared with the published counts: {label_map} makes other classes", file=sys.stderr)
    for caveat in (*leaks(manifest), *mixed_channels(manifest)):
        print(f"warning: {caveat}", file=sys.stderr)
    console.print(f"{out}: {len(manifest.utterances)} utterances", soft_wrap=True)


@exit_on_error()
def describe(
    manifest: Annotated[Path, typer.Argument(help="Manifest that prepare or a run wrote (JSON lines).")],
    plot: Annotated[
        Path | None, typer.Option(help="PNG file for the plot.", show_default="the manifest's path, ending in .png")
    ] = None,
) -> None:
    """Describe a corpus: durations, sample rates, speakers, class balance, chance level, duplicates; with a plot."""
    from ..corpora import description
    from ..corpora.manifest import read_manifest
    from ..utils.atomic_files import write_bytes

    if plot is not None and plot.suffix.lower() != ".png":
        raise RecipeError(f"--plot must end in .png, got {plot}")
    corpus = read_manifest(manifest)
    picture = manifest.with_suffix(".png") if plot is None else plot
    described = description.describe(corpus)
    console = Console()
    for table in (
        description.overview(described),
        description.classes_by_session(corpus),
        description.speakers(corpus),
    ):
        console.print(table.for_terminal())
        console.print()
    for finding in description.findings(described):
        console.print(finding, soft_wrap=True, markup=False, highlight=False)

    from ..corpora.description_plot import corpus_figure  # imports matplotlib, so the tables are printed first
    from ..utils.plot_style import to_png

    write_bytes(picture, to_png(corpus_figure(corpus)))
    console.print(str(picture), soft_wrap=True, markup=False, highlight=False)


def _pairs(columns: str) -> dict[str, str]:
    """``path=file_id,label=emotion`` as a dictionary."""
    found: dict[str, str] = {}
    for pair in columns.split(","):
        column, equals, name = pair.partition("=")
        if not equals or column.strip() in found:
            raise RecipeError(f"--columns must be such as path=file_id,label=emotion,speaker=who, got {columns!r}")
        found[column.strip()] = name
    return found
