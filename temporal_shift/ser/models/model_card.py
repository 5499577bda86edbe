"""The model card: training data, evaluation, intended use and limits of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from ..config import Shift
from ..utils.markdown import escape_markdown, one_line
from ..utils.table import Table, interval, percent
from ..utils.wording import PROTOCOLS, counted
from .speech_classifier_config import SpeechClassifierConfig

UNKNOWN = "not known, because neither temporal-shift ser package nor temporal-shift ser train saved this model"


def model_card(config: SpeechClassifierConfig, labels: Sequence[str]) -> ModelCard:
    """Generate the card of a model from the ``provenance`` in its configuration.

    ``temporal-shift ser package`` and ``temporal-shift ser train`` write the ``provenance``. Without it, facts are "not
    known".

    Args:
        config: The configuration of the model.
        labels: The classes, in the order of the logits.
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
            probabilities=_bullets(_probabilities(provenance)),
            training=_bullets(_training(provenance, backbone, labels)),
            protocol=escape_markdown(_protocol(provenance)),
            table=f"\n{_table(provenance).markdown()}\n" if provenance else "",
            caveats=_bullets(_caveats(provenance)),
        )
    return card


def was_tested(provenance: Mapping[str, Any]) -> bool:
    """Whether a model was tested on unseen speakers; if not, it was trained on all, or nothing is known."""
    return "test" in provenance


