"""The report: ``metrics.json`` and ``run_info.json`` for programs; Markdown, HTML and plots for people."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ..utils.atomic_files import atomic_write
from ..utils.plot_style import to_png
from ..utils.table import Table, escaped
from ..utils.wording import is_optimistic
from . import plots, report_tables, sentences
from .results import Results, read_results, summarize, training_seconds

_DRAWN = 12  # models at most of which each has a panel; a grid's are read off its heatmap


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot, as the file of that name and as bytes."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it, in this order; the templates only say how each part looks."""

    title: str
    text: str = ""
    table: Table | None = None
    bullets: tuple[str, ...] = ()
    picture: Picture | None = None
    code: str = ""


def write_report(
    root: Path,
    corpus_summary: dict[str, object],
    run_info: dict[str, object],
    more: Callable[[Results, dict[str, Any]], list[Section]] = lambda results, metrics: [],
) -> dict[str, Any]:
    """Read the results under ``root`` and write beside them what they say.

    Args:
        root: The results folder, with ``experiment.json`` and ``runs/<model>/<seed>/<fold>/``. ``metrics.json``,
            ``run_info.json``, ``report.md``, ``report.html`` and ``plots/`` are written into it, each file whole or not
            at all.
        corpus_summary: What to say of the corpus; a ``"note"`` among it stands first of the caveats.
        run_info: Versions, device and whatever else may differ from run to run. It goes to ``run_info.json``, with the
            training times, so that the same predictions give the same ``metrics.json`` to the last digit.
        more: Makes the sections that only some experiments have; they stand after the results.

    Returns:
        The content of ``metrics.json``.

    Raises:
        RecipeError: If a run is missing or broken.
    """
    results = read_results(root)
    metrics = summarize(results)
    info = {**run_info, "training_seconds": training_seconds(results)}
    sections = _sections(results, metrics, corpus_summary, run_info, more(results, metrics))

    for section in sections:
        if section.picture is not None:
            _write(root / "plots" / f"{section.picture.name}.png", section.picture.png)
    for name in ("report.md", "report.html"):
        page = _TEMPLATES.get_template(f"{name}.jinja").render(title=results.experiment.name, sections=sections)
        _write(root / name, page.encode())
    _write(root / "run_info.json", _json(info))
    _write(root / "metrics.json", _json(metrics))
    return metrics


def _sections(
    results: Results,
    metrics: dict[str, Any],
    corpus_summary: dict[str, object],
    run_info: dict[str, object],
    more: list[Section],
) -> list[Section]:
    seconds = sum(sum(by_fold.values()) for seeds in training_seconds(results).values() for by_fold in seeds.values())
    facts = {name: value for name, value in corpus_summary.items() if name != "note"}
    settings = yaml.safe_dump(results.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    ua = to_png(plots.ua_by_model(results, metrics))
    pairs = (
        [
            Section(
                "Each model and its baseline",
                sentences.pairs_of(is_optimistic(metrics)),
                report_tables.pairs(metrics["pairs"]),
            )
        ]
        if metrics["pairs"]
        else []
    )
    return [
        Section("What was run", sentences.what_was_run(results.experiment, metrics)),
        Section("Protocol", sentences.protocol(metrics)),
        Section(
            "Results",
            sentences.reading(metrics),
            report_tables.results(metrics),
            picture=Picture("ua", "UA of every model and fold", ua),
        ),
        *more,
        *pairs,
        Section("Selection bias", sentences.selection(metrics), report_tables.selection(metrics)),
        Section("Caveats", bullets=sentences.caveats(metrics, corpus_summary.get("note"))),
        *(_closer(results, metrics) if len(metrics["models"]) <= _DRAWN else []),
        Section("Corpus", bullets=sentences.facts(facts)),
        Section("Settings", code=settings.rstrip()),
        Section(
            "Versions, hashes and time",
            bullets=sentences.facts({**run_info, "training": f"{seconds / 60:.1f} minutes, all runs"}),
        ),
    ]


def _closer(results: Results, metrics: dict[str, Any]) -> list[Section]:
    """A panel or a line for each model."""
    confusion = to_png(plots.confusion_matrices(results, metrics))
    curves = to_png(plots.learning_curves(results))
    return [
        Section(
            "Confusion",
            "All folds together. Each row is a true class and adds up to 100 %.",
            picture=Picture("confusion", "Confusion matrix of every model", confusion),
        ),
        Section(
            "Learning curves",
            sentences.curves(metrics),
            picture=Picture("learning_curves", "UA of every model by epoch", curves),
        ),
    ]


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def _environment(filters: dict[str, Callable[..., str]]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("temporal_shift.ser.reports"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment


_TEMPLATES = _environment({"markdown": Table.markdown, "escaped": escaped, "data_uri": _data_uri})
