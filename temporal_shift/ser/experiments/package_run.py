"""Package the model of a run: one folder with its model card."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import Experiment, Model
from ..corpora.manifest import Manifest, read_manifest
from ..encoders.feature_cache import feature_inputs, key_of
from ..encoders.pretrained import load_backbone
from ..models.frame_classifier import frame_classifier
from ..models.speech_classifier import SpeechClassifier
from ..reports.calibration import Calibration, ValidationParts, run_calibration
from ..reports.results import Results, model_summary, read_results
from ..reports.run_files import Plan, read_run, train_again
from ..training.folds import Fold
from ..training.run_record import MODEL_FILE, RunRecord, run_folder
from ..utils.atomic_files import atomic_path, file_sha256
from ..utils.errors import RecipeError, reason_of
from ..utils.hugging_face import quiet_loading


def package(
    root: Path,
    model: str,
    out: Path,
    *,
    fold: str | None = None,
    seed: int | None = None,
    holds_backbone: bool = True,
    half: bool = False,
) -> None:
    """Write the model of one run of an experiment to a folder that Hugging Face's libraries can load.

    If the run has validation logits, a temperature is fitted on them. If it lowers the log loss on the test part, the
    parameters of the last layer are divided by it.

    Args:
        root: The results folder of an experiment with ``training.keep_models``.
        model: The model's name in the experiment.
        out: The folder to write, atomically. It must not exist.
        fold: The fold that tests the model. Default: ``None``, the first.
        seed: The seed of the run. Default: ``None``, the first.
        holds_backbone: Whether to store the encoder's weights. Without them, the folder is small and refers to the
            encoder by name; this needs a frozen encoder. Default: ``True``.
        half: Whether to store the weights in 16 bits. Default: ``False``.
    Raises:
        RecipeError: If ``root`` is not a results folder, ``model``, ``fold`` or ``seed`` is unknown, the run is
            missing, damaged or did not keep its model, a frozen encoder or ``manifest.jsonl`` changed after the
            training, the encoder cannot be loaded, ``out`` exists, or ``holds_backbone`` is false for a fine-tuned
            encoder. Changed audio files are not detected.
    """
    plan = Plan.read(root)
    experiment = plan.experiment
    fold, seed = fold or plan.folds[0], plan.seeds[0] if seed is None else seed
    settings = model_named(model, experiment)
    check_choice("fold", fold, plan.folds)
    check_choice("seed", seed, plan.seeds)
    check_package(experiment, out, holds_backbone=holds_backbone)
    folder = run_folder(root, model, seed, fold)
    if not (folder / MODEL_FILE).is_file():
        raise RecipeError(f"{folder / MODEL_FILE} does not exist: run the experiment again with --keep-models")
    manifest = read_manifest(root / "manifest.jsonl", plan.labels)
    run = read_run(folder, plan)
    record = run.record
    if MODEL_FILE in record.files and file_sha256(folder / MODEL_FILE) != record.files[MODEL_FILE]:
        raise RecipeError(f"{folder / MODEL_FILE} was changed or damaged after the training: {train_again(folder)}")
    if experiment.setting == "features":
        _check_features(root, experiment, manifest, record)
    validation = ValidationParts(root, plan)
    facts = _facts_of_run(root, plan, manifest, record, validation.fold_of(run))
    calibration = run_calibration(validation, run)
    whole = trained_model(experiment, manifest, settings, folder / MODEL_FILE, facts, calibration)
    save_package(whole, experiment, out, holds_backbone=holds_backbone, half=half)


def model_named(name: str, experiment: Experiment) -> Model:
    """The model of that name in an experiment; raises :class:`RecipeError` if there is none."""
    check_choice("model", name, [model.name for model in experiment.models])
    return next(model for model in experiment.models if model.name == name)


def check_choice(name: str, value: object, allowed: Collection[object]) -> None:
    """Raise a :class:`RecipeError` unless the value is allowed."""
    if value not in allowed:
        raise RecipeError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")


def check_package(experiment: Experiment, out: Path, *, holds_backbone: bool) -> None:
    """Check the arguments of :func:`save_package` before a long training.

    Raises:
        RecipeError: If ``out`` exists, or ``holds_backbone`` is false for a fine-tuned encoder.
    """
    if out.exists():
        raise RecipeError(f"--out must be a folder that does not exist, got {out}")
    if not holds_backbone and experiment.setting == "finetune":
        raise RecipeError(
            "--without-backbone requires a frozen encoder, got a fine-tuned one, which must be stored with the model"
        )


def save_package(
    whole: SpeechClassifier, experiment: Experiment, out: Path, *, holds_backbone: bool, half: bool
) -> None:
    """Write a model and its card to the folder ``out``, atomically. See :func:`package` for the options.

    Can change the name of a local encoder in ``whole.config``.
    """
    encoder = Path(experiment.backbone.name)
    if holds_backbone and encoder.is_absolute():
        whole.config.backbone["name"] = encoder.name  # local paths are private
    elif not holds_backbone and encoder.is_dir():  # a relative path, so both folders can move together
        whole.config.backbone["name"] = os.path.relpath(encoder.resolve(), out.resolve())
    with atomic_path(out) as temporary, quiet_loading():
        whole.save_pretrained(temporary, holds_backbone=holds_backbone, half=half)


def _check_features(root: Path, experiment: Experiment, manifest: Manifest, record: RunRecord) -> None:
    """Raise a :class:`RecipeError` if the encoder, or an id or hash in ``manifest.jsonl``, changed after the training.

    The audio files are not read.
    """
    manifest = replace(manifest, channel=experiment.corpus.channel)  # manifest.jsonl does not contain it
    key = key_of(feature_inputs(manifest, experiment.backbone, experiment.features, audio_is_verified=True))
    if record.inputs.get("features", key) != key:
        raise RecipeError(
            f"the backbone {experiment.backbone.name} must be the one that the run was trained with, but its files or "
            f"{root / 'manifest.jsonl'} changed: restore them, or run the experiment again with --overwrite"
        )


def trained_model(
    experiment: Experiment,
    manifest: Manifest,
    model: Model,
    weights: Path,
    provenance: dict[str, Any],
    calibration: Calibration | None,
) -> SpeechClassifier:
    """A model of an experiment with its weights, its temperature and its provenance.

    The parameters of the last layer are divided by the temperature, so the model's logits are scaled.

    Args:
        experiment: The experiment.
        manifest: Its corpus.
        model: The settings of the model.
        weights: The safetensors file of the trained weights.
        provenance: The facts of the training for the model card.
        calibration: Its ``applied_temperature`` is used. ``None``: the model is not scaled.
    Raises:
        RecipeError: If the encoder cannot be loaded, or ``weights`` cannot be read or does not fit the model.
    """
    applied = 1.0 if calibration is None else calibration.applied_temperature
    figures = None if calibration is None else {**asdict(calibration), "temperature": applied}
    provenance = {**provenance, "calibration": figures}
    settings = experiment.features
    backbone = load_backbone(experiment.backbone, settings.clip_seconds, settings.average)
    classifier = frame_classifier(model, backbone.shape, manifest.labels, experiment.spec_augment)
    whole = SpeechClassifier.of(backbone, classifier, experiment.backbone, settings.clip_seconds, provenance)
    learned = whole if experiment.setting == "finetune" else classifier
    try:
        trained = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise RecipeError(f"{weights} cannot be read: {reason_of(error)}") from None
    try:
        learned.load_state_dict(trained)
    except RuntimeError as error:
        raise RecipeError(f"{weights} must have the weights of the model {model.name}: {reason_of(error)}") from None
    with torch.no_grad():
        for parameter in classifier.head.parameters():
            parameter.div_(applied)
    whole.eval()
    return whole


def _facts_of_run(root: Path, plan: Plan, manifest: Manifest, record: RunRecord, parts: Fold) -> dict[str, Any]:
    """The facts of a run that the model card states."""
    chosen = record.epochs[record.chosen.ua - 1]
    return {
        **common_facts(plan, manifest, record.model),
        "fold": record.fold,
        "seed": record.seed,
        "epochs": len(record.epochs),
        "epoch": record.chosen.ua,
        "trained_on": len(parts.train),
        "validated_on": len(parts.validation),
        "test": {"utterances": len(parts.test), "wa": chosen.test.wa, "ua": chosen.test.ua},
        "all_folds": _all_folds(root, plan, record.model),
    }


def common_facts(plan: Plan, manifest: Manifest, model: str) -> dict[str, Any]:
    """The facts of an experiment for the model card, as JSON data for the model's ``config.json``."""
    experiment = plan.experiment
    corpus = experiment.corpus.path.stem
    return {
        "experiment": experiment.name,
        "model": model,
        "setting": experiment.setting,
        "protocol": experiment.protocol.kind,
        "chance": 1 / len(plan.labels),
        "corpus": {
            "name": experiment.name if corpus in ("", "corpus", "manifest") else corpus,
            "note": experiment.corpus.note,
            "utterances": len(manifest.utterances),
            "speakers": len(manifest.count("speaker")),
            "minutes": round(manifest.minutes, 1),
            "classes": {label: manifest.count("label")[label] for label in manifest.labels},
        },
        "versions": {name: version(name) for name in ("temporal-shift", "torch", "transformers")},
    }


def _all_folds(root: Path, plan: Plan, model: str) -> dict[str, Any] | None:
    """WA and UA of a model over all folds and seeds; ``None`` if a run of the experiment is not finished."""
    folders = [
        run_folder(root, each.name, seed, fold)
        for each in plan.experiment.models
        for seed in plan.seeds
        for fold in plan.folds
    ]
    if not all((folder / "run.json").is_file() for folder in folders):
        return None
    return cross_validated(read_results(root), model)  # not metrics.json, which can belong to other runs


def cross_validated(results: Results, model: str) -> dict[str, Any]:
    """WA and UA of a model over all folds and seeds, with their intervals, and the numbers of folds and seeds."""
    found = model_summary(results, model)
    figures = {key: {part: found[key][part] for part in ("mean", "interval")} for key in ("wa", "ua")}
    return {"folds": len(results.plan.folds), "seeds": len(results.plan.seeds), **figures}
