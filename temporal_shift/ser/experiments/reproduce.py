"""The paper's experiment: its figures, its settings as files, and the table that sets ours beside them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from rich.console import Console

from ..config import Experiment, read_experiment
from ..corpora import read_corpus
from ..corpora.readers.iemocap import PUBLISHED
from ..reports.results import Results
from ..reports.writer import Section
from ..utils.atomic_files import atomic_write
from ..utils.distributed import World
from ..utils.errors import RecipeError
from ..utils.table import Table, interval, percent, signed

SETTINGS = ("features", "finetune")
MODELS = ("CNN", "ShiftCNN", "LSTM", "ShiftLSTM", "Transformer", "Shiftformer")
_BASELINES = {"ShiftCNN": "CNN", "ShiftLSTM": "LSTM", "Shiftformer": "Transformer"}

SOURCE = (
    "Published: Shen, Liu, Zhou, ICASSP 2023, as a survey of that conference transcribed it; the paper's own tables "
    "could not be read, and say more. They are the means over five sessions of the best test epoch's figure, WA and UA "
    "each by its own, so ours stand beside them under the same protocol: both are optimistic. The column of the last "
    "epoch is the same runs without any choice."
)
CONTEXT = (
    "Others on the same corpus, each by its own protocol: a linear probe as in SUPERB, with 20 % of the training data "
    "to validate, 64.9 WA on HuBERT base and 65.9 on WavLM base; emotion2vec with a linear probe 71.8 WA; wav2vec 2.0 "
    "fine-tuned for 15 epochs without selection 69.9 UA, with task-adaptive pre-training 74.3 (FT-w2v2-ser); frozen "
    "HuBERT base in EmoBox 63.9 UA and 63.1 WA."
)


@dataclass(frozen=True, slots=True)
class Published:
    """Percent, as published; none where the figure is not known."""

    ua: float | None = None
    wa: float | None = None


FIGURES: dict[tuple[str, str], Published] = {
    ("finetune", "ShiftCNN"): Published(ua=74.5),
    ("finetune", "ShiftLSTM"): Published(ua=74.7),
    ("finetune", "Shiftformer"): Published(ua=74.8),
    ("features", "ShiftCNN"): Published(ua=72.8, wa=71.9),
    ("features", "ShiftLSTM"): Published(ua=70.6, wa=69.8),
    ("features", "Shiftformer"): Published(ua=72.7, wa=72.1),
}


def reproduce(
    settings: list[str],
    models: list[str],
    overrides: dict[str, dict[str, Any]],
    root: Path,
    cache: Path,
    console: Console,
    ray: str | None = None,
) -> None:
    """Run the paper's experiment, in ``root/features`` and ``root/finetune``; in ``root/table.md``, both figures.

    Args:
        settings: ``features``, ``finetune``, or both, which an empty list means, too.
        models: Of the six, which an empty list means.
        overrides: Of the settings, as for :func:`temporal_shift.ser.config.read_experiment`.
        ray: As for :func:`temporal_shift.ser.experiments.run_experiment.run_experiment`.
    """
    from ..encoders.pretrained import backbone_identity
    from .run_experiment import run_experiment

    if not World.joined().is_first:
        console = Console(quiet=True)
    chosen = list(dict.fromkeys(settings or SETTINGS))
    for setting in chosen:
        if setting not in SETTINGS:
            raise RecipeError(f"there is no setting {setting!r}: it can be {' or '.join(SETTINGS)}")
    experiments = [
        published_experiment(setting, list(dict.fromkeys(models or MODELS)), overrides) for setting in chosen
    ]
    corpus = read_corpus(experiments[0].corpus)
    differences = PUBLISHED.differences(corpus)
    for difference in differences:
        console.print(f"[bold]not the published corpus:[/] {difference}", highlight=False)
    identity_of = functools.cache(backbone_identity)  # of this command: both settings usually share the encoder
    found = [
        run_experiment(
            _noted(experiment, differences),
            root / experiment.name,
            cache,
            console,
            ray=ray,
            more=published_section,
            manifest=corpus,
            identity=identity_of(experiment.backbone),
        )
        for experiment in experiments
    ]
    if all(found):  # and not a helper of torchrun's
        table = comparison(found)
        with atomic_write(root / "table.md") as file:
            file.write(f"{table.markdown()}\n\n{SOURCE} {CONTEXT}\n".encode())
        console.print(table.for_terminal())
        console.print(f"{SOURCE}\n{root / 'table.md'}", soft_wrap=True)


def published_experiment(setting: str, models: list[str], overrides: dict[str, dict[str, Any]]) -> Experiment:
    """The paper's experiment with these models, read from the files of its rows.

    Args:
        overrides: As for :func:`temporal_shift.ser.config.read_experiment`.
    """
    unknown = [name for name in models if name not in MODELS]
    if unknown:
        raise RecipeError(f"there is no model {unknown[0]!r}: it can be {', '.join(MODELS)}")
    rows = [_read_row(setting, name, overrides) for name in models]
    chosen = [
        row.models[0].model_copy(update={"baseline": _BASELINES.get(name) if _BASELINES.get(name) in models else None})
        for name, row in zip(models, rows, strict=True)
    ]
    return rows[0].model_copy(update={"name": setting, "models": chosen})


def config_path(setting: str, model: str) -> str:
    """The file of a row, below the folder of this module."""
    return f"configs/{setting}-{model.lower()}.yaml"


def comparison(metrics: list[dict[str, Any]]) -> Table:
    """A row for each setting and model: published, ours, the difference, its interval, and what nothing chose."""
    rows = [
        (
            f"{of_setting['setting']}, {model['name']}",
            *_compared(model, "ua", FIGURES.get((of_setting["setting"], model["name"]), Published()).ua),
            *_compared(model, "wa", FIGURES.get((of_setting["setting"], model["name"]), Published()).wa)[:3],
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
    """For the report of a run of the paper's experiment."""
    return [Section("Beside the published figures", f"{SOURCE} {CONTEXT}", comparison([metrics]))]


def _noted(experiment: Experiment, differences: list[str]) -> Experiment:
    """With what differs from the published corpus among the caveats of the report."""
    if not differences:
        return experiment
    note = "Not the published corpus: " + "; ".join(differences) + "."
    return experiment.model_copy(update={"corpus": experiment.corpus.model_copy(update={"note": note})})


def _compared(model: dict[str, Any], key: str, published: float | None) -> tuple[str, ...]:
    ours = model[key]["mean"]
    return (
        "" if published is None else f"{published:.1f}",
        percent(ours),
        "" if published is None else signed(ours - published / 100),
        interval(model[key]["interval"]),
        percent(model["last_epoch"][key]),
    )


def _read_row(setting: str, model: str, overrides: dict[str, dict[str, Any]]) -> Experiment:
    with as_file(files(__package__) / config_path(setting, model)) as path:
        return read_experiment(Path(path), overrides)
