"""Read and check the files of a results folder: the plan of an experiment, and finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from .. import config
from ..training import metrics
from ..training.epoch_choice import choose
from ..training.run_record import OUTCOME_FILES, Prediction, RunRecord, damaged_file, run_folder, settings_of
from ..utils.atomic_files import write_json
from ..utils.errors import RecipeError, raise_problems, sentences_of, shortened
from ..utils.text_files import json_lines, read_text
from ..utils.wording import counted, listed

T = TypeVar("T")


def train_again(folder: Path) -> str:
    """The remedy for an invalid run in ``folder``, for messages."""
    return f"delete {folder}, then repeat the command that trained this run"


@dataclass(frozen=True, slots=True)
class Plan:
    """``experiment.json``: the experiment, with the classes and folds of its corpus."""

    experiment: config.Experiment
    labels: tuple[str, ...]
    folds: tuple[str, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        first = self.experiment.training.seed
        return tuple(range(first, first + self.experiment.seeds))

    def write(self, root: Path) -> None:
        """Write ``experiment.json`` to a results folder, atomically."""
        content = {"experiment": self.experiment.model_dump(mode="json"), "labels": self.labels, "folds": self.folds}
        write_json(root / "experiment.json", content)

    @classmethod
    def read(cls, root: Path) -> Plan:
        """Read ``experiment.json`` of a results folder; raises :class:`RecipeError` if it is missing or invalid."""
        path = root / "experiment.json"
        if not path.is_file():
            raise RecipeError(f"{root} must be the results folder of an experiment, but {path} does not exist")
        return _read_json(path, cls)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRun:
    """A run as read from its files; the utterances are sorted by id."""

    record: RunRecord
    utterances: tuple[str, ...]
    speakers: npt.NDArray[np.str_]
    labels: npt.NDArray[np.intp]
    logits: npt.NDArray[np.float32]  # (epochs, utterances, classes)

    def predictions(self, epoch: int) -> metrics.FoldPredictions:
        """The predictions after an epoch, counted from 1."""
        return metrics.FoldPredictions(self.speakers, self.labels, self.logits[epoch - 1].argmax(axis=1))

    def test_part_difference(self, other: FinishedRun) -> str | None:
        """The first difference of the utterances, speakers and labels that two runs test; ``None`` without one."""
        if unpaired := sorted({*self.utterances} ^ {*other.utterances}):
            return f"{unpaired[0]!r} in only one of them"
        is_other = (self.speakers != other.speakers) | (self.labels != other.labels)
        return f"another speaker or label of {self.utterances[is_other.argmax()]!r}" if is_other.any() else None


def read_run(folder: Path, plan: Plan) -> FinishedRun:
    """Read the files of one run.

    Raises:
        RecipeError: If a file is missing, invalid or damaged, or the files do not match each other or the plan.
    """
    for name in ("run.json", *OUTCOME_FILES):
        if not (folder / name).is_file():
            raise RecipeError(
                f"{folder / name} does not exist: repeat the command of the experiment, which trains this run"
            )
    record = _read_record(folder / "run.json", plan.experiment)
    lines = _read_predictions(folder / "predictions.jsonl", plan.labels)
    shape = (len(record.epochs), len(lines), len(plan.labels))
    logits = read_logits(folder / "test_logits.npy", ("epochs", "utterances", "classes"), shape)
    if damaged := damaged_file(folder, record.files):
        raise RecipeError(f"{folder / damaged} was changed or damaged after the training: {train_again(folder)}")
    order = sorted(range(len(lines)), key=lambda number: lines[number].id)
    run = FinishedRun(
        record,
        tuple(lines[number].id for number in order),
        np.array([lines[number].speaker for number in order]),
        np.array([plan.labels.index(lines[number].label) for number in order]),
        logits[:, order],
    )
    _check_scores(folder / "run.json", run, len(plan.labels))
    return run


def _read_record(path: Path, experiment: config.Experiment) -> RunRecord:
    record, epochs = _read_json(path, RunRecord), experiment.training.epochs
    if [epoch.epoch for epoch in record.epochs] != list(range(1, epochs + 1)):
        found = listed([str(epoch.epoch) for epoch in record.epochs], most=epochs + 1) or "none"
        raise RecipeError(f"{path} must contain the epochs 1 to {epochs}, got {found}: {train_again(path.parent)}")
    for name, epoch in asdict(record.chosen).items():
        if not 1 <= epoch <= epochs:
            raise RecipeError(f"{path}: chosen.{name} must be in [1, {epochs}], got {epoch}")
    kind = experiment.protocol.kind
    wanted = 0 if kind in ("last", "paper") else epochs
    validated = sum(epoch.validation is not None for epoch in record.epochs)
    if validated != wanted:
        raise RecipeError(
            f"{path} must have validation scores of {counted(wanted, 'epoch')} with the protocol {kind}, got "
            f"{validated}: {train_again(path.parent)}"
        )
    if record.chosen != (chosen := choose(kind, record.epochs)):
        raise RecipeError(
            f"{path}: chosen must be {asdict(chosen)}, got {asdict(record.chosen)}: {train_again(path.parent)}"
        )
    if run_folder(Path(), record.model, record.seed, record.fold).parts != path.parent.parts[-4:]:
        raise RecipeError(
            f"{path} must describe the run that its folder is named after, got {record.model}, seed {record.seed}, "
            f"fold {record.fold}: {train_again(path.parent)}"
        )
    model = next((each for each in experiment.models if each.name == record.model), None)
    if model is not None and (other := _other_setting(record.inputs, settings_of(experiment, model))):
        key, recorded, planned = other
        raise RecipeError(
            f"{path} must have the settings of experiment.json, {key} {shortened(planned)}, got {shortened(recorded)}: "
            f"{train_again(path.parent)}"
        )
    return record


def _other_setting(recorded: Any, planned: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The first key with different values, and its values.

    A key of only one of the settings comes from another version of the package, and is ignored.
    """
    if isinstance(recorded, Mapping) and isinstance(planned, Mapping):
        found = (_other_setting(recorded[key], planned[key], f"{name}.{key}") for key in planned if key in recorded)
        return next(filter(None, found), None)
    return None if recorded == planned else (name.removeprefix("."), recorded, planned)


