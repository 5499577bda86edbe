"""Records of experiments on real speech. They contain the test predictions of each run at its chosen epoch.

A record has a line of the kind ``experiment``, one of the kind ``model`` for each model, and one of the kind ``run``
for each model, seed and fold. The speakers and labels of a fold and the predictions of a run are strings with one
character per test utterance, in the order of the ids that ``ids_sha256`` hashes. The position of the character in
``DIGITS`` is an index into the fold's ``speakers`` or the experiment's ``labels``.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from temporal_shift.ser.reports.calibration import add_calibration
from temporal_shift.ser.reports.results import Results, read_results, summarize
from temporal_shift.ser.reports.run_files import FinishedRun
from temporal_shift.ser.reports.summary import Tested
from temporal_shift.ser.training.metrics import FoldPredictions
from temporal_shift.ser.training.run_record import run_folder
from temporal_shift.ser.utils.atomic_files import file_sha256
from temporal_shift.ser.utils.errors import RecipeError

from .measurements import Line
from .record_file import FOLDER as RECORDS
from .record_file import environment

SUITE = "real-speech"
FOLDER = RECORDS / "real-speech"
DIGITS = string.digits + string.ascii_letters
_CORPORA = {"emodb": "EmoDB", "ravdess": "RAVDESS"}


def corpus_name(folder: str) -> str:
    """The display name of a corpus, from the name of its folder."""
    return _CORPORA.get(folder, folder)


def lines_of(root: Path) -> Iterator[Line]:
    """Yield the lines of the record of a results folder.

    Raises:
        RecipeError: If a run or ``run_info.json`` is missing or invalid.
        ValueError: If a fold has more speakers or classes than ``DIGITS`` has characters.
    """
    results = read_results(root)
    experiment = results.experiment
    where = {
        "corpus": experiment.corpus.path.stem,
        "encoder": Path(experiment.backbone.name).name,
        "layer": experiment.backbone.layer,
        "frames_averaged": experiment.features.average,
    }
    info = _run_info(root)
    head = {"suite": SUITE, **environment("cpu"), "what": experiment.name, **where}
    if (device := info.get("device", "cpu")) != "cpu":  # the runs may be from another machine than the record
        versions = {name: info.get(name) for name in ("python", "torch", "transformers")}
        head |= {"device": device, "threads": None, "versions": versions}
    yield {**head, "kind": "experiment", **_settings(results, info)}
    metrics = summarize(results)
    add_calibration(metrics, root, results)
    for model in metrics["models"]:
        keys = ("parameters", "best_test_epoch", "last_epoch", "calibration")
        yield {**head, "kind": "model", "model": model["name"], **{key: model.get(key) for key in keys}}
    for model in experiment.models:
        for of_seed in results.runs[model.name]:
            for run in of_seed:
                yield {"suite": SUITE, "kind": "run", "what": experiment.name, **where, **_run(root, run)}


def _run_info(root: Path) -> dict[str, Any]:
    path = root / "run_info.json"
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot read {path}: {error}; run the experiment again") from None
    return info


def _settings(results: Results, info: dict[str, Any]) -> dict[str, Any]:
    experiment, first = results.experiment, next(iter(results.runs.values()))[0]
    models = [model.model_dump(mode="json") for model in experiment.models]
    folds = {fold: _test_part(run) for fold, run in zip(results.plan.folds, first, strict=True)}
    sections = {
        name: getattr(experiment, name).model_dump(mode="json")
        for name in ("features", "spec_augment", "protocol", "training")
    }
    return {
        "labels": [*results.plan.labels],
        "seeds": [*results.plan.seeds],
        "folds": folds,
        "models": models,
        **sections,
        "sha256": {"corpus": info.get("corpus"), "features": info.get("features")},
    }


def _test_part(run: FinishedRun) -> dict[str, Any]:
    speakers = sorted(set(run.speakers.tolist()))
    ids = "\n".join(run.utterances)
    return {
        "speakers": speakers,
        "utterances": len(run.utterances),
        "ids_sha256": hashlib.sha256(ids.encode()).hexdigest()[:16],
        "speaker": _text([speakers.index(each) for each in run.speakers.tolist()]),
        "label": _text(run.labels.tolist()),
    }


def _run(root: Path, run: FinishedRun) -> dict[str, Any]:
    record, epoch = run.record, run.record.chosen.ua
    folder = run_folder(root, record.model, record.seed, record.fold)
    scores = record.epochs[epoch - 1].test
    return {
        "model": record.model,
        "seed": record.seed,
        "fold": record.fold,
        "epoch": epoch,
        "ua": scores.ua,
        "wa": scores.wa,
        "predictions": _text(run.predictions(epoch).predictions.tolist()),
        "predictions_sha256": file_sha256(folder / "predictions.jsonl"),
        "seconds": round(record.seconds, 1),
    }


def tested_of(lines: Sequence[Line]) -> Tested:
    """The predictions in the record of one experiment."""
    (head,) = [line for line in lines if line["kind"] == "experiment"]
    runs = {(line["model"], line["seed"], line["fold"]): line for line in lines if line["kind"] == "run"}
    predictions = {
        model["name"]: [
            [_fold_predictions(part, runs[model["name"], seed, fold]) for fold, part in head["folds"].items()]
            for seed in head["seeds"]
        ]
        for model in head["models"]
    }
    labels, folds, seeds = (tuple(head[key]) for key in ("labels", "folds", "seeds"))
    return Tested(labels, folds, seeds, predictions, bootstrap_seed=head["training"]["seed"])


def _fold_predictions(part: dict[str, Any], run: Line) -> FoldPredictions:
    speakers = np.array(part["speakers"])[_indices(part["speaker"])]
    return FoldPredictions(speakers, _indices(part["label"]), _indices(run["predictions"]))


def _text(indices: Sequence[int]) -> str:
    if indices and max(indices) >= len(DIGITS):
        raise ValueError(f"the index of a speaker or class must be less than {len(DIGITS)}, got {max(indices)}")
    return "".join(DIGITS[index] for index in indices)


def _indices(text: str) -> np.ndarray[Any, np.dtype[np.intp]]:
    return np.array([DIGITS.index(each) for each in text], dtype=np.intp)
