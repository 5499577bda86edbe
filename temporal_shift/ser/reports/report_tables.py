"""The tables of a report: ``metrics.json`` as text in rows and columns, for a terminal, a page or a README."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..utils.table import Table, interval, millions, percent, signed
from ..utils.wording import is_optimistic


def results(metrics: dict[str, Any]) -> Table:
    """WA and UA of every model, with their intervals; what chose its epoch on the test session is called optimistic."""
    chance = percent(metrics["chance"])
    rows = [
        (model["name"], millions(model["parameters"]), *_figure(model["wa"]), *_figure(model["ua"]))
        for model in metrics["models"]
    ]
    note = "\n(optimistic)" if is_optimistic(metrics) else ""
    header = ("Model", "Parameters", f"WA, %{note}", "95 % of WA", f"UA, %{note}", "95 % of UA")
    return Table(header, [*rows, ("chance", "", chance, "", chance, "")])


def pairs(found: Sequence[dict[str, Any]]) -> Table:
    """Each model against its baseline, or against the same model of another experiment."""
    rows = []
    for pair in found:
        difference, low, high = (signed(value) for value in (pair["ua_difference"], *pair["interval"]))
        only = f"{pair['only_model_right']} / {pair['only_baseline_right']}"
        p = "< 0.001" if pair["mcnemar_p"] < 0.001 else f"{pair['mcnemar_p']:.3f}"
        rows.append((f"{pair['model']} − {pair['baseline']}", difference, f"[{low}, {high}]", only, p))
    return Table(("Pair", "UA, points", "95 %", "only one right", "McNemar p"), rows)


def selection(metrics: dict[str, Any]) -> Table:
    """What the published protocol would have claimed of the same runs, and how much of it is selection."""
    rows = []
    for model in metrics["models"]:
        best, last, bias = (model[key] for key in ("best_test_epoch", "last_epoch", "selection_bias"))
        honest = last if is_optimistic(metrics) else {key: model[key]["mean"] for key in ("wa", "ua")}
        rows.append(
            (
                model["name"],
                *(percent(honest["wa"]), percent(best["wa"]), signed(bias["wa"])),
                *(percent(honest["ua"]), percent(best["ua"]), signed(bias["ua"])),
            )
        )
    how = "last epoch" if is_optimistic(metrics) or metrics["protocol"] == "last" else "validated"
    return Table(
        ("Model", *(cell for name in ("WA", "UA") for cell in (f"{name},\n{how}", "best\ntest epoch", "bias"))),
        rows,
    )


def _figure(figure: dict[str, Any]) -> tuple[str, str]:
    """Mean and standard deviation: over the seeds where there are several, else over the folds."""
    sd = figure["fold_sd"] if figure["seed_sd"] is None else figure["seed_sd"]
    return f"{percent(figure['mean'])} ± {percent(sd)}", interval(figure["interval"])
