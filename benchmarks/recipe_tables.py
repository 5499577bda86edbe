"""The record of ``python -m benchmarks recipe`` as tables, for a terminal and for the docs."""

from __future__ import annotations

import statistics
from typing import Any

from temporal_shift.ser.tables import Table

CACHED, ENCODING = "cached", "encoding"  # where the features of an epoch come from


def summary(record: dict[str, Any]) -> str:
    """The epochs as Markdown: their seconds, the ratio, and whether its goal is held."""
    return epochs_table(record).markdown()


def epochs_table(record: dict[str, Any]) -> Table:
    """A row for each encoder and model: median seconds of an epoch, quartiles, and how they compare."""
    rows = []
    for row in record["epochs"]:
        by_flop = "" if row["ratio_by_flop"] is None else f"{row['ratio_by_flop']:.1f}"
        seconds = [_quartiles(row["seconds"][way]) for way in (CACHED, ENCODING)]
        goal = f"at least {row['goal']['bound']:g}, {'held' if row['goal']['held'] else 'missed'}"
        utterances = f"{row['trained']} + {row['tested']}"
        rows.append((f"{row['encoder']}, {row['model']}", utterances, *seconds, f"{row['ratio']:.1f}", by_flop, goal))
    header = ("encoder, model", "utterances", "an epoch, s", "that encodes, s", "times as long", "by FLOP", "goal")
    return Table(header, rows)


def _quartiles(seconds: list[float]) -> str:
    low, median, high = statistics.quantiles(seconds, method="inclusive") if len(seconds) > 1 else 3 * seconds
    return f"{median:.3g} ({low:.3g} to {high:.3g})"


def memory_table(record: dict[str, Any]) -> Table:
    """A row for each corpus that was encoded: gibibytes at the peak."""
    rows = [
        (peak["encoder"], str(peak["utterances"]), gibibytes(peak["resident"]), gibibytes(peak["on_gpu"]))
        for peak in record["memory"]
    ]
    width = 4 if any(peak["on_gpu"] for peak in record["memory"]) else 3
    header = ("encoder", "utterances", "peak memory, GiB", "on the GPU, GiB")
    return Table(header[:width], [row[:width] for row in rows])


def gibibytes(size: int | None) -> str:
    return "" if size is None else f"{size / 2**30:.2f}"


def experiment_table(record: dict[str, Any]) -> Table:
    """A row for each setting and model of the paper's experiment: its FLOP, and hours at both rates."""
    rows = []
    for row in record["experiment"]:
        learning = ("head", "encoder") if row["setting"] == "finetune" else ("head",)
        of_one = [sum(row[part][passes] for part in learning) / 1e9 for passes in ("training", "forward")]
        hours = f"{row['hours_here']:.1f}", f"{row['hours_on_gpu']:.2f}"
        total = f"{sum(row['total'].values()) / 1e15:.1f}"
        rows.append((f"{row['setting']}, {row['model']}", *(f"{flop:.1f}" for flop in of_one), total, *hours))
    header = ("setting, model", "GFLOP to train an utterance", "to test it", "PFLOP in all", "hours here")
    return Table((*header, f"at {record['flop_a_second']['gpu'] / 1e12:g} TFLOP/s"), rows)
