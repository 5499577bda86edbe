"""``train``, ``package`` and ``export``: from an experiment to a model, and from a model to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..utils.errors import RecipeError
from .exit_codes import exit_on_error
from .options import (
    CACHE,
    AllowDownload,
    Cache,
    Corpus,
    Overrides,
    Overwrite,
    Revision,
    experiment_of,
    out_option,
    with_overrides,
)

_NewFolder = Annotated[Path, out_option("Folder to write. Must not exist.")]
_HoldsBackbone = Annotated[
    bool,
    typer.Option("--with-backbone/--without-backbone", help="Store the encoder's weights, or only the encoder's name."),
]
_Half = Annotated[bool, typer.Option("--half", help="Store weights in 16 bits.")]


@exit_on_error(resumes=True)
@with_overrides
def train(
    config: Annotated[Path, typer.Argument(help="YAML file of an experiment.")],
    overrides: Overrides,
    model: Annotated[str, typer.Option(help="Name of the model in the experiment.")],
    out: _NewFolder,
    all_speakers: Annotated[bool, typer.Option("--all-speakers", help="Train on all speakers (required).")] = False,
    results: Annotated[
        Path | None,
        typer.Option(help="Results folder of the cross-validation.", show_default="results/<name of the experiment>"),
    ] = None,
    cache: Cache = CACHE,
    corpus: Corpus = None,
    holds_backbone: _HoldsBackbone = True,
    half: _Half = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a model on all speakers, for deployment.

    A cross-validation gives the results on the model card and, unless the protocol is last, the number of epochs.
    """
    if not all_speakers:
        raise RecipeError(
            "--all-speakers must be given, because this command trains on all speakers and leaves none to test the "
            "model; for a tested model, use `temporal-shift ser run FILE --keep-models`, then `temporal-shift ser "
            "package`"
        )
    from ..experiments.train_all_speakers import train_all_speakers

    experiment = experiment_of(config, corpus, overrides)
    train_all_speakers(
        experiment,
        model,
        results or Path("results") / experiment.name,
        cache,
        out,
        Console(),
        holds_backbone=holds_backbone,
        half=half,
        overwrite=overwrite,
    )
    print(out)


@exit_on_error()
def package(
    results: Annotated[Path, typer.Argument(help="Results folder of an experiment that was run with --keep-models.")],
    model: Annotated[str, typer.Option(help="Name of the model in the experiment.")],
    out: _NewFolder,
    fold: Annotated[str | None, typer.Option(help="Fold that tests the model (default: the first).")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the run (default: the first).")] = None,
    holds_backbone: _HoldsBackbone = True,
    half: _Half = False,
) -> None:
    """Write the model of a run, with its model card, to a folder that Hugging Face's libraries can load."""
    from ..experiments.package_run import package as _package

    _package(results, model, out, fold=fold, seed=seed, holds_backbone=holds_backbone, half=half)
    print(out)


@exit_on_error()
def export(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a model.")],
    out: Annotated[Path, typer.Argument(help="ONNX file to write (*.onnx).")],
    revision: Revision = None,
    allow_download: AllowDownload = False,
) -> None:
    """Export a model with its encoder to one ONNX file, which runs without PyTorch."""
    if out.suffix != ".onnx":
        raise RecipeError(f"out must end in .onnx, got {out}")
    from ..models.onnx_export import export_onnx
    from ..models.speech_classifier import load_speech_classifier

    difference = export_onnx(load_speech_classifier(model, revision, allow_download=allow_download), out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of PyTorch's probabilities")
