"""The tables of a report: ``metrics.json`` as text in rows and columns, for a terminal, a page or a README."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rich.box
import rich.table
from rich.text import Text

from .manifest import Manifest


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column holds names, the others numbers. A header may be broken where space is dear."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        header = [cell.replace("\n", " ") for cell in self.header]
        align = [":--", *["--:"] * (len(header) - 1)]
        lines = [header, align, *(map(escaped, row) for row in self.rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def for_terminal(self) -> rich.table.Table:
        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for column, name in enumerate(self.header):
            table.add_column(name, justify="right" if column else "left", no_wrap=not column)
        for row in self.rows:
            table.add_row(*map(Text, row))  # Text, because square brackets in a str are rich's markup
        return table


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
    """Each model against its twin, or against its namesake of another experiment."""
    rows = []
    for pair in found:
        difference, low, high = (signed(value) for value in (pair["ua_difference"], *pair["interval"]))
        only = f"{pair['only_model_right']} / {pair['only_twin_right']}"
        p = "< 0.001" if pair["mcnemar_p"] < 0.001 else f"{pair['mcnemar_p']:.3f}"
        rows.append((f"{pair['model']} − {pair['twin']}", difference, f"[{low}, {high}]", only, p))
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


def counts(manifest: Manifest) -> Table:
    """Utterances by session and class."""
    found = Counter((utterance.session, utterance.label) for utterance in manifest.utterances)
    sessions = sorted({utterance.session for utterance in manifest.utterances})
    rows = {name: [found[name, label] for label in manifest.labels] for name in sessions}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    return Table(
        ("Session", *manifest.labels, "all"),
        [(name, *map(str, row), str(sum(row))) for name, row in rows.items()],
    )


def is_optimistic(metrics: dict[str, Any]) -> bool:
    """Whether the test sessions chose the epochs that they are reported at."""
    return bool(metrics["protocol"] == "paper")


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def signed(share: float) -> str:
    """A difference in points, with a typographer's minus."""
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def interval(bounds: Sequence[float]) -> str:
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e4 else str(parameters)


def escaped(text: str) -> str:
    """Plain text as Markdown: what would be markup, a table's edge or HTML is itself again."""
    return re.sub(r"([\\`*|])", r"\\\1", html.escape(text, quote=False))


def _figure(figure: dict[str, Any]) -> tuple[str, str]:
    """Mean and standard deviation: over the seeds where there are several, else over the folds."""
    sd = figure["fold_sd"] if figure["seed_sd"] is None else figure["seed_sd"]
    return f"{percent(figure['mean'])} ± {percent(sd)}", interval(figure["interval"])
