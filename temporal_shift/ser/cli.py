"""``temporal-shift ser ...``: what a person types, and what they read when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .config import Experiment, read_experiment
from .errors import RecipeError

_QUICKSTART = Path("examples/quickstart/experiment.yaml")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ser = typer.Typer(no_args_is_help=True)
cache_app = typer.Typer(no_args_is_help=True)
app.add_typer(ser, name="ser", help="Speech emotion recognition on pre-trained encoders.")
ser.add_typer(cache_app, name="cache", help="What lies in the feature cache.")


@app.callback()
def _temporal_shift() -> None:
    """The temporal shift: experiments on the command line."""


Overrides = dict[str, dict[str, Any]]

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where results go.", show_default="results/<name of the experiment>"),
]
Cache = Annotated[Path, typer.Option(help="Where features are kept between experiments.")]
CACHE = Path("results/features")
Ray = Annotated[
    str | None, typer.Option(help="Train on the Ray cluster at this address: auto, ray://host:10001, local.")
]
Corpus = Annotated[Path | None, typer.Option(help="The corpus, instead of the experiment's.")]
Backbone = Annotated[str | None, typer.Option(help="A hub name or a folder, instead of the experiment's backbone.")]
Revision = Annotated[str | None, typer.Option(help="Of the hub: a commit, a tag or a branch.")]
Layer = Annotated[str | None, typer.Option(help="last, an index of the hidden states, or weighted: a learned sum.")]
Protocol = Annotated[str | None, typer.Option(help="heldout, speaker, last, or paper (optimistic).")]
Seeds = Annotated[int | None, typer.Option(help="How often each model is trained for each fold.")]
Epochs = Annotated[int | None, typer.Option(help="Of training, instead of the experiment's.")]
Processes = Annotated[int | None, typer.Option(help="Runs trained side by side.")]


@ser.command()
def quickstart(
    config: Annotated[Path, typer.Argument(help="The experiment.")] = _QUICKSTART,
    output: Output = None,
    cache: Cache = CACHE,
) -> None:
    """The paper's experiment in the small: no download, no GPU, about four minutes."""
    with _errors_as_sentences():
        if config == _QUICKSTART and not config.exists():
            raise RecipeError(
                f"there is no {config} here: run this in a clone of the repository, or name an experiment"
            )
        _run(read_experiment(config), output, cache)


@ser.command()
def run(
    config: Annotated[Path, typer.Argument(help="The experiment, a YAML file.")],
    output: Output = None,
    cache: Cache = CACHE,
    corpus: Corpus = None,
    backbone: Backbone = None,
    revision: Revision = None,
    layer: Layer = None,
    protocol: Protocol = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    processes: Processes = None,
    ray: Ray = None,
) -> None:
    """Encode the corpus, train every model on every fold, report; run again, it goes on where it was stopped."""
    with _errors_as_sentences():
        overrides = _overrides(corpus, backbone, revision, layer, protocol, seeds, epochs, processes)
        _run(read_experiment(config, overrides), output, cache, ray=ray)


@ser.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="Who reads it: iemocap.")],
    path: Annotated[Path, typer.Argument(help="The corpus folder. Nothing is written into it.")],
    out: Annotated[Path, typer.Option(help="The manifest.")] = Path("manifest.jsonl"),
) -> None:
    """Read a corpus into a manifest, a line of JSON for each utterance; say how it differs from the published one."""
    with _errors_as_sentences():
        from . import tables
        from .corpora import iemocap
        from .manifest import write_manifest

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


