"""The model card: training data, evaluation, intended use and limits of a model."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..config import Shift
from ..utils.table import Table, interval, percent
from ..utils.wording import PROTOCOLS, counted
from .speech_classifier_config import SpeechClassifierConfig

UNKNOWN = "not known: the model was saved by hand"


def model_card(config: SpeechClassifierConfig, labels: Sequence[str]) -> ModelCard:
    """The card of a model, filled in from the ``provenance`` in its configuration.

    :mod:`temporal_shift.ser.experiments.package_run` writes the ``provenance``. Without it, the card says so.
    """
    told = config.provenance
    backbone = config.backbone.get("name", "an encoder")
    backbone = backbone if is_hub_name(backbone) else Path(backbone).name
    with as_file(files(__package__) / "templates" / "card.md.jinja") as template:
        card: ModelCard = ModelCard.from_template(
            _data(told, backbone),
            template_path=str(template),
            title=told.get("model", "A speech emotion classifier"),
            summary=_summary(config, told, backbone),
            corpus=f"its corpus, {told['corpus']['name']}," if told else "its corpus",
            labels=", ".join(labels),
            window=f"{config.clip_seconds:g}",
            training=_bullets(_training(told, backbone, labels)),
            protocol=_protocol(told),
            table=f"\n{_table(told).markdown()}\n" if told else "",
            caveats=_bullets(_caveats(told)),
        )
    return card


def _data(told: dict[str, Any], backbone: str) -> ModelCardData:
    results = []
    if told:
        results = [
            EvalResult(
                task_type="audio-classification",
                dataset_type="other",
                dataset_name=f"{told['corpus']['name']}, {told['fold']} held out",
                metric_type=kind,
                metric_name=name,
                metric_value=round(told["test"][key], 4),
            )
            for kind, name, key in (("accuracy", "WA", "wa"), ("recall", "UA", "ua"))
        ]
    return ModelCardData(
        library_name="temporal-shift",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "temporal-shift"],
        base_model=backbone if is_hub_name(backbone) else None,
        model_name=told.get("model") if results else None,
        eval_results=results or None,
    )


def is_hub_name(backbone: str) -> bool:
    return backbone.count("/") == 1 and not backbone.startswith((".", "/"))


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _summary(config: SpeechClassifierConfig, told: dict[str, Any], backbone: str) -> str:
    told_shift = config.classifier_config.get("shift")
    blocks = config.classifier_config.get("blocks", "transformer")
    moved = "without a temporal shift"
    if told_shift is not None:
        shift = Shift.model_validate(told_shift)
        ways = "both ways" if shift.bidirectional else "one way"
        moved = f"with a temporal shift ({shift.placement}, n_div {shift.n_div}, {ways}, stride {shift.stride})"
    learned = "fine-tuned" if told.get("setting") == "finetune" else "frozen"
    return (
        f"Emotion classes from a waveform at 16 kHz: {blocks} blocks {moved} on the frames of {backbone} ({learned})."
    )


def _training(told: dict[str, Any], backbone: str, labels: Sequence[str]) -> list[str]:
    if not told:
        return [f"Corpus, protocol and metrics are {UNKNOWN}."]
    corpus = told["corpus"]
    return [
        f"Corpus: {corpus['name']}, {corpus['utterances']} utterances of "
        f"{counted(corpus['speakers'], 'speaker')}, {corpus['minutes']:g} minutes; "
        + ", ".join(f"{label} {corpus['classes'][label]}" for label in labels),
        f"Trained on {told['trained_on']} of them; {told['validated_on'] or 'none'} chose the epoch, "
        f"{told['test']['utterances']} were tested; no speaker is in two of the parts.",
        f"Encoder: {backbone}, {'fine-tuned but for its convolutions' if told['setting'] == 'finetune' else 'frozen'}.",
        f"{told['epochs']} epochs, of which number {told['epoch']} was kept; seed {told['seed']}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(told["versions"].items())) + ".",
    ]


def _protocol(told: dict[str, Any]) -> str:
    if not told:
        return f"Its protocol is {UNKNOWN}. So are its metrics."
    return f"This model was tested on {told['fold']}, which it was not trained on. " + PROTOCOLS[told["protocol"]]


def _table(told: dict[str, Any]) -> Table:
    test, folds = told["test"], told["all_folds"]
    rows: list[tuple[str, ...]] = [(f"this model, on {told['fold']}", percent(test["wa"]), percent(test["ua"]))]
    if folds is not None:
        rows.append(
            (
                f"all {folds['folds']} folds of the experiment",
                *(f"{percent(folds[key]['mean'])} {interval(folds[key]['interval'])}" for key in ("wa", "ua")),
            )
        )
    rows.append(("chance", *[percent(told["chance"])] * 2))
    return Table(("", "WA, %", "UA, %"), rows)


def _caveats(told: dict[str, Any]) -> list[str]:
    if not told:
        return []
    found = [
        "WA is the accuracy, UA the mean of the classes' recalls; in brackets, 95 % intervals over folds and speakers."
    ]
    if told["protocol"] == "paper":
        found.append("The tested utterances chose the epoch: these figures are optimistic.")
    if told["corpus"]["note"]:
        found.append(told["corpus"]["note"])
    return found
