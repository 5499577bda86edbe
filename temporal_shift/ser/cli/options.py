"""The options that several commands share, and the overrides that they make to an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..utils.errors import RecipeError

Overrides = dict[str, dict[str, Any]]

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Results folder.", show_default="results/<name of the experiment>"),
]
Cache = Annotated[Path, typer.Option(help="Folder of the feature caches, shared by experiments.")]
CACHE = Path("results/features")
Ray = Annotated[str | None, typer.Option(help="Address of a Ray cluster to train on: auto, ray://host:10001 or local.")]
Corpus = Annotated[Path | None, typer.Option(help="Corpus (overrides the YAML).")]
Backbone = Annotated[str | None, typer.Option(help="Hub name or folder of the encoder (overrides the YAML).")]
Revision = Annotated[str | None, typer.Option(help="Revision on the hub: a commit, a tag or a branch.")]
Layer = Annotated[
    str | None, typer.Option(help="Encoder layer: last, an index of the hidden states, or weighted (a learned sum).")
]
Protocol = Annotated[
    str | None, typer.Option(help="Evaluation protocol: heldout, speaker, last, or paper (optimistic).")
]
Seeds = Annotated[int | None, typer.Option(help="Number of seeds for each model and fold (overrides the YAML).")]
Epochs = Annotated[int | None, typer.Option(help="Training epochs (overrides the YAML).")]
KeepModels = Annotated[bool, typer.Option("--keep-models", help="Keep the weights of each run, for package.")]
Processes = Annotated[int | None, typer.Option(help="Number of runs trained in parallel (overrides the YAML).")]


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
    """Return the options that were given, as sections of an experiment."""
    if backbone is not None and Path(backbone).is_dir():
        backbone = str(Path(backbone).resolve())
    sections: Overrides = {
        "": {"seeds": seeds, "processes": processes},
        "corpus": {"path": None if corpus is None else str(corpus.resolve())},
        "backbone": {"name": backbone, "revision": revision, "layer": _layer(layer)},
        "protocol": {"kind": protocol},
        "training": {"epochs": epochs, "keep_models": keep_models or None},
    }
    given = {
        name: {key: value for key, value in section.items() if value is not None} for name, section in sections.items()
    }
    if backbone is not None and revision is None:
        given["backbone"]["revision"] = None  # the experiment's revision belongs to another model
    return {name: section for name, section in given.items() if section}


def _layer(text: str | None) -> int | str | None:
    if text is None or text in ("last", "weighted"):
        return text
    try:
        return int(text)
    except ValueError:
        raise RecipeError(f"--layer must be last, weighted or an index of the hidden states, got {text!r}") from None


def split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in split(text))
    except ValueError:
        raise RecipeError(f"{option} must be integers separated by commas, got {text!r}") from None