def _check_scores(path: Path, run: FinishedRun, classes: int) -> None:
    """Raise a :class:`RecipeError` if the recorded test scores of an epoch are not the scores of its logits."""
    for epoch in run.record.epochs:
        of_epoch = run.predictions(epoch.epoch)
        counts = metrics.confusion(of_epoch.labels, of_epoch.predictions, classes)
        for name, measure in (("wa", metrics.weighted_accuracy), ("ua", metrics.unweighted_accuracy)):
            recorded, computed = getattr(epoch.test, name), float(measure(counts))
            if abs(recorded - computed) > 1e-6:
                raise RecipeError(
                    f"{path}: test.{name} of epoch {epoch.epoch} must be {computed:.4f}, the score of "
                    f"test_logits.npy and predictions.jsonl, got {recorded:.4f}: {train_again(path.parent)}"
                )


def read_logits(path: Path, axes: Sequence[str], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Read logits.

    Args:
        path: The file in the folder of a run.
        axes: The names of the axes, for the message.
        shape: The shape that the logits must have.
    Raises:
        RecipeError: If the file cannot be read, or the logits have another shape, are not floats or are not finite.
    """
    try:
        logits: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    if logits.shape != shape:
        raise RecipeError(f"{path} must have the shape ({', '.join(axes)}) = {shape}, got {logits.shape}")
    if logits.dtype.kind != "f":
        raise RecipeError(f"{path} must contain floating-point numbers, got {logits.dtype}: {train_again(path.parent)}")
    if not np.isfinite(logits).all():
        raise RecipeError(f"{path} must contain finite numbers, got NaN or infinity: {train_again(path.parent)}")
    return logits


def _read_predictions(path: Path, labels: Sequence[str]) -> list[Prediction]:
    problems: list[str] = []
    found: dict[str, Prediction] = {}
    for where, prediction in json_lines(read_text(path), path, Prediction, problems):
        for name, label in (("label", prediction.label), ("prediction", prediction.prediction)):
            if label not in labels:
                problems.append(f"{where}: {name} must be one of {', '.join(labels)}, got {label!r}")
        if prediction.id in found:
            problems.append(f"{where}: id must be unique, got the duplicate utterance {prediction.id!r}")
        found[prediction.id] = prediction
    raise_problems(problems)
    return list(found.values())


def _read_json(path: Path, kind: type[T]) -> T:
    try:
        return TypeAdapter(kind).validate_json(read_text(path))
    except ValidationError as error:
        raise RecipeError(f"{path}: {sentences_of(error)[0]}") from None
