"""Tables of experiments on real speech, computed from the records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from temporal_shift.ser.config import Model
from temporal_shift.ser.experiments.ablation import ablation_maps, ablation_table
from temporal_shift.ser.reports import report_tables
from temporal_shift.ser.reports.plots import Heatmap
from temporal_shift.ser.reports.summary import corrected, summarize_predictions
from temporal_shift.ser.utils.table import Table, interval, millions, percent, signed, signed_interval

from ..measure.measurements import Line, of_kind
from ..measure.real_speech import corpus_name, tested_of

By = Literal["input", "epochs"]
_HEADER = {"input": "Encoder", "epochs": "Epochs"}


@dataclass(frozen=True)
class Experiment:
    """One experiment of a record with its summary."""

    head: Line
    of_model: dict[str, Line]  # the line of each model
    summary: dict[str, Any]

    @classmethod
    def of(cls, lines: list[Line]) -> Experiment:
        (head,) = of_kind(lines, "experiment")
        comparisons = [(model["name"], baseline) for model in head["models"] for baseline in model["baseline"]]
        of_model = {line["model"]: line for line in of_kind(lines, "model")}
        return cls(head, of_model, summarize_predictions(tested_of(lines), comparisons))

    @property
    def models(self) -> list[Model]:
        return [Model.model_validate(model) for model in self.head["models"]]

    @property
    def input(self) -> str:
        """The encoder and its layer."""
        layer = "weighted layers" if self.head["layer"] == "weighted" else f"{self.head['layer']} layer"
        return f"{_name(self.head['encoder'])}, {layer}"

    @property
    def epochs(self) -> str:
        """The number of epochs and the number of seeds."""
        seeds = len(self.head["seeds"])
        return f"{self.head['training']['epochs']}, {seeds} seed{'s' * (seeds > 1)}"

    @property
    def title(self) -> str:
        """Corpus, classes, encoder, and the layer unless it is the last."""
        corpus, layer = corpus_name(self.head["corpus"]), self.head["layer"]
        encoder = self.input if layer != "last" else _name(self.head["encoder"])
        return f"{corpus}, {len(self.head['labels'])} classes, {encoder}"


def experiments(lines: Iterable[Line]) -> list[Experiment]:
    """The experiments of one or several records, in order.

    Raises:
        ValueError: If the first line is not of the kind ``experiment``.
    """
    found: list[list[Line]] = []
    for line in lines:
        if line["kind"] == "experiment":
            found.append([])
        if not found:
            raise ValueError(f"the kind of the first line of a record must be 'experiment', got {line['kind']!r}")
        found[-1].append(line)
    return [Experiment.of(each) for each in found]


def figures(lines: Iterable[Line], by: By = "input") -> Table:
    """Parameters, WA and UA of each model with 95 % intervals, and UA at the last and the best test epoch.

    ``by`` is the property of experiments in the first column. Default: the encoder and its layer.
    """
    rows = []
    for experiment in experiments(lines):
        for model in experiment.summary["models"]:
            scores = [f"{percent(model[key]['mean'])} {interval(model[key]['interval'])}" for key in ("wa", "ua")]
            line = experiment.of_model[model["name"]]
            others = [percent(line[key]["ua"]) for key in ("last_epoch", "best_test_epoch")]
            rows.append((getattr(experiment, by), model["name"], millions(line["parameters"]), *scores, *others))
    return Table((_HEADER[by], "Model", "Parameters", "WA, %", "UA, %", "last epoch", "best test epoch"), rows)


def differences(lines: Iterable[Line], by: By = "input") -> Table:
    """Each model compared with its baselines in each experiment, with Holm's correction over all rows."""
    pairs = [(getattr(found, by), pair) for found in experiments(lines) for pair in found.summary["pairs"]]
    table = report_tables.pairs(corrected([pair for _, pair in pairs]))
    rows = [(where, *row) for (where, _), row in zip(pairs, table.rows, strict=True)]
    return Table((_HEADER[by], *table.header), rows)


def ablation(lines: Iterable[Line]) -> Table:
    """One row per shift of an ablation, the best UA first."""
    (found,) = experiments(lines)
    return ablation_table(found.models, found.summary)


def ablation_panels(lines: Iterable[Line]) -> list[Heatmap]:
    """One heatmap of UA per kind of blocks, direction and stride; rows are placements, columns are proportions."""
    (found,) = experiments(lines)
    return ablation_maps(found.models, found.summary)


def overview(lines: Iterable[Line]) -> Table:
    """The differences in UA between models and their baselines, with one column per experiment.

    A star marks differences that are significant at 5 % after Holm's correction over all cells of the table.
    """
    found = experiments(lines)
    pairs = [(column, pair) for column, each in enumerate(found) for pair in each.summary["pairs"]]
    rows: dict[str, list[str]] = {}
    for (column, _), pair in zip(pairs, corrected([pair for _, pair in pairs]), strict=True):
        star = " *" if pair["holm_p"] < 0.05 else ""
        cells = rows.setdefault(f"{pair['model']} − {pair['baseline']}", [""] * len(found))
        cells[column] = f"{signed(pair['ua_difference'])} {signed_interval(pair['interval'])}{star}"
    return Table(("UA, points", *(each.title for each in found)), [(name, *cells) for name, cells in rows.items()])


def tried(lines: Iterable[Line]) -> Table:
    """Validation UA by setting (rows) and model (columns)."""
    models: dict[str, None] = {}
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for line in sorted(lines, key=lambda line: (line["epochs"], line["precision"], line["learning_rate"])):
        rate, epochs = f"{line['learning_rate']:g}", str(line["epochs"])
        setting = (rate, epochs, f"{line['frames_per_second']:g} Hz", line["precision"])
        models[line["model"]] = None
        rows.setdefault(setting, {})[line["model"]] = percent(line["validation_ua"])
    header = ("Learning rate", "epochs", "frames", "precision", *models)
    return Table(header, [(*setting, *(found.get(model, "") for model in models)) for setting, found in rows.items()])


def _name(encoder: str) -> str:
    return encoder.removesuffix("-encoder")
