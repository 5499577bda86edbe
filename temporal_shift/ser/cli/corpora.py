"""``download``, ``prepare`` and ``describe``: get a corpus, write its manifest, describe it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from ..utils.wording import PLAIN, counted
from .exit_codes import exit_on_error
from .options import choice, out_option

if TYPE_CHECKING:
    from ..config import Corpus
    from ..corpora.download.sources import DownloadableCorpus

_CORPORA = "iemocap, ravdess, cremad, emodb, emobox, table, folder"
_DOWNLOADS = "emodb, ravdess, crema-d, nemo, subesco"
_DECLINED = 1  # exit code if the user declines the licence


@exit_on_error(resumes=True)
def download(
    corpus: Annotated[str, typer.Argument(help=f"Corpus to download: {_DOWNLOADS}.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the corpus.")],
    out: Annotated[Path | None, out_option("Manifest to write.", show_default="DIR.jsonl")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the licence without a prompt.")] = False,
) -> None:
    """Download a corpus, verify its checksum if one is published, unpack it and write its manifest."""
    from ..corpora.download import RECORD, downloaded
    from ..corpora.download import download as download_corpus
    from ..corpora.download.sources import SOURCES

    choice("corpus", corpus, tuple(SOURCES))
    source = SOURCES[corpus]
    if folder.name in ("", ".."):
        raise RecipeError(f"DIR must be a new folder, got {folder}")
    is_named, out = out is not None, out or folder.with_name(f"{folder.name}.jsonl")
    if out.resolve().is_relative_to(folder.resolve()):
        raise RecipeError(f"--out must be outside the corpus {folder}, got {out}")
    if downloaded(source, folder) is None:
        if not is_named and out.exists():
            raise RecipeError(f"--out must be given: the default manifest {out} exists")
        _ask_for_consent(source, yes=yes)
        with _transfer_progress() as on_progress:
            found = download_corpus(source, folder, on_progress)
        print(f"{folder}: {counted(found.files, 'file')}; the SHA-256 of the archive is in {RECORD}: {found.sha256}")
        if found.published_checksum is None:
            print("the publisher gives no checksum to compare with")
    else:
        print(f"{folder} already contains {source.name}")
    _prepare(source.settings(folder), out, replaces=is_named)


def _ask_for_consent(source: DownloadableCorpus, *, yes: bool) -> None:
    size = "unknown" if source.size is None else f"{source.size / 1e6:.0f} MB"
    print(f"{source.title}\n  from {source.url} ({source.page}), size {size}")
    print(f"  licence: {source.licence} ({source.licence_url})\n  please cite: {source.citation}")
    if yes:
        return
    if not sys.stdin.isatty():
        raise RecipeError(
            "--yes must be given to accept the licence if standard input is not a terminal; nothing was downloaded"
        )
    if not typer.confirm("Download?"):
        print("nothing was downloaded")
        raise typer.Exit(_DECLINED)


@contextmanager
def _transfer_progress() -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar in a terminal; otherwise one line per tenth, or per 50 MB if the size is unknown."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console, shown = Console(), -1
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(TextColumn("download"), *columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("download", total=None)

        def on_progress(done: int, total: int | None) -> None:
            nonlocal shown
            progress.update(task, completed=done, total=total)
            tenths = 10 * done // total if total else done // 50_000_000
            if tenths != shown and not console.is_terminal:
                shown = tenths
                print(f"{done / 1e6:.1f} MB" + (f" of {total / 1e6:.1f} MB" if total else ""), flush=True)

        yield on_progress


@exit_on_error()
def prepare(
    corpus: Annotated[str, typer.Argument(help=f"Format of the corpus: {_CORPORA}.")],
    path: Annotated[Path, typer.Argument(help="Folder or table of the corpus (not changed).")],
    out: Annotated[Path | None, out_option("Manifest to write.", show_default="manifest.jsonl")] = None,
    label_map: Annotated[
        Path | None,
        typer.Option(help="YAML file that maps each label of the corpus to a class, or to null to leave it out."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="Pattern of the file paths, for the format folder.", show_default="{label}/{speaker}/{name}"),
    ] = None,
    groups: Annotated[
        int | None, typer.Option(help="Number of speaker groups used as folds.", show_default="5")
    ] = None,
    folds: Annotated[
        str | None, typer.Option(help="Folds: speakers (groups of speakers) or published (the corpus's own).")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Column names of a table, such as path=file,label=emotion.")
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="Folder that the paths in a table or in EmoBox are relative to.")
    ] = None,
) -> None:
    """Read a corpus and write its manifest (JSON lines); report differences from published counts, if known."""
    from ..config import Corpus
    from ..corpora import READERS
    from ..corpora.label_maps import read_label_map

    if corpus == "manifest" or corpus not in READERS:
        raise RecipeError(f"corpus must be one of {_CORPORA}, got {corpus!r}")
    is_named, out = out is not None, out or Path("manifest.jsonl")
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
    _prepare(chosen, out, label_map, replaces=is_named)


def _prepare(corpus: Corpus, out: Path, label_map: Path | None = None, *, replaces: bool) -> None:
    """Write the manifest of a corpus, and print caveats.

    Args:
        corpus: The corpus.
        out: The manifest to write.
        label_map: The file of the corpus's label map. Default: ``None``, no file.
        replaces: Whether to replace a file with other content at ``out``. Otherwise, such a file is an error.
    """
    from ..corpora import PUBLISHED, description, published_of, read_corpus
    from ..corpora.caveats import leaks, mixed_channels
    from ..corpora.manifest import manifest_content, write_manifest

    manifest = read_corpus(corpus)
    if out.resolve() in {label_map and label_map.resolve(), *(each.path.resolve() for each in manifest.utterances)}:
        raise RecipeError(f"--out must not be a file that the command reads, got {out}")
    if not replaces and out.exists() and out.read_bytes() != manifest_content(manifest, out):
        raise RecipeError(f"--out must be given: the default manifest {out} exists and has other content")
    write_manifest(manifest, out)
    console = Console()
    console.print(description.classes_by_session(manifest).for_terminal())
    published = published_of(corpus)
    if published is not None:
        for difference in (*published.audio_differences(manifest), *published.differences(manifest)):
            print(f"differs: {difference}", file=sys.stderr)
    elif corpus.reader in PUBLISHED:
        print(f"not compared with the published counts, because {label_map} defines other classes", file=sys.stderr)
    for caveat in (*leaks(manifest), *mixed_channels(manifest)):
        print(f"warning: {caveat}", file=sys.stderr)
    console.print(f"{out}: {counted(len(manifest.utterances), 'utterance')}", **PLAIN)


@exit_on_error()
def describe(
    manifest: Annotated[Path, typer.Argument(help="Manifest written by prepare or by a run.")],
    plot: Annotated[
        Path | None, typer.Option(help="PNG file for the plot.", show_default="the manifest's path, ending in .png")
    ] = None,
) -> None:
    """Describe a corpus: durations, sample rates, speakers, classes, chance level, duplicates; write a plot."""
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
        console.print(finding, **PLAIN)

    from ..corpora.description_plot import corpus_figure  # imports matplotlib, so the tables are printed first
    from ..utils.plot_style import to_png

    write_bytes(picture, to_png(corpus_figure(corpus)))
    console.print(str(picture), **PLAIN)


def _pairs(columns: str) -> dict[str, str]:
    """Convert text such as ``path=file_id,label=emotion`` to a dictionary."""
    found: dict[str, str] = {}
    for pair in columns.split(","):
        column, equals, name = pair.partition("=")
        if not equals:
            raise RecipeError(f"--columns must have the form path=file,label=emotion,speaker=who, got {columns!r}")
        if column.strip() in found:
            raise RecipeError(f"--columns must have different keys, got {column.strip()!r} twice in {columns!r}")
        found[column.strip()] = name
    return found
