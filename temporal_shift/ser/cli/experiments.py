"""``quickstart``, ``run``, ``reproduce``, ``ablate`` and ``compare``: experiments and their results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .exit_codes import exit_on_error
from .options import (
    CACHE,
    Cache,
    Corpus,
    DryRun,
    KeepModels,
    Output,
    Overrides,
    Overwrite,
    Ray,
    choice,
    experiment_of,
    integers,
    out_option,
    split,
    with_overrides,
)

if TYPE_CHECKING:
    from ..config import Experiment

# copies of SETTINGS and MODELS in experiments.reproduce, which takes seconds to import
_SETTINGS = ("features", "finetune")
_MODELS = ("CNN", "ShiftCNN", "LSTM", "ShiftLSTM", "Transformer", "Shiftformer", "Linear")
_QUICKSTART = Path("examples/quickstart/experiment.yaml")


@exit_on_error(resumes=True)
def quickstart(
    config: Annotated[Path, typer.Argument(help="YAML file of an experiment.")] = _QUICKSTART,
    output: Output = None,
    cache: Cache = CACHE,
    keep_models: KeepModels = None,
    overwrite: Overwrite = False,
) -> None:
    """Run a small version of the paper's experiment. Needs no download and no GPU."""
    if config == _QUICKSTART and not config.exists():
        raise RecipeError(f"{config} does not exist: run this in a clone of the repository, or name a YAML file")
    _run(
        experiment_of(config, None, {"training": {"keep_models": True}} if keep_models else {}),
        output,
        cache,
        overwrite=overwrite,
    )


@exit_on_error(resumes=True)
@with_overrides
def run(
    config: Annotated[Path, typer.Argument(help="YAML file of an experiment.")],
    overrides: Overrides,
    output: Output = None,
    cache: Cache = CACHE,
    corpus: Corpus = None,
    ray: Ray = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Run an experiment: encode the corpus (frozen encoder), train every model on every fold, write a report.

    Repeat the command to continue a stopped run.
    """
    _run(experiment_of(config, corpus, overrides), output, cache, ray=ray, overwrite=overwrite, dry_run=dry_run)


@exit_on_error(resumes=True)
@with_overrides
def reproduce(
    iemocap: Annotated[Path, typer.Option(help="IEMOCAP folder with Session1 to Session5.")],
    overrides: Overrides,
    setting: Annotated[
        list[str] | None, typer.Option(help=f"Setting to run: {', '.join(_SETTINGS)} (repeatable; default: both).")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help=f"Model to train: {', '.join(_MODELS)} (repeatable; default: all).")
    ] = None,
    output: Annotated[Path, out_option("Results folder.")] = Path("results/reproduce"),
    cache: Cache = CACHE,
    ray: Ray = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Train the paper's six models and a linear one in both settings; compare with the published results."""
    from ..experiments.reproduce import reproduce as _reproduce

    overrides["corpus"] = {"path": str(iemocap.resolve())}
    for name in setting or []:
        choice("--setting", name, _SETTINGS)
    for name in model or []:
        choice("--model", name, _MODELS)
    options: dict[str, Any] = {"ray": ray, "overwrite": overwrite, "dry_run": dry_run}
    _reproduce(setting or [], model or [], overrides, output, cache, Console(), **options)


@exit_on_error(resumes=True)
@with_overrides
def ablate(
    config: Annotated[Path, typer.Argument(help="YAML file of an experiment. The grid replaces its models.")],
    overrides: Overrides,
    blocks: Annotated[str, typer.Option(help="Kinds of blocks, separated by commas.")] = "conv,lstm,transformer",
    placement: Annotated[
        str, typer.Option(help="Placements of the shift, separated by commas.")
    ] = "residual,inplace,replace",
    n_div: Annotated[
        str, typer.Option(help="Values of n_div, separated by commas. 1/n_div of the channels move per direction.")
    ] = "2,4,8,16",
    direction: Annotated[str, typer.Option(help="Directions, separated by commas: past, future, both.")] = "past,both",
    stride: Annotated[str, typer.Option(help="Strides in frames, separated by commas.")] = "1",
    output: Annotated[
        Path | None, out_option("Results folder.", show_default="results/<name of the experiment>-ablation")
    ] = None,
    cache: Cache = CACHE,
    corpus: Corpus = None,
    ray: Ray = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Train each supported combination of blocks, placement, n_div, direction and stride; plot heatmaps of UA."""
    from ..experiments.ablation import Grid, ablation_section

    grid = Grid(
        split(blocks), split(placement), integers("--n-div", n_div), split(direction), integers("--stride", stride)
    )
    experiment = grid.experiment(experiment_of(config, corpus, overrides))
    output = output or Path("results") / f"{experiment.name}-ablation"
    _run(experiment, output, cache, ray=ray, more=ablation_section, overwrite=overwrite, dry_run=dry_run)


@exit_on_error()
def compare(
    first: Annotated[Path, typer.Argument(help="Results folder of an experiment.")],
    second: Annotated[Path, typer.Argument(help="Results folder of another experiment on the same folds.")],
    model: Annotated[
        tuple[str, str] | None, typer.Option(help="One model of each experiment (default: all models that both have).")
    ] = None,
) -> None:
    """Compare two experiments model by model: paired differences of UA with intervals and tests."""
    from ..experiments.compare import compare as _compare

    table, reading = _compare(first, second, model)
    Console().print(table.for_terminal(), reading)


def _run(experiment: Experiment, output: Path | None, cache: Path, **options: Any) -> None:
    from ..experiments.run_experiment import run_experiment

    run_experiment(experiment, output or Path("results") / experiment.name, cache, Console(), **options)