def _data(provenance: dict[str, Any], backbone: str) -> ModelCardData:
    results = []
    if provenance:
        tested, scores = _scores(provenance)
        results = [
            EvalResult(
                task_type="audio-classification",
                dataset_type="other",
                dataset_name=one_line(f"{provenance['corpus']['name']}, {tested}"),
                metric_type=kind,
                metric_name=name,
                metric_value=round(scores[key], 4),
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


def _scores(provenance: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """A description of the test data, and the WA and UA on this data."""
    if was_tested(provenance):
        return f"{provenance['fold']} held out", provenance["test"]
    folds = provenance["all_folds"]
    tested = f"cross-validation over {folds['folds']} folds: models that were trained without the tested speakers"
    return tested, {key: folds[key]["mean"] for key in ("wa", "ua")}


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
        ways = "bidirectional" if shift.bidirectional else "one direction"
        moved = f"with a temporal shift ({shift.placement}, n_div {shift.n_div}, {ways}, stride {shift.stride})"
    learned = {"finetune": " (fine-tuned)", "features": " (frozen)"}.get(provenance.get("setting", ""), "")
    task = "Predicts emotion classes from a waveform at 16 kHz"
    return f"{task}: {blocks} blocks {moved} on the frames of {backbone}{learned}."


def _training(provenance: dict[str, Any], backbone: str, labels: Sequence[str]) -> list[str]:
    if not provenance:
        return [f"Corpus, protocol and metrics are {UNKNOWN}."]
    corpus = provenance["corpus"]
    learned = "fine-tuned except for its input convolutions" if provenance["setting"] == "finetune" else "frozen"
    utterances, epochs = _parts_and_epochs(provenance)
    return [
        f"Corpus: {corpus['name']}, {corpus['utterances']} utterances of "
        f"{counted(corpus['speakers'], 'speaker')}, {corpus['minutes']:g} minutes; "
        + ", ".join(f"{label} {corpus['classes'][label]}" for label in labels)
        + ".",
        utterances,
        f"Encoder: {backbone}, {learned}.",
        epochs,
        "Versions: " + ", ".join(f"{name} {version}" for name, version in sorted(provenance["versions"].items())) + ".",
    ]


def _parts_and_epochs(provenance: dict[str, Any]) -> tuple[str, str]:
    """A sentence on the utterances that were trained on, and one on the number of epochs."""
    trained, seed, epoch = (provenance[key] for key in ("trained_on", "seed", "epoch"))
    if was_tested(provenance):
        return (
            f"Utterances: {trained} for training, {provenance['validated_on'] or 'none'} to choose the epoch, "
            f"{provenance['test']['utterances']} for testing. No speaker is in two of these parts.",
            f"Trained for {counted(provenance['epochs'], 'epoch')}; the weights are from epoch {epoch}. Seed {seed}.",
        )
    return (
        f"Trained on all {trained} utterances of all {counted(provenance['corpus']['speakers'], 'speaker')}. No "
        "utterances are left to test this model.",
        f"Trained for {counted(epoch, 'epoch')}, seed {seed}. {_choice_of_epochs(provenance)}",
    )


def _choice_of_epochs(provenance: dict[str, Any]) -> str:
    """How the number of epochs was chosen, for a model without a test part."""
    if provenance["protocol"] == "last":
        return "The number of epochs was set before the experiment."
    folds, found = provenance["all_folds"], provenance["epochs_of_folds"]
    runs = counted(folds["folds"] * folds["seeds"], "run")
    return (
        f"The number of epochs is the median, rounded up, of the epochs that the {runs} of the cross-validation "
        "chose on "
        f"their validation parts ({found['lowest']} to {found['highest']}). The learning rate follows a schedule of "
        f"{provenance['epochs']} epochs."
    )


def _probabilities(provenance: dict[str, Any]) -> list[str]:
    if not provenance:
        return [f"Whether the probabilities are calibrated is {UNKNOWN}."]
    found = provenance.get("calibration")  # models of earlier versions lack the key
    if found is None:
        return [
            "The probabilities are not calibrated: a probability of 88 % does not mean that 88 % of such predictions "
            "are correct."
        ]
    if was_tested(provenance):
        fitted, measured = "the utterances that chose the epoch", f"tested speakers of {provenance['fold']}"
        after = "this model with the temperature of its validation part"
    else:
        fitted = "the validation parts of the cross-validation (not on this model)"
        measured = "held-out speakers of the cross-validation"
        after = "each run with the temperature of its own validation part"
    ece, loss, factor = found["ece"], found["log_loss"], found["temperature"]
    is_applied = factor != 1  # see Calibration.applied_temperature
    points = {key: f"{percent(value)} points" for key, value in ece.items()}
    scaling = "Temperature scaling (Guo et al., ICML 2017)"
    sentences = [
        "A probability is an estimate of the share of correct predictions among all predictions with that probability, "
        f"for speech recorded as in {provenance['corpus']['name']}, of speakers that the model was not trained on. The "
        f"average error of this estimate is the expected calibration error below: "
        f"{points['after' if is_applied else 'before']}. It was measured on single clips, not on the mean over the "
        "windows of a longer recording. For other speech, probabilities can be far too high.",
        f"{scaling} is applied, because it lowers the log loss below: the logits are divided by {factor:.2f}, which "
        f"was fitted on {fitted}. The weights of the last layer include this factor."
        if is_applied
        else f"{scaling} is not applied, because it does not lower the log loss below. The temperature is 1.",
        "Expected calibration error (mean distance between the probability of a prediction and the share of such "
        f"predictions that are correct, in 15 bins) on {counted(found['predictions'], 'prediction')} for the "
        f"{measured}: {points['before']} before, {points['after']} after. Log loss: {loss['before']:.3f} before, "
        f"{loss['after']:.3f} after. Before means without scaling; after means {after}.",
    ]
    if ece["after"] >= ece["before"]:
        sentences[-1] += " Scaling did not lower the calibration error."
    if not was_tested(provenance):
        sentences[-1] += f" {_note_on_measured_speakers(provenance)}"
    return sentences


def _note_on_measured_speakers(provenance: dict[str, Any]) -> str:
    """Sentences on the share of speakers that the runs of the cross-validation were trained on."""
    folds = provenance["all_folds"]["folds"]
    share = "a part"
    if provenance["protocol"] == "heldout":  # of the folds, one is tested and one chooses the epoch
        share = f"about {100 * (folds - 2) / folds:.0f} %"
    return f"Each of these runs was trained on {share} of the speakers. This model was trained on all speakers."


def _protocol(provenance: dict[str, Any]) -> str:
    if not provenance:
        return f"Protocol and metrics are {UNKNOWN}."
    if not was_tested(provenance):
        speakers = counted(provenance["corpus"]["speakers"], "speaker")
        return (
            f"This model itself was not tested: it was trained on all {speakers}. "
            "The results come from a cross-validation: models with the same settings, each tested on speakers "
            f"that it was not trained on. {PROTOCOLS[provenance['protocol']]}"
        )
    return (
        f"This model was tested on {provenance['fold']}, which it was not trained on. "
        + PROTOCOLS[provenance["protocol"]]
    )


def _table(provenance: dict[str, Any]) -> Table:
    folds, rows = provenance["all_folds"], list[tuple[str, ...]]()
    if was_tested(provenance):
        test = provenance["test"]
        rows.append((f"this model, on {provenance['fold']}", percent(test["wa"]), percent(test["ua"])))
    if folds is not None:
        name = f"all {folds['folds']} folds of the experiment"
        if not was_tested(provenance):
            name = f"cross-validation, {counted(folds['folds'], 'fold')}"
        if (seeds := _seeds(provenance)) > 1 or not was_tested(provenance):
            name += f", {counted(seeds, 'seed')}"
        figures = (f"{percent(folds[key]['mean'])} {interval(folds[key]['interval'])}" for key in ("wa", "ua"))
        rows.append((name, *figures))
    rows.append(("chance", *[percent(provenance["chance"])] * 2))
    return Table(("", "WA, %", "UA, %"), rows)


def _seeds(provenance: dict[str, Any]) -> int:
    """The number of seeds that the results over all folds are averaged over."""
    seeds: int = (provenance["all_folds"] or {}).get("seeds", 1)  # models of earlier versions do not record it
    return seeds


def _caveats(provenance: dict[str, Any]) -> list[str]:
    if not provenance:
        return []
    caveats = ["WA is the accuracy, UA is the mean recall over classes."]
    if provenance["all_folds"] is not None:
        over = "folds, speakers and seeds" if _seeds(provenance) > 1 else "folds and speakers"
        caveats[0] += f" The brackets contain 95 % intervals over {over}."
    if provenance["protocol"] == "paper":
        caveats.append("The test utterances chose the epoch, so these results are optimistic.")
    if provenance["corpus"]["note"]:
        caveats.append(provenance["corpus"]["note"])
    return caveats
