"""The demo's page: predicts the emotion of a recording with a model and, optionally, its baseline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.channels import Downmix
from ..audio.reading import read_blocks
from ..audio.resampling import SAMPLE_RATE
from ..config import Channel
from ..corpora.readers.iemocap import read_iemocap
from ..utils.errors import RecipeError
from .demo_gate import KEPT
from .demo_views import INVITATION, Prediction, cards, caveats, introduction, message
from .recognizer import Recognizer, Samples, check_finite, check_length, mean_probabilities
from .remarks import level_of

MAX_SECONDS = 300.0  # maximum seconds of a recording
_POINTS = 24  # maximum number of points of a curve over time
_BATCH = 8  # maximum number of windows in a forward pass
_MIN_HOP = 0.1  # minimum seconds between two points
_HEIGHT = 150  # pixels of the upload area


@dataclass(frozen=True, slots=True)
class Example:
    """An example recording of the page."""

    path: Path
    label: str


def quickstart_examples(corpus: Path) -> list[Example]:
    """One recording per class and speaker of ``Session1`` in the folder of the quickstart's corpus, which is synthetic.

    Raises:
        RecipeError: If the corpus cannot be read.
    """
    found: dict[tuple[str, str], Example] = {}
    for utterance in read_iemocap(corpus).utterances:
        if utterance.session == "Session1":
            speaker = "woman" if utterance.speaker.endswith("F") else "man"
            example = Example(corpus / utterance.path, f"{utterance.label}, {speaker}")
            found.setdefault((utterance.label, speaker), example)
    return [found[key] for key in sorted(found)]


def answer_to(
    models: list[tuple[str, Recognizer]], path: Path, name: str, channel: Channel = "mean"
) -> tuple[str, Samples | None]:
    """Predict a recording.

    Args:
        models: The models and their names on the page.
        path: The audio file.
        name: The name of the recording in messages.
        channel: The channel of a file that has several. Default: ``"mean"``, their mean.

    Returns:
        The predictions of each model or an error message, as HTML; and the samples, or ``None`` after an error.
    """
    mix = Downmix(channel)
    try:
        wave = _wave(path, mix)
        check_length(len(wave), "the recording")
        shown = cards([predict(each, recognizer, wave) for each, recognizer in models], wave)
        warning = mix.warning(name)
        return (shown if warning is None else message(warning) + shown), wave
    except RecipeError as error:
        return message(str(error).replace(str(path), name)), None
    except MemoryError:
        return message("there is not enough memory for the recording"), None


def predict(name: str, recognizer: Recognizer, wave: Samples) -> Prediction:
    """The prediction of one model for a whole recording, and for windows that end at up to 24 points of it.

    Raises:
        RecipeError: If the model computes probabilities that are not finite.
    """
    begun = time.perf_counter()
    windows = list(recognizer.windows([wave]))
    latency = time.perf_counter() - begun
    points = min(_POINTS, max(1, len(wave) // round(_MIN_HOP * SAMPLE_RATE)))
    course = tuple(recognizer.latest([wave], len(wave) // points / SAMPLE_RATE, batch=_BATCH))
    duration, whole, level = len(wave) / SAMPLE_RATE, mean_probabilities(windows), level_of(wave)
    check_finite(whole, "the recording")
    return Prediction(name, recognizer.labels, whole, level, course, recognizer.window, duration, latency)


def page_of(
    gradio: Any, models: list[tuple[str, Recognizer]], examples: list[Example], channel: Channel = "mean"
) -> Any:
    """The page as Gradio blocks. Two events take a file; with examples, a third event takes the number of an example.

    ``channel`` selects the channel of uploads and of microphone recordings; examples use the mean of their channels.
    """

    def answer_to_file(path: str | Path | None, name: str = "", chosen: Channel = channel) -> tuple[Any, ...]:
        if path is None:
            return gradio.skip(), gradio.skip(), None, None
        name = name or Path(path).name
        said, wave = answer_to(models, Path(path), name, chosen)
        if wave is None:
            return said, gradio.Audio(value=None, visible=False), None, None
        sound = (SAMPLE_RATE, (wave.clip(-1, 1) * 32767).astype(np.int16))
        return said, gradio.Audio(value=sound, label=name, visible=True), None, None

    def answer_to_example(number: int) -> tuple[Any, ...]:
        return answer_to_file(examples[number].path, examples[number].label, "mean")

    with gradio.Blocks(title="Temporal shift", analytics_enabled=False, delete_cache=(60, KEPT)) as page:
        gradio.HTML(introduction([name for name, _ in models]), elem_classes="words")
        with gradio.Row(equal_height=True):
            # read the file before the player gets it, because browsers log errors for broken files
            upload = gradio.File(label="Upload", file_types=["audio"], height=_HEIGHT, min_width=240, elem_id="upload")
            microphone = gradio.Audio(
                sources=["microphone"], type="filepath", label="Record", buttons=[], editable=False, min_width=240,
                elem_id="microphone",
            )  # fmt: skip
            if examples:
                with gradio.Column(min_width=280):
                    clicked = gradio.Dataset(
                        components=[gradio.Textbox(visible=False)],
                        samples=[[example.label] for example in examples],
                        label="Examples: synthetic voices, in English",
                        type="index",
                        elem_id="examples",
                    )
        player = gradio.Audio(
            interactive=False, visible=False, buttons=[], elem_id="player",
            waveform_options=gradio.WaveformOptions(show_recording_waveform=False),  # the cards show the waveform
        )  # fmt: skip
        answer = gradio.HTML(INVITATION, elem_id="answer")
        gradio.HTML(caveats(models), elem_classes="words small")
        shown = [answer, player, upload, microphone]
        how: dict[str, Any] = {
            "concurrency_limit": 1,  # one prediction at a time, for all users
            "concurrency_id": "models",
            "api_visibility": "private",
            "show_progress_on": [answer],
        }
        upload.upload(answer_to_file, upload, shown, **how)
        microphone.stop_recording(answer_to_file, microphone, shown, **how)
        if examples:
            clicked.click(answer_to_example, clicked, shown, **how)
    return page


def _wave(path: Path, mix: Downmix) -> Samples:
    blocks, samples = [], 0
    for block in read_blocks(path, channel=mix):
        blocks.append(block)
        samples += len(block)
        if samples > MAX_SECONDS * SAMPLE_RATE:
            raise RecipeError(f"the recording must be at most {MAX_SECONDS / 60:g} minutes long, got more")
    return np.concatenate(blocks)
