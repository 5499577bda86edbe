"""From the results of an experiment to a model that can be used: one folder, with its card."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..config import Experiment
from ..corpora.manifest import Manifest, read_manifest
from ..encoders.pretrained import load_backbone
from ..models.frame_classifier import frame_classifier
from ..models.speech_classifier import SpeechClassifier
from ..reports.results import Plan, read_run
from ..training.folds import make_folds
from ..training.run_record import MODEL_FILE, RunRecord, run_folder
from ..utils.atomic_files import atomic_path
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
    """Write the model of one run of an experiment as a folder that Hugging Face's libraries load.

    Args:
        root: The experiment's results; its models must have been kept (``training.keep_models``).
        model: Its name in the experiment.
        out: The folder, which must not be there yet. It appears whole or not at all.
        fold: Whom the model was tested on, and not trained on. Default: the first.
        seed: Of the run. Default: the first.
        holds_backbone: Whether the encoder's weights go into the folder. Without them the folder is small and names the
            encoder, which must not have learned.
        half: Whether the weights are stored in 16 bits.
    Raises:
        RecipeError: If there is no such run, its model was not kept, or ``out`` is there already.
    """
    plan = Plan.read(root)
    experiment = plan.experiment
    fold, seed = fold or plan.folds[0], plan.seeds[0] if seed is None else seed
    _check("model", model, [each.name for each in experiment.models])
    _check("fold", fold, plan.folds)
    _check("seed", seed, plan.seeds)
    if out.exists():
        raise RecipeError(f"--out {out} is there already: name a folder that is not")
    if not holds_backbone and experiment.setting == "finetune":
        raise RecipeError("the encoder learned with the model: it has to go into the folder")
    folder = run_folder(root, model, seed, fold)
    if not (folder / MODEL_FILE).is_file():
        raise RecipeError(
            f"there is no {folder / MODEL_FILE}: run the experiment again with --keep-models, "
            "which trains what is missing"
        )
    manifest = read_manifest(root / "manifest.jsonl", plan.labels)
    record = read_run(folder, plan).record
    whole = _put_together(experiment, manifest, folder, model, _provenance(root, plan, manifest, record))
    if not holds_backbone:
        whole.config.backbone["name"] = _from_folder(experiment.backbone.name, out)
    elif Path(experiment.backbone.name).is_absolute():
        whole.config.backbone["name"] = Path(experiment.backbone.name).name  # where it lay is nobody's business
    with atomic_path(out) as temporary, quiet_loading():
        whole.save_pretrained(temporary, holds_backbone=holds_backbone, half=half)


def _put_together(
    experiment: Experiment, manifest: Manifest, folder: Path, model: str, provenance: dict[str, Any]
) -> SpeechClassifier:
    settings = experiment.features
    backbone = load_backbone(experiment.backbone, settings.clip_seconds, settings.average)
    made_of = next(each for each in experiment.models if each.name == model)
    classifier = frame_classifier(made_of, backbone.shape, manifest.labels, experiment.spec_augment)
    whole = SpeechClassifier.of(backbone, classifier, experiment.backbone, settings.clip_seconds, provenance)
    learned = whole if experiment.setting == "finetune" else classifier
    try:
        learned.load_state_dict(load_file(folder / MODEL_FILE))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise RecipeError(f"{folder / MODEL_FILE} is not the model of this experiment: {reason_of(error)}") from None
    whole.eval()  # type: ignore[no-untyped-call]
    return whole


def _provenance(root: Path, plan: Plan, manifest: Manifest, record: RunRecord) -> dict[str, Any]:
    """What the card says of a run: plain data, as it stands in the model's ``config.json``."""
    experiment = plan.experiment
    parts = next(fold for fold in make_folds(manifest, experiment.protocol.kind) if fold.name == record.fold)
    chosen = record.epochs[record.chosen.ua - 1]
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
        "all_folds": _all_folds(root, record.model),
        "chance": 1 / len(plan.labels),
        "corpus": {
            "name": _corpus_name(experiment),
            "note": experiment.corpus.note,
            "utterances": len(manifest.utterances),
            "speakers": len(manifest.count("speaker")),
            "minutes": round(manifest.minutes, 1),
            "classes": {label: manifest.count("label")[label] for label in manifest.labels},
        },
        "versions": {name: version(name) for name in ("temporal-shift", "torch", "transformers")},
    }


def _corpus_name(experiment: Experiment) -> str:
    """Of its folder or manifest, unless that says nothing."""
    name = experiment.corpus.path.stem
    return experiment.name if name in ("", "corpus", "manifest") else name


def _all_folds(root: Path, model: str) -> dict[str, Any] | None:
    """WA and UA over the whole experiment, as it was reported; none where it was not."""
    try:
        metrics = json.loads((root / "metrics.json").read_text(encoding="utf-8"))
        found = next(each for each in metrics["models"] if each["name"] == model)
        figures = {key: {part: found[key][part] for part in ("mean", "interval")} for key in ("wa", "ua")}
        return {"folds": len(metrics["folds"]), **figures}
    except (OSError, ValueError, KeyError, StopIteration):
        return None


def _from_folder(backbone: str, out: Path) -> str:
    """A hub name as it is; a folder as it is found from the model's, so that the two can move together."""
    if not Path(backbone).is_dir():
        return backbone
    return os.path.relpath(Path(backbone).resolve(), out.resolve())


def _check(option: str, value: object, known: Any) -> None:
    if value not in known:
        raise RecipeError(f"there is no {option} {value!r} in the experiment: it can be {', '.join(map(str, known))}")
