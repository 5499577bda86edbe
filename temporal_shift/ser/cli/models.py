"""``package`` and ``export``: from results to a model, and from a model to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import ser
from .errors import errors_as_sentences
from .options import Revision


@ser.command()
def package(
    results: Annotated[Path, typer.Argument(help="The folder of an experiment's results, run with --keep-models.")],
    model: Annotated[str, typer.Option(help="Its name in the experiment.")],
    out: Annotated[Path, typer.Option(help="The model's folder; it must not be there yet.")],
    fold: Annotated[str | None, typer.Option(help="Whom it was tested on; the first by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of its run; the first by default.")] = None,
    holds_backbone: Annotated[
        bool,
        typer.Option("--with-backbone/--without-backbone", help="Without, the folder is small and names the encoder."),
    ] = True,
    half: Annotated[bool, typer.Option("--half", help="Store the weights in 16 bits.")] = False,
) -> None:
    """Make a trained model a folder that Hugging Face's libraries load, with its model card."""
    with errors_as_sentences():
        from ..experiments.package_run import package as _package

        _package(results, model, out, fold=fold, seed=seed, holds_backbone=holds_backbone, half=half)
        print(out)


@ser.command()
def export(
    model: Annotated[str, typer.Argument(help="A model's folder or its hub name.")],
    out: Annotated[Path, typer.Argument(help="The file, *.onnx.")],
    revision: Revision = None,
) -> None:
    """Write a model, its encoder included, as one ONNX file that needs no PyTorch."""
    with errors_as_sentences():
        from ..models.onnx_export import export_onnx
        from ..models.speech_classifier import load_speech_classifier

        difference = export_onnx(load_speech_classifier(model, revision), out)
        print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, within {difference:.1e} of PyTorch's probabilities")
