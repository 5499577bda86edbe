"""The report: ``metrics.json`` and ``run_info.json`` for programs; Markdown, HTML and plots for reading."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from ..utils.atomic_files import write_bytes, write_json
from ..utils.markdown import escape_markdown
from ..utils.plot_style import to_png
from ..utils.table import Table
from ..utils.wording import is_optimistic
from . import calibration, plots, report_tables, sentences
from .results import Results, read_results, summarize, training_seconds

_MAX_PANELS = 12  # with more models, the plots with one panel or line per model are left out


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot: file name without its suffix, caption, and content of the PNG file."""

    name: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its content. The fields are in the order of the page, and the templates format them."""

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
    more: Callable[[Results, dict[str, Any]], list[Section]] | None = None,
    *,
    caveats: Sequence[str] = (),
) -> dict[str, Any]:
    """Summarise the results in ``root`` and write the report to the same folder.

    Args:
        root: The results folder, with ``experiment.json`` and ``runs/<model>/seed-<seed>/<fold>/``. Each of
            ``metrics.json``, ``run_info.json``, ``report.md``, ``report.html`` and ``plots/*.png`` is replaced
            atomically.
        corpus_summary: Facts about the corpus. A ``"note"`` becomes the first caveat.
        run_info: JSON data that may differ between machines, such as versions and the device. It goes to
            ``run_info.json`` with the training times, so that the same predictions always give the same
            ``metrics.json``.
        more: Returns further sections, which follow the results. Default: ``None``, no further sections.
        caveats: Sentences about the corpus and the folds, for the section of caveats. Default: none.

    Returns:
        The content of ``metrics.json``.

    Raises:
        RecipeError: If a file of the experiment or of a run is missing or invalid.
    """
    results = read_results(root)
    metrics = summarize(results)
    calibration.add_calibration(metrics, root, results)
    found = sentences.caveats(metrics, corpus_summary.get("note"), caveats)
    sections = _sections(results, metrics, corpus_summary, run_info, found, more(results, metrics) if more else [])
    for section in sections:
        if section.picture is not None:
            write_bytes(root / "plots" / f"{section.picture.name}.png", section.picture.png)
    for name in ("report.md", "report.html"):
        page = _TEMPLATES.get_template(f"{name}.jinja").render(title=results.experiment.name, sections=sections)
        write_bytes(root / name, page.encode())
    write_json(root / "run_info.json", {**run_info, "training_seconds": training_seconds(results)})
    write_json(root / "metrics.json", metrics)
    return metrics


def _sections(
    results: Results,
    metrics: dict[str, Any],
    corpus_summary: dict[str, object],
    run_info: dict[str, object],
    caveats: tuple[str, ...],
    more: list[Section],
) -> list[Section]:
    seconds = sum(run.record.seconds for seeds in results.runs.values() for runs in seeds for run in runs)
    tested = zip(results.plan.folds, next(iter(results.runs.values()))[0], strict=True)
    speakers = {fold: sorted(map(str, {*run.speakers})) for fold, run in tested}
    facts = {name: value for name, value in corpus_summary.items() if name != "note"}
    settings = yaml.safe_dump(results.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    ua = Picture("ua", "UA of every model and fold", to_png(plots.ua_by_model(results, metrics)))
    pairs_text = sentences.pairs_of(metrics["pairs"], is_optimistic(metrics))
    pairs = Section("Each model and its baseline", pairs_text, report_tables.pairs(metrics["pairs"]))
    time = f"{seconds / 60:.1f} minutes, the sum over all runs"
    return [
        Section("What was run", sentences.what_was_run(results.experiment, metrics)),
        Section("Protocol", sentences.protocol(metrics, speakers)),
        Section("Results", sentences.reading(metrics), report_tables.results(metrics), picture=ua),
        *more,
        *([pairs] if metrics["pairs"] else []),
        Section("Selection bias", sentences.selection(metrics), report_tables.selection(metrics)),
        *_calibration(metrics),
        Section("Caveats", bullets=caveats),
        *(_plots_of_each_model(results, metrics) if len(metrics["models"]) <= _MAX_PANELS else []),
        Section("Corpus", bullets=sentences.facts(facts)),
        Section("Settings", code=settings.rstrip()),
        Section("Versions, hashes and time", bullets=sentences.facts({**run_info, "training": time})),
    ]


def _calibration(metrics: dict[str, Any]) -> list[Section]:
    table = calibration.table(metrics)
    return [] if table is None else [Section("Calibration", calibration.TEXT, table)]


def _plots_of_each_model(results: Results, metrics: dict[str, Any]) -> list[Section]:
    confusion = to_png(plots.confusion_matrices(results, metrics))
    curves = to_png(plots.learning_curves(results))
    return [
        Section(
            "Confusion",
            "All folds and seeds together. Rows are true classes and add up to 100 %.",
            picture=Picture("confusion", "Confusion matrix of every model", confusion),
        ),
        Section(
            "Learning curves",
            sentences.curves(metrics),
            picture=Picture("learning_curves", "UA of every model by epoch", curves),
        ),
    ]


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("temporal_shift.ser.reports"),
    autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "markdown": Table.markdown,
    "escaped": escape_markdown,
    "data_uri": lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
}
