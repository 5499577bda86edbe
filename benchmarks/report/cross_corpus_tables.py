"""Tables of models on corpora that they were not trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from temporal_shift.ser.utils.table import Table, interval, percent

from ..measure.measurements import Line, of_kind
from ..measure.real_speech import corpus_name

_MODELS = Path("examples/real-speech/models")


def figures(lines: Iterable[Line]) -> Table:
    """Scores of the models on their training corpus (cross-validated) and on another corpus."""
    rows = []
    for line in of_kind(lines, "cross-corpus"):
        provenance = json.loads((_MODELS / line["model"] / "config.json").read_text(encoding="utf-8"))["provenance"]
        corpus, own = provenance["corpus"], provenance["all_folds"]
        scores = [f"{percent(own[key]['mean'])} {interval(own[key]['interval'])}" for key in ("wa", "ua")]
        where = f"{corpus_name(corpus['name'])}, cross-validated"
        error = percent(provenance["calibration"]["ece"]["after"])
        rows.append((line["model"], where, str(corpus["utterances"]), str(corpus["speakers"]), *scores, error))
        figures = [percent(line[key]) for key in ("wa", "ua", "ece")]
        where = corpus_name(line["what"])
        rows.append((line["model"], where, str(line["utterances"]), str(line["speakers"]), *figures))
    return Table(("Model", "Corpus", "Utterances", "Speakers", "WA, %", "UA, %", "ECE, points"), rows)


def confusion(lines: Iterable[Line]) -> Table:
    """Confusion counts of the models on another corpus."""
    rows, labels = [], ()
    for line in of_kind(lines, "cross-corpus"):
        labels = tuple(line["labels"])
        for label, counts in zip(labels, line["confusion"], strict=True):
            rows.append((line["model"], label, *map(str, counts)))
    return Table(("Model", "Class", *(f"predicted {label}" for label in labels)), rows)


def sounds(lines: Iterable[Line]) -> Table:
    """Predicted probabilities for sounds without speech."""
    found = of_kind(lines, "sound")
    rows = [
        (line["model"], line["what"], *(percent(share) for share in line["probabilities"].values())) for line in found
    ]
    return Table(("Model", "Sound", *(f"{label}, %" for label in found[0]["probabilities"])), rows)
