"""The options that several commands share, and what they say of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..utils.errors import RecipeError

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
KeepModels = Annotated[bool, typer.Option("--keep-models", help="Keep what each run has learned, for package.")]
Processes = Annotated[int | None, typer.Option(help="Runs trained side by side.")]


def overrides_of(
    corpus: Path | None,
    backbone: str | None,
    revision: str | None,
    layer: str | None,
    protocol: str | None,
    seeds: int | None,
    epochs: int | None,
    processes: int | None,
    keep_models: bool = False,
) -> Overrides:
    """What the command line says, as the sections of an experiment; what it does not say is left out."""
    if backbone is not None and Path(backbone).is_dir():
        backbone = str(Path(backbone).resolve())
    said: Overrides = {
        "": {"seeds": seeds, "processes": processes},
        "corpus": {"path": None if corpus is None else str(corpus.resolve())},
        "backbone": {"name": backbone, "revision": revision, "layer": _layer(layer)},
        "protocol": {"kind": protocol},
        "training": {"epochs": epochs, "keep_models": keep_models or None},
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


def split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in split(text))
    except ValueError:
        raise RecipeError(f"{option} is {text!r}: it must be whole numbers with commas between them") from None
