"""The tables of a report: ``metrics.json`` as text in rows and columns, for a terminal, a page or a README."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from ..utils.table import Table, interval, millions, p_value, percent, signed, signed_interval
from ..utils.wording import is_optimistic


def results(metrics: dict[str, Any]) -> Table:
    """WA and UA of every model with standard deviations and intervals, its number of parameters if known, and chance.

    WA and UA are marked optimistic if the test sessions chose the epochs.
    """
    chance = percent(metrics["chance"])
    rows = [
        (model["name"], _parameters(model), *_figure(model["wa"]), *_figure(model["ua"])) for model in metrics["models"]
    ]
    note = "\n(optimistic)" if is_optimistic(metrics) else ""
    header = ("Model", "Parameters", f"WA, %{note}", "95 % of WA", f"UA, %{note}", "95 % of UA")
    return Table(header, [*rows, ("chance", "", chance, "", chance, "")])


def pairs(found: Sequence[dict[str, Any]]) -> Table:
    """Each model compared with its baselines, or with a model of another experiment.

    Without any variation between resamples, the interval and the detectable difference are a dash.

    Args:
        found: The ``pairs`` of ``metrics.json``, or comparisons from :func:`.summary.corrected`.
    """
    rows = [
        (
            f"{pair['model']} − {pair['baseline']}",
            signed(pair["ua_difference"]),
            signed_interval(pair["interval"]) if pair["se"] else "–",
            p_value(pair["holm_p"]),
            percent(pair["detectable"]) if pair["se"] else "–",
            p_value(pair["sign_flip_p"]),
            _over_seeds([*pair["mcnemar_p"].values()]),
        )
        for pair in found
    ]
    header = ("Pair", "UA,\npoints", "95 %", "p,\nHolm", "80 %\npower", "p, by\nspeaker", "McNemar\np")
    return Table(header, rows)


def differences(found: Sequence[dict[str, Any]]) -> Table:
    """The first four columns of :func:`pairs`, for a terminal of 80 columns."""
    whole = pairs(found)
    return Table(whole.header[:4], [row[:4] for row in whole.rows])


def selection(metrics: dict[str, Any]) -> Table:
    """Results without selection on the test part, results of the paper's protocol, and their difference, the bias."""
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


def _parameters(model: dict[str, Any]) -> str:
    return millions(model["parameters"]) if "parameters" in model else ""


def _figure(figure: dict[str, Any]) -> tuple[str, str]:
    """Mean ± standard deviation (over seeds if there are several, else over folds), and the interval."""
    sd = figure["fold_sd"] if figure["seed_sd"] is None else figure["seed_sd"]
    return f"{percent(figure['mean'])} ± {percent(sd)}", interval(figure["interval"])


def _over_seeds(p_values: Sequence[float]) -> str:
    """The median p and, for several seeds, the number of seeds with p < 0.05."""
    median = p_value(statistics.median(p_values))
    below = sum(p < 0.05 for p in p_values)
    return f"{median} ({below}/{len(p_values)})" if len(p_values) > 1 else median
