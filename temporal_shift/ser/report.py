"""The report: ``metrics.json`` and ``run_info.json`` for programs; Markdown, HTML and plots for people."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import rich.box
import rich.table
import yaml
from rich.text import Text

from . import config, plots
from .files import atomic_write
from .results import Results, read_results, summarize, training_seconds


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column holds names, the others numbers."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


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
    experiment: config.Experiment,
    labels: Sequence[str],
    folds: Sequence[str],
    corpus_summary: dict[str, object],
    run_info: dict[str, object],
) -> dict[str, Any]:
    """Read the runs under ``root`` and write beside them what they say.

    Args:
        root: The results folder, with ``runs/<model>/<fold>/``. ``metrics.json``, ``run_info.json``, ``report.md``,
            ``report.html`` and ``plots/`` are written into it, each file whole or not at all.
        experiment: What was run.
        labels: The classes, in the order of the models' outputs.
        folds: The names of the folds, two or more.
        corpus_summary: What to say of the corpus; a ``"note"`` among it stands first of the caveats.
        run_info: Versions, device and whatever else may differ from run to run. It goes to ``run_info.json``, with the
            training times, so that the same predictions give the same ``metrics.json`` to the last digit.

    Returns:
        The content of ``metrics.json``.

    Raises:
        RecipeError: If a run is missing or broken.
    """
    results = read_results(root, experiment, labels, folds)
    metrics = summarize(results)
    info = {**run_info, "training_seconds": training_seconds(results)}
    sections = _sections(results, metrics, corpus_summary, run_info)

    for section in sections:
        if section.picture is not None:
            _write(root / "plots" / f"{section.picture.name}.png", section.picture.png)
    for name in ("report.md", "report.html"):
        page = _TEMPLATES.get_template(f"{name}.jinja").render(title=experiment.name, sections=sections)
        _write(root / name, page.encode())
    _write(root / "run_info.json", _json(info))
    _write(root / "metrics.json", _json(metrics))
    return metrics


def results_table(metrics: dict[str, Any]) -> rich.table.Table:
    """The results for a terminal of 80 columns."""
    content = _results(metrics)
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column, name in enumerate(content.header):
        table.add_column(name, justify="right" if column else "left")
    for row in content.rows:
        table.add_row(*map(Text, row))  # Text, because square brackets in a str are rich's markup
    return table


def markdown_table(metrics: dict[str, Any]) -> str:
    """The results for ``report.md`` and a README."""
    return _markdown(_results(metrics))


def pairs_table(metrics: dict[str, Any]) -> str:
    """Each model against its twin, as Markdown."""
    return _markdown(_pairs(metrics))


def _sections(
    results: Results, metrics: dict[str, Any], corpus_summary: dict[str, object], run_info: dict[str, object]
) -> list[Section]:
    seconds = sum(sum(by_fold.values()) for by_fold in training_seconds(results).values())
    facts = {name: value for name, value in corpus_summary.items() if name != "note"}
    settings = yaml.safe_dump(results.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    ua = plots.to_png(plots.ua_by_model(results, metrics))
    confusion = plots.to_png(plots.confusion_matrices(results, metrics))
    curves = plots.to_png(plots.learning_curves(results))
    sections = [
        Section("What was run", _what_was_run(results.experiment, metrics)),
        Section("Protocol", _protocol(metrics)),
        Section(
            "Results", _reading(metrics), _results(metrics), picture=Picture("ua", "UA of every model and fold", ua)
        ),
        Section("Caveats", bullets=_caveats(metrics, corpus_summary.get("note"))),
        Section(
            "Confusion",
            "All folds together. Each row is a true class and adds up to 100 %.",
            picture=Picture("confusion", "Confusion matrix of every model", confusion),
        ),
        Section(
            "Learning curves",
            "On the session that chose the epoch, which was neither trained on nor tested.",
            picture=Picture("learning_curves", "Validation UA of every model by epoch", curves),
        ),
        Section("Corpus", bullets=_facts(facts)),
        Section("Settings", code=settings.rstrip()),
        Section("Versions and time", bullets=_facts({**run_info, "training": f"{seconds / 60:.1f} minutes, all runs"})),
    ]
    if metrics["pairs"]:
        sections.insert(3, Section("Each model and its twin", _reading_pairs(), _pairs(metrics)))
    return sections


def _what_was_run(experiment: config.Experiment, metrics: dict[str, Any]) -> str:
    models, folds = len(metrics["models"]), len(metrics["folds"])
    backbone = Path(experiment.backbone.name)
    return (
        f"{_counted(models, 'model')} learned to tell {', '.join(metrics['labels'])} apart in {metrics['utterances']} "
        f"utterances of {_counted(metrics['speakers'], 'speaker')}, from the "
        f"frozen output of {backbone.name if backbone.is_absolute() else backbone}, layer {experiment.backbone.layer}. "
        f"Each was trained for {_counted(experiment.training.epochs, 'epoch')} in {_counted(folds, 'fold')}, "
        f"{models * folds} runs in all, with seed {experiment.training.seed}."
    )


def _protocol(metrics: dict[str, Any]) -> str:
    return (
        "Leave one session out: every fold tests on one session, the next session (after the last, the first) chose "
        "the epoch by its best UA, and the others trained. The test session chose nothing. "
        f"The folds, by the session they test: {', '.join(metrics['folds'])}."
    )


def _reading(metrics: dict[str, Any]) -> str:
    errors = [100 * model["wa_binomial_se"] for model in metrics["models"]]
    return (
        "WA is the accuracy, UA the mean of the classes' recalls: means over folds, ± standard deviation over folds. "
        f"In brackets, 95 % intervals from {metrics['bootstrap']['resamples']} resamples of the folds and of the "
        f"speakers in them. The binomial standard error of WA on {metrics['utterances']} utterances is "
        f"{_range(min(errors), max(errors))} points: a difference of that size, by itself, says nothing."
    )


def _reading_pairs() -> str:
    return (
        "UA of the model minus UA of its twin, in points, tested on the same utterances; the interval draws the same "
        "speakers for both. McNemar's exact p compares the utterances that only one of the two gets right; it takes "
        "utterances as independent and is not corrected for the number of rows."
    )


def _caveats(metrics: dict[str, Any], note: object) -> tuple[str, ...]:
    ours = (
        "The intervals tell of other speakers and sessions of this kind, not of other seeds: every model was trained "
        "once per fold.",
        f"{_counted(metrics['speakers'], 'speaker')} in {_counted(len(metrics['folds']), 'fold')} are few: an interval "
        "from so few holds the truth somewhat less often than 95 % says.",
    )
    return (str(note), *ours) if note else ours


def _results(metrics: dict[str, Any]) -> Table:
    chance = f"{100 * metrics['chance']:.1f}"
    rows = [
        (model["name"], _millions(model["parameters"]), *_figure(model["wa"]), *_figure(model["ua"]))
        for model in metrics["models"]
    ]
    return Table(
        ("Model", "Parameters", "WA, %", "95 % of WA", "UA, %", "95 % of UA"),
        [*rows, ("chance", "", chance, "", chance, "")],
    )


def _pairs(metrics: dict[str, Any]) -> Table:
    rows = []
    for pair in metrics["pairs"]:
        difference, low, high = (_signed(100 * value) for value in (pair["ua_difference"], *pair["interval"]))
        only = f"{pair['only_model_right']} / {pair['only_twin_right']}"
        p = "< 0.001" if pair["mcnemar_p"] < 0.001 else f"{pair['mcnemar_p']:.3f}"
        rows.append((f"{pair['model']} − {pair['twin']}", difference, f"[{low}, {high}]", only, p))
    return Table(("Pair", "UA, points", "95 %", "only one right", "McNemar p"), rows)


def _figure(figure: dict[str, Any]) -> tuple[str, str]:
    mean, sd, low, high = (100 * value for value in (figure["mean"], figure["fold_sd"], *figure["interval"]))
    return f"{mean:.1f} ± {sd:.1f}", f"[{low:.1f}, {high:.1f}]"


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e4 else str(parameters)


def _signed(points: float) -> str:
    text = f"{points:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def _range(low: float, high: float) -> str:
    first, last = f"{low:.1f}", f"{high:.1f}"
    return first if first == last else f"{first} to {last}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _facts(facts: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"{name.replace('_', ' ')}: {_phrase(value)}" for name, value in facts.items())


def _phrase(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_phrase(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_phrase, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _markdown(table: Table) -> str:
    lines = [table.header, (":--", *["--:"] * (len(table.header) - 1)), *(map(_escaped, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: str) -> str:
    """Plain text as Markdown: what would be markup, a table's edge or HTML is itself again."""
    return re.sub(r"([\\`*|])", r"\\\1", html.escape(text, quote=False))


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n").encode()


def _write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def _environment(filters: dict[str, Callable[..., str]]) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("temporal_shift.ser"),
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment


_TEMPLATES = _environment({"markdown": _markdown, "escaped": _escaped, "data_uri": _data_uri})
