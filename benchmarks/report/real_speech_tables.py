"""The records of experiments on real speech as tables; every figure is computed from the recorded predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from temporal_shift.ser.reports import report_tables
from temporal_shift.ser.reports.summary import corrected, summarize_predictions
from temporal_shift.ser.utils.table import Table, interval, millions, percent

from ..measure import record_file
from ..measure.measurements import Line
from ..measure.real_speech import FOLDER, tested_of


@dataclass(frozen=True)
class Experiment:
    """One record, summarised."""

    head: Line
    parameters: dict[str, int]
    summary: dict[str, Any]

    @property
    def input(self) -> str:
        """The encoder and its layer."""
        encoder = self.head["encoder"].removesuffix("-encoder")
        layer = "weighted sum" if self.head["layer"] == "weighted" else f"{self.head['layer']} layer"
        return f"{encoder}, {layer}"


@cache
def experiment_of(path: Path) -> Experiment:
    lines = record_file.read(path)
    (head,) = [line for line in lines if line["kind"] == "experiment"]
    comparisons = [(model["name"], baseline) for model in head["models"] for baseline in model["baseline"]]
    parameters = {line["model"]: line["parameters"] for line in lines if line["kind"] == "model"}
    return Experiment(head, parameters, summarize_predictions(tested_of(lines), comparisons))


def experiments(*names: str) -> list[Experiment]:
    return [experiment_of(FOLDER / f"{name}.jsonl") for name in names]


def figures(found: Sequence[Experiment]) -> Table:
    """WA and UA of each model on each input, with 95 % intervals."""
    rows = []
    for experiment in found:
        for model in experiment.summary["models"]:
            scores = [f"{percent(model[key]['mean'])} {interval(model[key]['interval'])}" for key in ("wa", "ua")]
            rows.append((experiment.input, model["name"], millions(experiment.parameters[model["name"]]), *scores))
    return Table(("Encoder", "Model", "Parameters", "WA, %", "UA, %"), rows)


def differences(found: Sequence[Experiment]) -> Table:
    """Each model against its baselines on each input; Holm's correction is over all rows."""
    pairs = [(experiment.input, pair) for experiment in found for pair in experiment.summary["pairs"]]
    table = report_tables.pairs(corrected([pair for _, pair in pairs]))
    rows = [(where, *row) for (where, _), row in zip(pairs, table.rows, strict=True)]
    return Table(("Encoder", *table.header), rows)
