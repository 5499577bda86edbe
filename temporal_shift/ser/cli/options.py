"""The options that several commands share, and the options that override an experiment's settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..utils.errors import RecipeError

if TYPE_CHECKING:
    from ..config import Channel as ChannelSetting
    from ..config import Experiment

Overrides = dict[str, dict[str, Any]]


def out_option(help: str, **more: Any) -> Any:
    """An option for the path that a command writes to."""
    return typer.Option("--out", "-o", "--output", parser=_path_to_write, metavar="path", help=help, **more)


def _path_to_write(text: str | Path) -> Path:
    if not str(text).strip():  # an unset shell variable must not mean the current folder
        raise typer.BadParameter(f"must be a path, got {text!r}")
    return Path(text)


Output = Annotated[Path | None, out_option("Results folder.", show_default="results/<name of the experiment>")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace finished runs that have other settings.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the number of runs and an estimate of the time, then exit.")
]
Cache = Annotated[Path, typer.Option(help="Folder of the feature caches (shared by experiments).")]
CACHE = Path("results/features")
Ray = Annotated[str | None, typer.Option(help="Ray cluster to train on: auto, local or ray://host:10001.")]
Corpus = Annotated[Path | None, typer.Option(help="Corpus folder, table or manifest (overrides the YAML).")]
Revision = Annotated[str | None, typer.Option(help="Hub revision of the model: commit, tag or branch.")]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Allow downloading the encoder that a model folder refers to.")
]
Channel = Annotated[str, typer.Option(help="Channel of recordings: mean, or a number from 0.")]
KeepModels = Annotated[
    bool | None, typer.Option("--keep-models", help="Save the weights of each run, for the command package.")
]

PROTOCOLS = ("heldout", "speaker", "last", "paper")

_OVERRIDES: dict[str, Any] = {
    "backbone": Annotated[str | None, typer.Option(help="Folder or hub name of the encoder (overrides the YAML).")],
    "revision": Annotated[
        str | None, typer.Option(help="Hub revision of the encoder: commit, tag or branch (overrides the YAML).")
    ],
    "layer": Annotated[
        str | None,
        typer.Option(
            help="Encoder layer: last, weighted (learned sum) or an index of the hidden states (overrides the YAML)."
        ),
    ],
    "protocol": Annotated[
        str | None,
        typer.Option(help=f"Evaluation protocol: {', '.join(PROTOCOLS)} (overrides the YAML). paper is optimistic."),
    ],
    "seeds": Annotated[int | None, typer.Option(help="Number of seeds per model and fold (overrides the YAML).")],
    "epochs": Annotated[int | None, typer.Option(help="Training epochs (overrides the YAML).")],
    "processes": Annotated[int | None, typer.Option(help="Number of runs to train in parallel (overrides the YAML).")],
    "keep_models": KeepModels,
}


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that override an experiment's settings to a command, which gets them as ``overrides``."""

    @wraps(command)
    def with_options(**values: Any) -> None:
        command(overrides=_sections({name: values.pop(name) for name in _OVERRIDES}), **values)

    own = inspect.signature(command, eval_str=True).parameters
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OVERRIDES.items()
    ]
    parameters = [*(own[name] for name in own if name != "overrides"), *added]
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by typer
    return with_options


def _sections(given: dict[str, Any]) -> Overrides:
    """The options that were given, as sections of an experiment."""
    backbone = given["backbone"]
    if backbone is not None and Path(backbone).is_dir():
        backbone = str(Path(backbone).resolve())
    sections: Overrides = {
        "": {"seeds": given["seeds"], "processes": given["processes"]},
        "backbone": {"name": backbone, "revision": given["revision"], "layer": _layer(given["layer"])},
        "protocol": {"kind": given["protocol"]},
        "training": {"epochs": given["epochs"], "keep_models": given["keep_models"]},
    }
    found = {name: {key: value for key, value in keys.items() if value is not None} for name, keys in sections.items()}
    if backbone is not None and given["revision"] is None:
        found["backbone"]["revision"] = None  # the experiment's revision belongs to another model
    return {name: keys for name, keys in found.items() if keys}


def _layer(text: str | None) -> int | str | None:
    if text is None or text in ("last", "weighted"):
        return text
    try:
        return int(text)
    except ValueError:
        raise RecipeError(f"--layer must be last, weighted or an index of the hidden states, got {text!r}") from None


def experiment_of(config: Path, corpus: Path | None, overrides: Overrides) -> Experiment:
    """The experiment of a YAML file, with the value of ``--corpus`` and the overrides.

    Raises:
        RecipeError: If the file cannot be read, or a setting is invalid.
    """
    from ..config import read_experiment  # takes a while to import

    if corpus is not None:
        overrides = {**overrides, "corpus": {"path": str(corpus.resolve())}}
    return read_experiment(config, overrides)


def channel_of(text: str) -> ChannelSetting:
    """The value of ``--channel``; raises :class:`RecipeError` if it is invalid."""
    from ..config import check_channel  # takes a while to import

    try:
        return check_channel(text)
    except ValueError as error:
        raise RecipeError(f"--{error}") from None


def choice(option: str, value: str, allowed: Sequence[str]) -> None:
    """Raise a :class:`RecipeError` unless the value is allowed."""
    if value not in allowed:
        raise RecipeError(f"{option} must be one of {', '.join(allowed)}, got {value!r}")


def split(text: str) -> tuple[str, ...]:
    """The parts between commas, without empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def integers(option: str, text: str) -> tuple[int, ...]:
    """The integers between commas; raises :class:`RecipeError` if there is anything else."""
    try:
        return tuple(int(part) for part in split(text))
    except ValueError:
        raise RecipeError(f"{option} must be integers separated by commas, got {text!r}") from None
