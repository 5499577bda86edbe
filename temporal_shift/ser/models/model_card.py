"""The model card: training data, evaluation, intended use and limits of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..config import Shift
from ..utils.markdown import escape_markdown, one_line
from ..utils.table import Table, interval, percent
from ..utils.wording import PROTOCOLS, counted
from .speech_classifier_config import SpeechClassifierConfig

UNKNOWN = "not known: the model was saved by hand"


def model_card(config: SpeechClassifierConfig, labels: Sequence[str]) -> ModelCard:
    """The card of a model, filled in from the ``provenance`` in its configuration.

    :mod:`temporal_shift.ser.experiments.package_run` writes the ``provenance``. Without it, fields are marked unknown.
    """
    provenance = config.provenance
    backbone = config.backbone.get("name", "an encoder")
    backbone = backbone if is_hub_name(backbone) else Path(backbone).name
    with as_file(files(__package__) / "templates" / "card.md.jinja") as template:
        card: ModelCard = ModelCard.from_template(
            _data(provenance, backbone),
            template_path=str(template),
            title=escape_markdown(provenance.get("model", "A speech emotion classifier")),
            summary=escape_markdown(_summary(config, provenance, backbone)),
            corpus=escape_markdown(f"its corpus, {provenance['corpus']['name']}," if provenance else "its corpus"),
            labels=escape_markdown(", ".join(labels)),
            window=f"{config.clip_seconds:g}",
            training=_bullets(_training(provenance, backbone, labels)),
            protocol=escape_markdown(_protocol(provenance)),
            table=f"\n{_table(provenance).markdown()}\n" if provenance else "",
            caveats=_bullets(_caveats(provenance)),
        )
    return card


def _data(provenance: dict[str, Any], backbone: str) -> ModelCardData:
    results = []
    if provenance:
        results = [
            EvalResult(
                task_type="audio-classification",
                dataset_type="other",
                dataset_name=one_line(f"{provenance['corpus']['name']}, {provenance['fold']} held out"),
                metric_type=kind,
                metric_name=name,
                metric_value=round(provenance["test"][key], 4),
            )
            for kind, name, key in (("accuracy", "WA", "wa"), ("recall", "UA", "ua"))
        ]
    return ModelCardData(
        library_name="temporal-shift",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "temporal-shift"],
        base_model=backbone if is_hub_name(backbone) else None,
        model_name=one_line(provenance["model"]) if results else None,
        eval_results=results or None,
    )


def is_hub_name(backbone: str) -> bool:
    return re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", backbone, re.ASCII) is not None


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape_markdown(sentence)}" for sentence in sentences)


def _summary(config: SpeechClassifierConfig, provenance: dict[str, Any], backbone: str) -> str:
    fields = config.classifier_config.get("shift")
    blocks = config.classifier_config.get("blocks", "transformer")
    moved = "without a temporal shift"
    if fields is not None:
        shift = Shift.model_validate(fields)
        ways = "both ways" if shift.bidirectional else "one way"
        moved = f"with a temporal shift ({shift.placement}, n_div {shift.n_div}, {ways}, stride {shift.stride})"
    learned = {"finetune": " (fine-tuned)", "features": " (frozen)"}.get(provenance.get("setting", ""), "")
    return f"Emotion classes from a waveform at 16 kHz: {blocks} blocks {moved} on the frames of {backbone}{learned}."


def _training(provenance: dict[str, Any], backbone: str, labels: Sequence[str]) -> list[str]:
    if not provenance:
        return [f"Corpus, protocol and metrics are {UNKNOWN}."]
    corpus = provenance["corpus"]
    learned = "fine-tuned except for its convolutions" if provenance["setting"] == "finetune" else "frozen"
    return [
        f"Corpus: {corpus['name']}, {corpus['utterances']} utterances of "
        f"{counted(corpus['speakers'], 'speaker')}, {corpus['minutes']:g} minutes; "
        + ", ".join(f"{label} {corpus['classes'][label]}" for label in labels),
        f"Trained on {provenance['trained_on']} of them; {provenance['validated_on'] or 'none'} chose the epoch, "
        f"{provenance['test']['utterances']} were tested; no speaker is in two of the parts.",
        f"Encoder: {backbone}, {learned}.",
        f"{provenance['epochs']} epochs, of which number {provenance['epoch']} was kept; seed {provenance['seed']}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(provenance["versions"].items())) + ".",
    ]


def _protocol(provenance: dict[str, Any]) -> str:
    if not provenance:
        return f"Its protocol and its metrics are {UNKNOWN}."
    return (
        f"This model was tested on {provenance['fold']}, which it was not trained on. "
        + PROTOCOLS[provenance["protocol"]]
    )


def _table(provenance: dict[str, Any]) -> Table:
    test, folds = provenance["test"], provenance["all_folds"]
    rows: list[tuple[str, ...]] = [(f"this model, on {provenance['fold']}", percent(test["wa"]), percent(test["ua"]))]
    if folds is not None:
        rows.append(
            (
                f"all {folds['folds']} folds of the experiment",
                *(f"{percent(folds[key]['mean'])} {interval(folds[key]['interval'])}" for key in ("wa", "ua")),
            )
        )
    rows.append(("chance", *[percent(provenance["chance"])] * 2))
    return Table(("", "WA, %", "UA, %"), rows)


def _caveats(provenance: dict[str, Any]) -> list[str]:
    if not provenance:
        return []
    caveats = [
        "WA is the accuracy, UA the mean of the classes' recalls; in brackets, 95 % intervals over folds and speakers."
    ]
    if provenance["protocol"] == "paper":
        caveats.append("The tested utterances chose the epoch: these figures are optimistic.")
    if provenance["corpus"]["note"]:
        caveats.append(provenance["corpus"]["note"])
    return caveats
