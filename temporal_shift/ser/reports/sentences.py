"""The sentences of a report: what was done, how to read it, what not to read into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import config
from ..utils.table import percent
from ..utils.wording import PROTOCOLS, counted, is_optimistic

_PAIRS = (
    "UA of the model minus UA of its baseline, in points, tested on the same utterances; the interval draws the same "
    "speakers for both. McNemar's exact p compares the utterances that only one of the two gets right, with the first "
    "seed; it takes utterances as independent and is not corrected for the number of rows."
)


def pairs_of(optimistic: bool) -> str:
    """How to read a table of pairs, whose epochs the test parts chose or not."""
    return f"{_PAIRS} Each is at its own best test epochs: optimistic." if optimistic else _PAIRS


def what_was_run(experiment: config.Experiment, metrics: dict[str, Any]) -> str:
    models, folds, seeds = (len(metrics[key]) for key in ("models", "folds", "seeds"))
    backbone = Path(experiment.backbone.name)
    name = backbone.name if backbone.is_absolute() else backbone
    heard = "frozen output of" if experiment.setting == "features" else "output of a fine-tuned"
    return (
        f"{counted(models, 'model')} learned to tell {', '.join(metrics['labels'])} apart in {metrics['utterances']} "
        f"utterances of {counted(metrics['speakers'], 'speaker')}, from the "
        f"{heard} {name}, layer: {experiment.backbone.layer}. "
        f"Each was trained for {counted(experiment.training.epochs, 'epoch')} in {counted(folds, 'fold')} with "
        f"{'seed' if seeds == 1 else 'seeds'} {', '.join(map(str, metrics['seeds']))}: "
        f"{models * folds * seeds} runs in all."
    )


def protocol(metrics: dict[str, Any]) -> str:
    return f"{PROTOCOLS[metrics['protocol']]} The folds, by whom they test: {', '.join(metrics['folds'])}."


def reading(metrics: dict[str, Any]) -> str:
    errors = [model["wa_binomial_se"] for model in metrics["models"]]
    over = "folds" if len(metrics["seeds"]) == 1 else "seeds"
    return (
        f"WA is the accuracy, UA the mean of the classes' recalls: means over folds{' and seeds' * (over == 'seeds')}, "
        f"± standard deviation over {over}. "
        f"In brackets, 95 % intervals from {metrics['bootstrap']['resamples']} resamples of the folds and of the "
        f"speakers in them. The binomial standard error of WA on {metrics['utterances']} utterances is "
        f"{_range(min(errors), max(errors))} points: a difference of that size, by itself, says nothing."
    )


def selection(metrics: dict[str, Any]) -> str:
    honest = {
        "paper": "of the last epoch",
        "last": "of the last epoch, as in this report",
    }.get(metrics["protocol"], "whose epochs were chosen by others than they test, as in this report")
    bias = [model["selection_bias"]["ua"] for model in metrics["models"]]
    return (
        "Had the test part of each fold chosen the epoch, for WA and UA apart, as the published protocol does, these "
        f"very runs would have been reported so. The bias is what that adds to figures {honest}: "
        f"{percent(sum(bias) / len(bias))} points of UA in the mean over models. Both have the same training data."
    )


def curves(metrics: dict[str, Any]) -> str:
    if metrics["protocol"] in ("heldout", "speaker"):
        return "On the part of a fold that chose the epoch, which was neither trained on nor tested."
    return "On the test sessions, since nobody validates: they are shown, and under the published protocol they choose."


def constant_models(metrics: dict[str, Any]) -> list[str]:
    """A caveat for each model that predicts one class only."""
    runs = len(metrics["folds"]) * len(metrics["seeds"])
    return [
        f"{model['name']} predicts one class only in {model['constant_runs']} of {counted(runs, 'run')}: its UA there "
        "is that of a constant answer, and it learned nothing that this test shows."
        for model in metrics["models"]
        if model["constant_runs"]
    ]


def caveats(metrics: dict[str, Any], note: object, more: Sequence[str] = ()) -> tuple[str, ...]:
    """The caveats of a report: the corpus's note, those of the corpus and the folds, and those of the figures."""
    once = len(metrics["seeds"]) == 1
    of_seeds = "every model was trained once per fold" if once else "the seeds are averaged, not drawn"
    found = [
        f"The intervals tell of other speakers and sessions of this kind, not of other seeds: {of_seeds}.",
        f"{counted(metrics['speakers'], 'speaker')} in {counted(len(metrics['folds']), 'fold')} are few: an interval "
        "from so few holds the truth somewhat less often than 95 % says.",
    ]
    if is_optimistic(metrics):
        found.insert(0, "WA and UA are those of each test session's own best epochs: optimistic, for comparison only.")
    return (*([str(note)] if note else []), *more, *constant_models(metrics), *found)


def facts(found: dict[str, object]) -> tuple[str, ...]:
    return tuple(f"{name.replace('_', ' ')}: {_phrase(value)}" for name, value in found.items())


def _phrase(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_phrase(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_phrase, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(low: float, high: float) -> str:
    first, last = percent(low), percent(high)
    return first if first == last else f"{first} to {last}"
