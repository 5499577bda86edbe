"""The metrics of models and comparisons, from predictions alone, without a results folder.

:func:`summarize_predictions` returns what :func:`.report_tables.results` and :func:`.report_tables.pairs` show:

>>> import numpy as np
>>> from temporal_shift.ser.reports import report_tables
>>> from temporal_shift.ser.training.metrics import FoldPredictions
>>> speakers, labels = np.array(["anna", "ben", "anna", "ben"]), np.array([0, 0, 1, 1])
>>> folds_of = lambda *predicted: [FoldPredictions(speakers, labels, np.array(each)) for each in predicted]
>>> tested = Tested(
...     labels=("calm", "angry"),
...     folds=("one", "two"),
...     seeds=(42,),
...     predictions={
...         "LSTM": [folds_of([0, 1, 1, 0], [0, 1, 1, 1])],
...         "ShiftLSTM": [folds_of([0, 0, 1, 0], [0, 0, 1, 1])],
...     },
... )
>>> summary = summarize_predictions(tested, [("ShiftLSTM", "LSTM")])
>>> [round(model["ua"]["mean"], 3) for model in summary["models"]]
[0.625, 0.875]
>>> report_tables.pairs(summary["pairs"]).rows[0][:2]
('ShiftLSTM − LSTM', '+25.0')
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..training.metrics import ClassCounts, FoldPredictions, Seeds, binomial_standard_error, fold_confusion
from .bootstrap import CONFIDENCE, RESAMPLES, Measure, Resampled, fold_scores
from .paired import DETECTABLE_IN_SE, POWER, holm, paired_difference


@dataclass(frozen=True, slots=True, eq=False)
class Tested:
    """The test predictions of an experiment, by model, seed and fold, in the order of ``seeds`` and ``folds``.

    All models must be tested on the same utterances in the same order, in at least two folds.
    """

    labels: tuple[str, ...]  # the classes, by index
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    predictions: Mapping[str, Seeds]  # for UA, and for WA by default
    for_wa: Mapping[str, Seeds] | None = None  # for WA, if it is reported at other epochs than UA
    bootstrap_seed: int = 42  # makes the resamples repeatable

    @property
    def utterances(self) -> int:
        return sum(len(fold.labels) for fold in self._folds())

    @property
    def speakers(self) -> int:
        return len({str(speaker) for fold in self._folds() for speaker in fold.speakers})

    def _folds(self) -> Sequence[FoldPredictions]:
        return next(iter(self.predictions.values()))[0]


def summarize_predictions(tested: Tested, comparisons: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """The part of ``metrics.json`` that comes from predictions; fractions, not percent.

    :func:`.report_tables.results` also needs ``"protocol"``, for example ``{"protocol": "heldout", **summary}``, and
    shows the models' ``"parameters"`` if there are any.

    Args:
        tested: The predictions.
        comparisons: Pairs of a model and its baseline. Holm's correction covers all of them. Default: none.
    Raises:
        ValueError: If the models of a pair are not tested on the same utterances in the same order.
    """
    return {
        "labels": list(tested.labels),
        "folds": list(tested.folds),
        "seeds": list(tested.seeds),
        "utterances": tested.utterances,
        "speakers": tested.speakers,
        "chance": 1 / len(tested.labels),
        "bootstrap": {
            "resamples": RESAMPLES,
            "confidence": CONFIDENCE,
            "seed": tested.bootstrap_seed,
            "power": POWER,
            "detectable_in_se": DETECTABLE_IN_SE,
        },
        "models": [model_summary(tested, name) for name in tested.predictions],
        "pairs": corrected([pair_summary(tested, model, tested, baseline) for model, baseline in comparisons]),
    }


def model_summary(tested: Tested, name: str) -> dict[str, Any]:
    """WA and UA of a model with their uncertainty, and its confusion counts ``[true][predicted]`` over all runs."""
    predictions, classes = tested.predictions[name], len(tested.labels)
    wa = _figure(tested, (tested.for_wa or tested.predictions)[name], ClassCounts.wa)
    return {
        "name": name,
        "wa": wa,
        "ua": _figure(tested, predictions, ClassCounts.ua),
        "constant_runs": sum(_is_constant(fold) for folds in predictions for fold in folds),
        "wa_binomial_se": binomial_standard_error(wa["mean"], tested.utterances),
        "confusion": np.sum([fold_confusion(folds, classes) for folds in predictions], axis=(0, 1)).tolist(),
    }


def pair_summary(ours: Tested, model: str, theirs: Tested, baseline: str) -> dict[str, Any]:
    """A paired comparison of a model with a baseline, possibly of another experiment, without ``holm_p``.

    :func:`corrected` adds ``holm_p``.

    Raises:
        ValueError: If the two are not tested on the same utterances in the same order.
    """
    predictions = ours.predictions[model], theirs.predictions[baseline]
    difference = paired_difference(*predictions, len(ours.labels), ours.bootstrap_seed)
    return {
        "model": model,
        "baseline": baseline,
        "ua_difference": difference.ua,
        "interval": [*difference.interval],
        "se": difference.uncertainty.se,
        "se_speakers": difference.uncertainty.se_speakers,
        "detectable": difference.detectable,
        "p": difference.p,
        "sign_flip_p": difference.sign_flip_p,
        "only_model_right": float(np.mean(difference.only_first_right)),
        "only_baseline_right": float(np.mean(difference.only_second_right)),
        "mcnemar_p": dict(zip(map(str, ours.seeds), difference.mcnemar_p, strict=False)),
    }


def corrected(pairs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The comparisons of one table, with their p values corrected for their number by Holm's method: ``holm_p``."""
    return [{**pair, "holm_p": p} for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True)]


def _is_constant(fold: FoldPredictions) -> bool:
    """Whether all predictions are one class, and the labels are not."""
    return len(set(fold.predictions.tolist())) == 1 < len(set(fold.labels.tolist()))


def _figure(tested: Tested, predictions: Seeds, measure: Measure) -> dict[str, Any]:
    classes = len(tested.labels)
    scores = fold_scores(measure, predictions, classes)
    by_fold, by_seed = scores.mean(0), scores.mean(1)
    uncertainty = Resampled.of(predictions, measure, classes, tested.bootstrap_seed).uncertainty()
    return {
        "mean": float(scores.mean()),
        "fold_sd": float(by_fold.std(ddof=1)),
        "seed_sd": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else None,
        "interval": [*uncertainty.interval],
        "se": uncertainty.se,
        "se_speakers": uncertainty.se_speakers,
        "by_fold": dict(zip(tested.folds, by_fold.tolist(), strict=True)),
        "by_seed": dict(zip(map(str, tested.seeds), by_seed.tolist(), strict=True)),
    }
