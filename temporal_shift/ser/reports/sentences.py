"""The sentences of a report: the experiment, how to read the tables, and caveats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import config
from ..corpora.speaker_groups import are_speaker_groups
from ..utils.table import p_value, percent
from ..utils.wording import PROTOCOLS, counted, is_optimistic, joined, listed, with_speaker_groups
from .bootstrap import CONFIDENCE

_PAIRS = (
    "Each row is the UA of a model minus the UA of its baseline, in points, on the same utterances. The 95 % interval "
    "comes from resamples of the folds and speakers, the same ones for both models{seeds}. p, Holm: the z test of the "
    "difference divided by its standard error, corrected for the number of rows. 80 % power: the smallest true "
    "difference that such an experiment detects with 80 % power at the 5 % level, not corrected; the interval shows "
    "which differences remain possible. p, by speaker: the permutation test that exchanges the two models' predictions "
    "speaker by speaker, not corrected; it applies to these trained models, not to models trained with other seeds. "
    "McNemar p: the exact test on the utterances that only one of the two predicts correctly{median}; it treats "
    "utterances as independent and is not corrected."
)
_MEDIAN = ": the median over the seeds, and how many of them have p < 0.05"


def pairs_of(found: Sequence[dict[str, Any]], optimistic: bool) -> str:
    """How to read a table of pairs.

    Args:
        found: The pairs; see :func:`.report_tables.pairs`.
        optimistic: Whether the test parts chose the epochs of a model.
    """
    has_seeds = any(len(pair["mcnemar_p"]) > 1 for pair in found)
    text = _PAIRS.format(seeds=", and the seeds" * has_seeds, median=_MEDIAN * has_seeds)
    return (
        f"{text} With the paper's protocol, a model is reported at its own best test epochs, which is optimistic."
        if optimistic
        else text
    )


def what_was_run(experiment: config.Experiment, metrics: dict[str, Any]) -> str:
    models, folds, seeds = (len(metrics[key]) for key in ("models", "folds", "seeds"))
    backbone = Path(experiment.backbone.name)
    name = backbone.name if backbone.is_absolute() else backbone
    layer = {"last": "the last layer", "weighted": "a weighted sum of the layers"}.get(
        str(experiment.backbone.layer), f"hidden state {experiment.backbone.layer}"
    )
    labels = joined(metrics["labels"], most=len(metrics["labels"]))
    encoder = "the frozen" if experiment.setting == "features" else "a fine-tuned"
    return (
        f"{counted(models, 'model')} classified {counted(metrics['utterances'], 'utterance')} of "
        f"{counted(metrics['speakers'], 'speaker')} as {labels}, from {layer} of {encoder} {name}. "
        f"Each was trained for {counted(experiment.training.epochs, 'epoch')} in {counted(folds, 'fold')} with "
        f"{'seed' if seeds == 1 else 'seeds'} {', '.join(map(str, metrics['seeds']))}: "
        f"{counted(models * folds * seeds, 'run')} in total."
    )


def protocol(metrics: dict[str, Any], speakers: Mapping[str, Sequence[str]]) -> str:
    """The protocol and its folds.

    Args:
        metrics: The content of ``metrics.json``.
        speakers: The tested speakers of each fold.
    """
    text, folds = PROTOCOLS[metrics["protocol"]], metrics["folds"]
    if are_speaker_groups(folds):
        text = with_speaker_groups(text)
        folds = [f"{fold} ({listed(speakers[fold])})" for fold in folds]
    return f"{text} The folds, named by their test part: {', '.join(folds)}."


def reading(metrics: dict[str, Any]) -> str:
    errors = [model["wa_binomial_se"] for model in metrics["models"]]
    several = len(metrics["seeds"]) > 1
    over, drawn = (
        ("seeds", "folds, the speakers in them, and the seeds") if several else ("folds", "folds and speakers")
    )
    return (
        f"WA is the accuracy, and UA is the mean recall over classes. Both are means over folds{' and seeds' * several}"
        f", ± standard deviation over {over}. The brackets are 95 % intervals from "
        f"{metrics['bootstrap']['resamples']} resamples of the {drawn}. The binomial standard error of WA on "
        f"{metrics['utterances']} utterances is "
        f"{_range(min(errors), max(errors))} points, so differences of that size mean little. chance is 1 / classes."
    )


def selection(metrics: dict[str, Any]) -> str:
    honest = {
        "paper": "at the last epoch",
        "last": "at the last epoch, as in this report",
    }.get(metrics["protocol"], "at the epoch that the validation part chose, as in this report")
    bias = [model["selection_bias"]["ua"] for model in metrics["models"]]
    return (
        "The paper's protocol chooses the epoch of each fold on its test part, once for WA and once for UA. The "
        f"table shows the results of the same runs under this rule. The bias is the difference from the results "
        f"{honest}: {percent(sum(bias) / len(bias))} points of UA on average over models.{_last_epoch(metrics)}"
    )


def _last_epoch(metrics: dict[str, Any]) -> str:
    """How much of the bias remains without any choice of an epoch; empty if the report is at the last epoch."""
    if metrics["protocol"] in ("paper", "last"):
        return ""
    gains = [model["best_test_epoch"]["ua"] - model["last_epoch"]["ua"] for model in metrics["models"]]
    return (
        f" The difference from the last epoch, which no part chooses, is {percent(sum(gains) / len(gains))} points: "
        "the rest of the bias comes from the choice by the validation part."
    )


def curves(metrics: dict[str, Any]) -> str:
    if metrics["protocol"] in ("heldout", "speaker"):
        return (
            "UA on the validation part, which chooses the epoch (the first of equal ones) and is used for neither "
            "training nor testing."
        )
    return "UA on the test part, because this protocol has no validation part."


def constant_models(metrics: dict[str, Any]) -> list[str]:
    """A caveat for each model that predicts only one class in at least one run."""
    runs = len(metrics["folds"]) * len(metrics["seeds"])
    return [
        f"{model['name']} predicts only one class in {model['constant_runs']} of {counted(runs, 'run')}: its UA there "
        "is the UA of a constant prediction."
        for model in metrics["models"]
        if model["constant_runs"]
    ]


def caveats(metrics: dict[str, Any], note: object, more: Sequence[str] = ()) -> tuple[str, ...]:
    """The caveats of a report: the note of the corpus, then caveats of the corpus, the folds and the results."""
    found = [_note_on_seeds(metrics), _note_on_speakers(metrics), *disagreeing_tests(metrics)]
    if is_optimistic(metrics):
        found.insert(
            0,
            "WA and UA are reported at the best epoch on each test session, which is optimistic. Use them for "
            "comparison only.",
        )
    return (*([str(note)] if note else []), *more, *constant_models(metrics), *found)


def _note_on_seeds(metrics: dict[str, Any]) -> str:
    seeds, has_groups = len(metrics["seeds"]), are_speaker_groups(metrics["folds"])
    if seeds == 1:
        speakers = "speakers" if has_groups else "speakers and sessions"
        return (
            f"Every model was trained once per fold. The intervals cover the variation between {speakers}, but not "
            "between seeds."
        )
    speakers = "speakers" if has_groups else "speakers, sessions"
    return (
        f"The intervals and the column p, Holm cover the variation between {speakers} and seeds. "
        f"{seeds} seeds show the variation between seeds only roughly."
    )


def disagreeing_tests(metrics: dict[str, Any]) -> list[str]:
    """A caveat for each difference that is significant by its standard error, but not by the sign-flip test."""
    return [
        f"{pair['model']} − {pair['baseline']}: p, Holm is {p_value(pair['holm_p'])}, but p, by speaker is "
        f"{p_value(pair['sign_flip_p'])}. With few speakers the standard error is often too small, so this difference "
        "is not shown to be more than chance."
        for pair in metrics["pairs"]
        if pair["holm_p"] < 1 - CONFIDENCE <= pair["sign_flip_p"]
    ]


def _note_on_speakers(metrics: dict[str, Any]) -> str:
    speakers = metrics["speakers"]
    note = (
        f"The corpus has {counted(speakers, 'speaker')} in {counted(len(metrics['folds']), 'fold')}. With few speakers "
        "or folds, the 95 % intervals can contain the true value less often than in 95 % of the cases"
    )
    if speakers < 10 and len(metrics["seeds"]) == 1:
        note += ": with five speakers, in 83 of 100 simulated experiments with one seed, and in 96 with three seeds"
    return f"{note}."


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
