"""The demo's HTML and plots: the texts, and a card per model with the probabilities of its classes over time."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..audio.resampling import SAMPLE_RATE
from ..utils.labels import most_likely
from ..utils.plot_style import class_colours, house_style, to_png
from ..utils.table import percent
from .recognizer import Recognizer, Samples, Window
from .remarks import remark

_DASHES = ("-", "--", "-.", ":")  # line styles, for readers who cannot tell the colours apart
_COLUMNS = 600  # maximum number of columns of the waveform's outline

INVITATION = '<div class="invitation">Choose an example, upload a recording, or record yourself.</div>'

CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
.html-container { padding: 0 !important; }
.words h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.4rem 0; }
.words h2 { font-size: 1.05rem; margin: 0.8rem 0 0.3rem; }
.words p, .words li { line-height: 1.5; margin: 0.35rem 0; max-width: 88ch; }
.words ul { margin: 0; padding-left: 1.2rem; list-style: disc; }
.words.small { font-size: 0.92rem; }
#microphone button[aria-label="Clear"] { display: none; }
#microphone select { width: auto; max-width: 100%; padding: 0 8px; }
#microphone div:has(> select) { flex-wrap: wrap; }
.invitation, .message { padding: 1.6rem 1rem; border-radius: 10px; text-align: center; line-height: 1.5;
  overflow-wrap: anywhere; color: var(--body-text-color); }
.invitation { border: 1px dashed var(--border-color-primary); }
.message { border: 1px solid #D55E00; }
.cards { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); }
.card { min-width: 0; max-width: 620px; padding: 16px 20px 14px; border: 1px solid var(--border-color-primary);
  border-radius: 10px; }
.card h2 { margin: 0; font-size: 1rem; font-weight: 600; opacity: 0.75; }
.card .label { margin: 0 0 0.6rem; font-size: 1.9rem; font-weight: 650; line-height: 1.25; }
.card .remark { margin: 0 0 0.6rem; font-weight: 600; color: #B24A00; }
.dark .card .remark { color: #F0A060; }
.card .shares { margin: 0 0 0.9rem; padding: 0; list-style: none; }
.card .shares li { display: grid; grid-template-columns: minmax(4.2rem, max-content) 1fr 3rem; gap: 12px;
  align-items: center; margin: 0; line-height: 1.75; }
.card .bar { height: 8px; border-radius: 4px; background: var(--border-color-primary); overflow: hidden; }
.card .bar i { display: block; height: 100%; }
.card .share { text-align: right; font-variant-numeric: tabular-nums; }
.card img { display: block; width: 100%; height: auto; margin: 0; border-radius: 6px; background: white; }
.card .figures { margin: 0.6rem 0 0; font-size: 0.85rem; opacity: 0.75; }
@media (max-width: 640px) {
  .main { padding: 12px 14px !important; }
  .words h1 { font-size: 1.4rem; }
  .card { padding: 12px 12px 10px; }
}
"""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's prediction for a whole recording, and for windows of it."""

    name: str  # the model's name on the page
    labels: tuple[str, ...]  # the classes
    probabilities: tuple[float, ...]  # one per class, for the whole recording
    level: float  # dBFS of the loudest 25 ms
    course: tuple[Window, ...]  # windows that end at points of the recording
    window: float  # seconds that a window covers at most
    duration: float  # seconds of sound
    latency: float  # seconds of computation for the whole recording

    @property
    def label(self) -> str:
        return most_likely(self.labels, self.probabilities)

    @property
    def remark(self) -> str:
        return remark(self.labels, self.probabilities, self.level)

    @property
    def words(self) -> str:
        """The probabilities of the whole recording as text."""
        shares = zip(self.labels, self.probabilities, strict=True)
        return ", ".join(f"{label} {100 * share:.0f} %" for label, share in shares)


def course_figure(prediction: Prediction, wave: Samples) -> Figure:
    """Plot the probabilities over time below the waveform, on one time axis."""
    with house_style():
        figure = Figure(figsize=(3.9, 3.0), layout="constrained")
        sound, classes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
        _draw_wave(sound, wave)
        _draw_course(classes, prediction)
        classes.set_xlim(0, prediction.duration)
        handles, labels = classes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(labels)), columnspacing=1.4)
    return figure


def introduction(names: list[str]) -> str:
    """The purpose of the page, as HTML."""
    name, *baselines = (html.escape(each) for each in names)
    beside = f" and {baselines[0]}" if baselines else ""
    models = "both models predict" if baselines else "the model predicts"
    return (
        f"<h1>{name}{beside}</h1><p>Which emotion does a recording sound like? Compare your answer with what {models}. "
        "The sound stays on the machine that serves this page, and is deleted.</p>"
    )


