"""The paper's experiment: settings, published results, and a table that compares ours with them.

A linear model is added to the paper's six as a baseline.
"""

from __future__ import annotations

import functools
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console

from ..config import Experiment, read_experiment
from ..corpora import read_corpus
from ..reports.results import Results
from ..reports.writer import Section
from ..utils.atomic_files import write_bytes
from ..utils.distributed import World
from ..utils.errors import RecipeError
from ..utils.table import Table, interval, percent, signed
from ..utils.wording import PLAIN

SETTINGS = ("features", "finetune")
PAPER_MODELS = ("CNN", "ShiftCNN", "LSTM", "ShiftLSTM", "Transformer", "Shiftformer")
OUR_MODELS = ("Linear",)  # trained with the paper's settings
MODELS = (*PAPER_MODELS, *OUR_MODELS)
_BASELINES = {
    "ShiftCNN": ("CNN", "Linear"),
    "ShiftLSTM": ("LSTM", "Linear"),
    "Shiftformer": ("Transformer", "Linear"),
}

SOURCE = (
    "Published: Shen, Liu, Zhou, ICASSP 2023, as transcribed in a survey of that conference; we could not read the "
    "paper's own tables. Each result is the mean over five sessions of the best test epoch, chosen separately for WA "
    "and UA. By default, ours use the same protocol: both are optimistic. The column 'at the last epoch' shows UA of "
    "the same runs at their last epoch. The linear model is not in the paper."
)
CONTEXT = (
    "Other systems on the same corpus, each with its own protocol: SUPERB-style linear probe, with 20 % of the "
    "training "
    "set for validation, 64.9 WA on HuBERT base and 65.9 on WavLM base; emotion2vec with a linear probe 71.8 WA; "
    "FT-w2v2-ser, 15 epochs without selection, 69.9 UA with plain fine-tuning (V-FT) and 74.3 with pseudo-label "
    "task-adaptive pre-training (P-TAPT); EmoBox with frozen HuBERT base 63.9 UA and 63.1 WA."
)


FIGURES = {  # percent, as published
    ("finetune", "ShiftCNN"): {"ua": 74.5},
    ("finetune", "ShiftLSTM"): {"ua": 74.7},
    ("finetune", "Shiftformer"): {"ua": 74.8},
    ("features", "ShiftCNN"): {"ua": 72.8, "wa": 71.9},
    ("features", "ShiftLSTM"): {"ua": 70.6, "wa": 69.8},
    ("features", "Shiftformer"): {"ua": 72.7, "wa": 72.1},
}


def reproduce(
    settings: list[str],
    models: list[str],
    overrides: dict[str, dict[str, Any]],
    root: Path,
    cache: Path,
    console: Console,
    *,
    ray: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> None:
    """Run the paper's experiment in ``root/features`` and ``root/finetune``; write the comparison to ``root/table.md``.

    With ``dry_run``, it writes nothing.

    Args:
        settings: ``features`` or ``finetune`` or both; an empty list means both.
        models: Names from ``MODELS``; an empty list means all.
        overrides: Other values of settings, as in :func:`temporal_shift.ser.config.read_experiment`.
        root: The folder of the results.
        cache: The folder of the feature caches.
        console: Shows the progress and the tables.
        ray, overwrite, dry_run: As in :func:`temporal_shift.ser.experiments.run_experiment.run_experiment`.
    Raises:
        RecipeError: If a setting or a model is unknown, an override is invalid, or the corpus or an encoder cannot be
            read; also see ``run_experiment``.
        KeyboardInterrupt: As ``run_experiment``.
    """
    from ..encoders.pretrained import backbone_identity
    from .run_experiment import run_experiment

    if not World.joined().is_first:
        console = Console(quiet=True)
    chosen = list(dict.fromkeys(settings or SETTINGS))
    for setting in chosen:
        if setting not in SETTINGS:
            raise RecipeError(f"setting must be {' or '.join(SETTINGS)}, got {setting!r}")
    experiments = [
        published_experiment(setting, list(dict.fromkeys(models or MODELS)), overrides) for setting in chosen
    ]
    corpus = read_corpus(experiments[0].corpus)
    identity_of = functools.cache(backbone_identity)  # settings can share the encoder
    found = [
        run_experiment(
            experiment,
            root / experiment.name,
            cache,
            console,
            ray=ray,
            overwrite=overwrite,
            more=published_section,
            manifest=corpus,
            identity=None if dry_run else identity_of(experiment.backbone),
            dry_run=dry_run,
        )
        for experiment in experiments
    ]
    if all(found):  # each is empty in all processes but the first, and for a dry run
        table = comparison(found)
        write_bytes(root / "table.md", f"{table.markdown()}\n\n{SOURCE} {CONTEXT}\n".encode())
        console.print(table.for_terminal())
        console.print(f"{SOURCE}\n{root / 'table.md'}", **PLAIN)


def published_experiment(setting: str, models: list[str], overrides: dict[str, dict[str, Any]]) -> Experiment:
    """The paper's experiment in one setting with these models, read from the YAML file of each.

    Args:
        setting: ``features`` or ``finetune``.
        models: Names from ``MODELS``.
        overrides: As in :func:`temporal_shift.ser.config.read_experiment`.
    Raises:
        RecipeError: If a model is unknown, or an override is invalid.
    """
    rows = []
    for name in models:
        if name not in MODELS:
            raise RecipeError(f"model must be one of {', '.join(MODELS)}, got {name!r}")
        with as_file(files(__package__) / config_path(setting, name)) as path:
            rows.append(read_experiment(Path(path), overrides))
    chosen = [
        row.models[0].model_copy(
            update={"baseline": tuple(each for each in _BASELINES.get(name, ()) if each in models)}
        )
        for name, row in zip(models, rows, strict=True)
    ]
    return rows[0].model_copy(update={"name": setting, "models": chosen})


def config_path(setting: str, model: str) -> str:
    """The YAML file of a setting and a model, relative to the folder of this module."""
    return f"configs/{setting}-{model.lower()}.yaml"


def comparison(metrics: list[dict[str, Any]]) -> Table:
    """A table with a row per setting and model, in percent; differences are in points.

    For UA: published result, ours, difference, our 95 % interval, ours at the last epoch. For WA: the first three.

    Args:
        metrics: The content of ``metrics.json`` of each setting.
    """
    rows = [
        (
            f"{of_setting['setting']}, {model['name']}{' (ours)' if model['name'] in OUR_MODELS else ''}",
            *_compared(of_setting["setting"], model, "ua"),
            *_compared(of_setting["setting"], model, "wa")[:3],
        )
        for of_setting in metrics
        for model in of_setting["models"]
    ]
    return Table(
        (
            "Setting, model",
            *("UA, published", "ours", "difference", "95 % of ours", "at the last epoch"),
            *("WA, published", "ours", "difference"),
        ),
        rows,
    )


def published_section(results: Results, metrics: dict[str, Any]) -> list[Section]:
    """The section of a report that compares the paper's experiment with the published results."""
    return [Section("Comparison with the published results", f"{SOURCE} {CONTEXT}", comparison([metrics]))]


def _compared(setting: str, model: dict[str, Any], key: str) -> tuple[str, ...]:
    published = FIGURES.get((setting, model["name"]), {}).get(key)
    ours = model[key]["mean"]
    return (
        "" if published is None else f"{published:.1f}",
        percent(ours),
        "" if published is None else signed(ours - published / 100),
        interval(model[key]["interval"]),
        percent(model["last_epoch"][key]),
    )
