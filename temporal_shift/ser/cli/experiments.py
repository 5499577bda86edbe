"""``quickstart``, ``run``, ``reproduce``, ``ablate`` and ``compare``: experiments and what comes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..config import Experiment, read_experiment
from ..utils.errors import RecipeError
from .app import ser
from .errors import errors_as_sentences
from .options import (
    CACHE,
    Backbone,
    Cache,
    Corpus,
    Epochs,
    KeepModels,
    Layer,
    Output,
    Overrides,
    Processes,
    Protocol,
    Ray,
    Revision,
    Seeds,
    integers,
    overrides_of,
    split,
)

_QUICKSTART = Path("examples/quickstart/experiment.yaml")


@ser.command()
def quickstart(
    config: Annotated[Path, typer.Argument(help="The experiment.")] = _QUICKSTART,
    output: Output = None,
    cache: Cache = CACHE,
    keep_models: KeepModels = False,
) -> None:
    """The paper's experiment in the small: no download, no GPU, four to six minutes."""
    with errors_as_sentences(resumes=True):
        if config == _QUICKSTART and not config.exists():
            raise RecipeError(
                f"there is no {config} here: run this in a clone of the repository, or name an experiment"
            )
        overrides: Overrides = {"training": {"keep_models": True}} if keep_models else {}
        _run(read_experiment(config, overrides), output, cache)


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
    keep_models: KeepModels = False,
    ray: Ray = None,
) -> None:
    """Encode the corpus, train every model on every fold, report; run again, it goes on where it was stopped."""
    with errors_as_sentences(resumes=True):
        overrides = overrides_of(corpus, backbone, revision, layer, protocol, seeds, epochs, processes, keep_models)
        _run(read_experiment(config, overrides), output, cache, ray=ray)


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
    keep_models: KeepModels = False,
    ray: Ray = None,
) -> None:
    """The paper's six models in its two settings, five folds each, beside the published figures."""
    with errors_as_sentences(resumes=True):
        from ..experiments.reproduce import reproduce as _reproduce

        overrides = overrides_of(iemocap, backbone, revision, layer, protocol, seeds, epochs, processes, keep_models)
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
    with errors_as_sentences(resumes=True):
        from ..experiments.ablation import Grid, ablation_section

        grid = Grid(
            split(blocks),
            split(placement),
            integers("--n-div", n_div),
            split(direction),
            integers("--stride", stride),
        )
        overrides = overrides_of(corpus, backbone, revision, layer, protocol, seeds, epochs, processes)
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
    with errors_as_sentences():
        from ..experiments.compare import compare as _compare

        table, reading = _compare(first, second, model)
        Console().print(table.for_terminal(), reading)


def _run(
    experiment: Experiment,
    output: Path | None,
    cache: Path,
    *,
    ray: str | None = None,
    more: Callable[..., Any] | None = None,
) -> None:
    from ..experiments.run_experiment import (
        run_experiment,  # what it imports takes seconds: wrong arguments should be told at once
    )

    root = output or Path("results") / experiment.name
    run_experiment(experiment, root, cache, Console(), ray=ray, more=more or (lambda results, metrics: []))