def cards(found: list[Prediction], wave: Samples) -> str:
    """The models' predictions side by side, as HTML."""
    return f'<div class="cards">{"".join(_card(prediction, wave) for prediction in found)}</div>'


def message(text: str) -> str:
    """A message instead of a prediction, as HTML."""
    return f'<div class="message" role="alert">{html.escape(text[:1].upper() + text[1:])}.</div>'


def caveats(models: list[tuple[str, Recognizer]]) -> str:
    """What a label means, and the test results of each model, as HTML."""
    provenances = [(html.escape(name), recognizer.model.config.provenance) for name, recognizer in models]
    notes = dict.fromkeys(note for _, of in provenances if (note := of.get("corpus", {}).get("note")))
    said = "".join(f"<li>{_caveat(name, of)}</li>" for name, of in provenances)
    return (
        "<h2>What a label means</h2>"
        "<p>A label is the class that the recording sounds most like, among the classes of the training data. It is "
        "not what the speaker feels or means. There is no class for anything else. A percentage does not tell how "
        "often the model is correct on other voices.</p>"
        f"<ul>{said}</ul>{''.join(f'<p>{html.escape(note)}</p>' for note in notes)}"
    )


def _card(prediction: Prediction, wave: Samples) -> str:
    name = html.escape(prediction.name)
    labels = prediction.labels
    rows = "".join(
        f'<li><span class="name">{html.escape(label)}</span>'
        f'<span class="bar"><i style="width: {100 * share:.1f}%; background: {colour}"></i></span>'
        f'<span class="share">{100 * share:.0f} %</span></li>'
        for label, share, colour in zip(labels, prediction.probabilities, class_colours(labels), strict=True)
    )
    picture = base64.b64encode(to_png(course_figure(prediction, wave))).decode()
    words = html.escape(prediction.words)
    beside = f'<p class="remark">{html.escape(prediction.remark)}</p>' if prediction.remark else ""
    alt = f"{name}: waveform and probability of each class over time; for the whole recording: {words}"
    return (
        f'<section class="card" aria-label="{name}"><h2>{name}</h2>'
        f'<p class="label">{html.escape(prediction.label)}</p>{beside}<ul class="shares">{rows}</ul>'
        f'<img alt="{alt}" src="data:image/png;base64,{picture}">'
        f'<p class="figures">{prediction.duration:.2f} s of sound, predicted in {1000 * prediction.latency:.0f} ms: '
        f"real-time factor {prediction.latency / prediction.duration:.3f}</p></section>"
    )


def _caveat(name: str, provenance: dict[str, Any]) -> str:
    if {"corpus", "fold", "test", "chance"} <= provenance.keys():
        scores = provenance["test"]
        who = f"On {html.escape(provenance['fold'])}, which is not in its training data, it is"
    elif {"corpus", "all_folds", "chance"} <= provenance.keys():  # trained on all speakers
        scores = {key: provenance["all_folds"][key]["mean"] for key in ("wa", "ua")}
        who = "It was not tested itself. In a cross-validation, models with the same settings are"
    else:
        return f"The training data of <b>{name}</b> are not known."
    wa, ua, chance = (percent(share) for share in (scores["wa"], scores["ua"], provenance["chance"]))
    return (
        f"<b>{name}</b> was trained on {html.escape(provenance['corpus']['name'])}. {who} correct for "
        f"{wa} % of the recordings (WA) and for {ua} % on average over the classes (UA). Chance is {chance} %."
    )


def _draw_wave(axes: Axes, wave: Samples) -> None:
    """Draw the minimum and maximum of each of many short pieces."""
    pieces = np.array_split(wave, min(_COLUMNS, len(wave)))
    ends = np.cumsum([len(piece) for piece in pieces]) / SAMPLE_RATE
    low, high = (np.array([extreme(piece) for piece in pieces]) for extreme in (np.min, np.max))
    axes.fill_between(ends, low, high, color="#9A9A9A", linewidth=0.4)
    most = max(1e-3, float(np.abs(wave).max()))
    axes.set_ylim(-most, most)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)


def _draw_course(axes: Axes, prediction: Prediction) -> None:
    times = [window.end for window in prediction.course]
    colours = class_colours(prediction.labels)
    for number, (label, colour) in enumerate(zip(prediction.labels, colours, strict=True)):
        shares = [window.probabilities[number] for window in prediction.course]
        dashes = _DASHES[number % len(_DASHES)]
        axes.plot(times, shares, color=colour, linestyle=dashes, linewidth=1.8, label=label)
        axes.plot(times[-1:], shares[-1:], "o", color=colour, markersize=4, clip_on=False)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(axis="y")
    axes.set_xlabel(f"time, s; each point covers up to {prediction.window:g} s before it")
