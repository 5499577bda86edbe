"""Package the model of a run: one folder, with its card."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import Experiment, Model
from ..corpora.manifest import Manifest, read_manifest
from ..encoders.feature_cache import feature_inputs, key_of
from ..encoders.pretrained import load_backbone
from ..models.frame_classifier import frame_classifier
from ..models.speech_classifier import SpeechClassifier
from ..reports.results import model_summary, read_results
from ..reports.run_files import Plan, read_run
from ..training.folds import make_folds
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
    """Write the model of one run of an experiment to a folder that Hugging Face's libraries load.

    Args:
        root: The results folder of an experiment with ``training.keep_models``.
        model: The model's name in the experiment.
        out: The folder to write. It must not exist. It is written atomically.
        fold: The fold that tests the model. Default: the first.
        seed: The seed of the run. Default: the first.
        holds_backbone: Whether to store the encoder's weights. Without them, the folder is small and refers to the
            encoder by name; this needs a frozen encoder.
        half: Whether to store the weights in 16 bits.
    Raises:
        RecipeError: If the run does not exist or did not keep its model, or ``out`` exists.
    """
    plan = Plan.read(root)
    experiment = plan.experiment
    fold, seed = fold or plan.folds[0], plan.seeds[0] if seed is None else seed
    models = {each.name: each for each in experiment.models}
    allowed: dict[str, tuple[object, Collection[object]]]
    allowed = {"model": (model, models.keys()), "fold": (fold, plan.folds), "seed": (seed, plan.seeds)}
    for name, (value, known) in allowed.items():
        if value not in known:
            raise RecipeError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
    if out.exists():
        raise RecipeError(f"--out must be a folder that does not exist, got {out}")
    if not holds_backbone and experiment.setting == "finetune":
        raise RecipeError("a fine-tuned encoder must be stored with the model: leave out --without-backbone")
    folder = run_folder(root, model, seed, fold)
    if not (folder / MODEL_FILE).is_file():
        raise RecipeError(f"{folder / MODEL_FILE} does not exist: run the experiment again with --keep-models")
    manifest = read_manifest(root / "manifest.jsonl", plan.labels)
    record = read_run(folder, plan).record
    if MODEL_FILE in record.files and file_sha256(folder / MODEL_FILE) != record.files[MODEL_FILE]:
        raise RecipeError(
            f"{folder / MODEL_FILE} was changed or damaged after its training: delete the run and train it again"
        )
    if experiment.setting == "features":
        _check_features(root, experiment, manifest, record)
    whole = _trained(experiment, manifest, folder, models[model], _provenance(root, plan, manifest, record))
    encoder = Path(experiment.backbone.name)
    if holds_backbone and encoder.is_absolute():
        whole.config.backbone["name"] = encoder.name  # local paths are private
    elif not holds_backbone and encoder.is_dir():  # relative, so that both folders can move together
        whole.config.backbone["name"] = os.path.relpath(encoder.resolve(), out.resolve())
    with atomic_path(out) as temporary, quiet_loading():
        whole.save_pretrained(temporary, holds_backbone=holds_backbone, half=half)


def _check_features(root: Path, experiment: Experiment, manifest: Manifest, record: RunRecord) -> None:
    """Raise a :class:`RecipeError` if the encoder gives other features than the run was trained on."""
    manifest = replace(manifest, channel=experiment.corpus.channel)  # which the file does not contain
    key = key_of(feature_inputs(manifest, experiment.backbone, experiment.features, audio_is_verified=True))
    if record.inputs.get("features", key) != key:
        raise RecipeError(
            f"the backbone {experiment.backbone.name} must be the one that the run was trained with, but its files or "
            f"{root / 'manifest.jsonl'} changed: restore them, or run the experiment again with --overwrite"
        )


def _trained(
    experiment: Experiment, manifest: Manifest, folder: Path, model: Model, provenance: dict[str, Any]
) -> SpeechClassifier:
    settings = experiment.features
    backbone = load_backbone(experiment.backbone, settings.clip_seconds, settings.average)
    classifier = frame_classifier(model, backbone.shape, manifest.labels, experiment.spec_augment)
    whole = SpeechClassifier.of(backbone, classifier, experiment.backbone, settings.clip_seconds, provenance)
    learned = whole if experiment.setting == "finetune" else classifier
    try:
        learned.load_state_dict(load_file(folder / MODEL_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RecipeError(f"{folder / MODEL_FILE} must match the experiment: {reason_of(error)}") from None
    whole.eval()  # type: ignore[no-untyped-call]
    return whole


def _provenance(root: Path, plan: Plan, manifest: Manifest, record: RunRecord) -> dict[str, Any]:
    """The facts of a run that the model card states: JSON data for the model's ``config.json``."""
    experiment = plan.experiment
    parts = next(fold for fold in make_folds(manifest, experiment.protocol.kind) if fold.name == record.fold)
    chosen = record.epochs[record.chosen.ua - 1]
    corpus = experiment.corpus.path.stem
    return {
        "experiment": experiment.name,
        "model": record.model,
        "setting": experiment.setting,
        "protocol": experiment.protocol.kind,
        "fold": record.fold,
        "seed": record.seed,
        "epochs": len(record.epochs),
        "epoch": record.chosen.ua,
        "trained_on": len(parts.train),
        "validated_on": len(parts.validation),
        "test": {"utterances": len(parts.test), "wa": chosen.test.wa, "ua": chosen.test.ua},
        "all_folds": _all_folds(root, plan, record.model),
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
    """WA and UA of the whole experiment, if all its runs are finished."""
    folders = [
        run_folder(root, each.name, seed, fold)
        for each in plan.experiment.models
        for seed in plan.seeds
        for fold in plan.folds
    ]
    if not all((folder / "run.json").is_file() for folder in folders):
        return None
    found = model_summary(read_results(root), model)  # not from metrics.json, which could be of other runs
    figures = {key: {part: found[key][part] for part in ("mean", "interval")} for key in ("wa", "ua")}
    return {"folds": len(plan.folds), **figures}
