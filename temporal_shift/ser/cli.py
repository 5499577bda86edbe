"""``temporal-shift ser ...``: what a person types, and what they read when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .config import Experiment, read_experiment
from .errors import RecipeError

_QUICKSTART = Path("examples/quickstart/experiment.yaml")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ser = typer.Typer(no_args_is_help=True)
app.add_typer(ser, name="ser", help="Speech emotion recognition on frozen pre-trained encoders.")


@app.callback()
def _temporal_shift() -> None:
    """The temporal shift: experiments on the command line."""


Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Where results go.", show_default="results/<name of the experiment>"),
]
Cache = Annotated[Path, typer.Option(help="Where features are kept between experiments.")]


@ser.command()
def quickstart(
    config: Annotated[Path, typer.Argument(help="The experiment.")] = _QUICKSTART,
    output: Output = None,
    cache: Cache = Path("results/features"),
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
    cache: Cache = Path("results/features"),
) -> None:
    """Encode the corpus, train every model on every fold, report; run again, it goes on where it was stopped."""
    with _errors_as_sentences():
        _run(read_experiment(config), output, cache)


def _run(experiment: Experiment, output: Path | None, cache: Path) -> None:
    from .experiment import run_experiment  # what it imports takes seconds: wrong arguments should be told at once

    run_experiment(experiment, output or Path("results") / experiment.name, cache, Console())


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