@ser.command()
def reproduce(
    iemocap: Annotated[Path, typer.Option(help="The folder that holds Session1 to Session5.")],
    setting: Annotated[list[str] | None, typer.Option(help="features or finetune; both, where none is given.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="One of the six, more by repeating; all by default.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where results go.")] = Path("results/reproduce"),
    cache: Cache = CACHE,
    backbone: Backbone = None,
    revision: Revision = None,
    layer: Layer = None,
    protocol: Protocol = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    processes: Processes = None,
    ray: Ray = None,
) -> None:
    """The paper's six models in its two settings, five folds each, beside the published figures."""
    with _errors_as_sentences():
        from .published import reproduce as _reproduce

        overrides = _overrides(iemocap, backbone, revision, layer, protocol, seeds, epochs, processes)
        _reproduce(setting or [], model or [], overrides, output, cache, Console(), ray)


@ser.command()
def ablate(
    config: Annotated[Path, typer.Argument(help="The experiment whose models the grid replaces, a YAML file.")],
    blocks: Annotated[str, typer.Option(help="Of conv, lstm, transformer.")] = "conv,lstm,transformer",
    placement: Annotated[str, typer.Option(help="Of residual, inplace, replace.")] = "residual,inplace,replace",
    n_div: Annotated[str, typer.Option(help="Reciprocals of the proportion that moves each way.")] = "2,4,8,16",
    direction: Annotated[str, typer.Option(help="Of past, future, both.")] = "past,both",
    stride: Annotated[str, typer.Option(help="In frames.")] = "1,2",
    output: Output = None,
    cache: Cache = CACHE,
    corpus: Corpus = None,
    backbone: Backbone = None,
    revision: Revision = None,
    layer: Layer = None,
    protocol: Protocol = None,
    seeds: Seeds = None,
    epochs: Epochs = None,
    processes: Processes = None,
    ray: Ray = None,
) -> None:
    """Placement, proportion, direction and stride of the shift, every combination, as a table and a heatmap."""
    with _errors_as_sentences():
        from .ablation import Grid, ablation_section

        grid = Grid(
            _split(blocks),
            _split(placement),
            _integers("--n-div", n_div),
            _split(direction),
            _integers("--stride", stride),
        )
        overrides = _overrides(corpus, backbone, revision, layer, protocol, seeds, epochs, processes)
        experiment = grid.experiment(read_experiment(config, overrides))
        output = output or Path("results") / f"{experiment.name}-ablation"
        _run(experiment, output, cache, ray=ray, more=ablation_section)


@ser.command()
def compare(
    first: Annotated[Path, typer.Argument(help="The folder of an experiment's results.")],
    second: Annotated[Path, typer.Argument(help="Another's, on the same folds.")],
    model: Annotated[
        tuple[str, str] | None, typer.Option(help="A model of each; all that both have by default.")
    ] = None,
) -> None:
    """Two experiments, model against model: paired differences of UA, and McNemar's test on the utterances."""
    with _errors_as_sentences():
        from .comparison import compare as _compare

        table, reading = _compare(first, second, model)
        Console().print(table.for_terminal(), reading)


@cache_app.command("ls")
def list_caches(cache: Cache = CACHE) -> None:
    """What is there: name, backbone, layer, clip, utterances, files of all, size."""
    with _errors_as_sentences():
        from .caches import caches_table

        Console().print(caches_table(cache).for_terminal())


@cache_app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="The beginning of its name; all by default.")] = None,
    cache: Cache = CACHE,
) -> None:
    """Hold every file against its sum; exit code 1 where one is missing or broken, to be encoded by the next run."""
    with _errors_as_sentences():
        from .caches import entries, find

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
    with _errors_as_sentences():
        from .caches import find, remove

        if not name.strip():
            raise RecipeError("the name of the cache to delete is empty")  # as of a shell's variable that is not set
        entry = find(cache, name)
        size = entry.bytes
        remove(entry)
        print(f"deleted {entry.folder} ({size / 1e6:.1f} MB)")


def _run(
    experiment: Experiment,
    output: Path | None,
    cache: Path,
    *,
    ray: str | None = None,
    more: Callable[..., Any] | None = None,
) -> None:
    from .experiment import run_experiment  # what it imports takes seconds: wrong arguments should be told at once

    root = output or Path("results") / experiment.name
    run_experiment(experiment, root, cache, Console(), ray=ray, more=more or (lambda results, metrics: []))


def _overrides(
    corpus: Path | None,
    backbone: str | None,
    revision: str | None,
    layer: str | None,
    protocol: str | None,
    seeds: int | None,
    epochs: int | None,
    processes: int | None,
) -> Overrides:
    """What the command line says, as the sections of an experiment; what it does not say is left out."""
    if backbone is not None and Path(backbone).is_dir():
        backbone = str(Path(backbone).resolve())
    said: Overrides = {
        "": {"seeds": seeds, "processes": processes},
        "corpus": {"path": None if corpus is None else str(corpus.resolve())},
        "backbone": {"name": backbone, "revision": revision, "layer": _layer(layer)},
        "protocol": {"kind": protocol},
        "training": {"epochs": epochs},
    }
    said = {name: {key: value for key, value in section.items() if value is not None} for name, section in said.items()}
    if backbone is not None and revision is None:
        said["backbone"]["revision"] = None  # the experiment's is another model's
    return {name: section for name, section in said.items() if section}


def _layer(text: str | None) -> int | str | None:
    if text is None or text in ("last", "weighted"):
        return text
    try:
        return int(text)
    except ValueError:
        raise RecipeError(f"--layer is {text!r}: it must be last, weighted, or an index of the hidden states") from None


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _integers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _split(text))
    except ValueError:
        raise RecipeError(f"{option} is {text!r}: it must be whole numbers with commas between them") from None


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    """One sentence and exit code 2 for what the user can mend; a traceback only for what we must."""
    try:
        yield
    except RecipeError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        print("\nstopped: the same command goes on from here", file=sys.stderr)
        raise typer.Exit(130) from None
