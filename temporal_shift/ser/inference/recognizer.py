"""A trained model on recordings of any length: blocks of samples -> windows, each with the classes' probabilities.

A file is read in blocks and a microphone gives them, so the same code hears both, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..audio.resampling import SAMPLE_RATE
from ..models.speech_classifier import SpeechClassifier, load_speech_classifier

Samples = npt.NDArray[np.float32]

_Cut = tuple[int, Samples]  # a stretch, and the sample where it starts

_BATCH = 8  # windows in a forward pass, at most


@dataclass(frozen=True, slots=True)
class Window:
    """What a model makes of a stretch of a recording, in seconds from its start."""

    start: float
    end: float
    probabilities: tuple[float, ...]  # of each class, in the order of the model's labels


class Recognizer:
    """A model in eval mode, and how it hears.

    Attributes:
        labels: The classes.
        window: Seconds that it hears at once.
    """

    def __init__(self, model: SpeechClassifier) -> None:
        self.model = model
        self.model.eval()  # type: ignore[no-untyped-call]
        self.labels = model.labels
        self.window: float = model.config.clip_seconds

    @classmethod
    def load(cls, name: str, revision: str | None = None) -> Recognizer:
        """A model by its folder or its hub name, on the GPU where there is one.

        Raises:
            RecipeError: If there is no such model, or it is no speech classifier of this package.
        """
        model: Any = load_speech_classifier(name, revision)
        return cls(model.to("cuda" if torch.cuda.is_available() else "cpu"))

    def probabilities(self, clips: Samples) -> npt.NDArray[np.float32]:
        """Of waveforms ``(B, samples)`` at 16 kHz, none longer than the window: ``(B, classes)``."""
        with torch.inference_mode():
            logits = self.model(torch.from_numpy(clips).to(self.model.device)).logits
        return logits.softmax(dim=1).float().cpu().numpy()  # type: ignore[no-any-return]

    def windows(self, blocks: Iterable[Samples], hop: float | None = None, *, batch: int = _BATCH) -> Iterator[Window]:
        """The windows of a recording, in order.

        Args:
            blocks: Its samples at 16 kHz, in pieces of any length.
            hop: Seconds from one window to the next; what lies between them, where it is longer, is not heard. Default:
                half a window.
            batch: Windows in a forward pass, at most.
        Yields:
            Windows at multiples of ``hop``, and one that ends where the recording does. A recording that is
            shorter than a window is one, zero-padded as in training; of an empty one there is none.
        """
        cuts = _windows(blocks, self._samples(self.window), self._step(hop))
        while clips := list(islice(cuts, batch)):
            yield from self._heard(clips)

    def latest(self, blocks: Iterable[Samples], hop: float | None = None, *, batch: int = 1) -> Iterator[Window]:
        """After each ``hop`` seconds, what is to be made of the last window of a recording that goes on.

        Args:
            batch: Windows in a forward pass; the first of more than one has to wait for the others.
        """
        cuts = _latest(blocks, self._samples(self.window), self._step(hop))
        while clips := list(islice(cuts, batch)):
            yield from self._heard(clips)

    def _heard(self, clips: list[_Cut]) -> Iterator[Window]:
        longest = max(len(clip) for _, clip in clips)
        rows = self.probabilities(np.stack([np.pad(clip, (0, longest - len(clip))) for _, clip in clips]))
        for (start, clip), row in zip(clips, rows, strict=True):
            yield Window(start / SAMPLE_RATE, (start + len(clip)) / SAMPLE_RATE, tuple(map(float, row)))

    def _step(self, hop: float | None) -> int:
        step = self._samples(self.window / 2 if hop is None else hop)
        if step < 1:
            raise ValueError(f"hop={hop}: it must be at least one sample, {1 / SAMPLE_RATE} s")
        return step

    @staticmethod
    def _samples(seconds: float) -> int:
        return round(seconds * SAMPLE_RATE)


def mean_probabilities(windows: Sequence[Window]) -> tuple[float, ...]:
    """Of a whole recording: the mean over its windows."""
    return tuple(float(share) for share in np.mean([window.probabilities for window in windows], axis=0))


def _windows(blocks: Iterable[Samples], full: int, step: int) -> Iterator[_Cut]:
    kept, start = np.zeros(0, dtype=np.float32), 0  # the samples that may still be wanted, from ``start`` on
    due = end = 0  # where the next window starts, and where the last one ended
    for block in blocks:
        kept = np.concatenate([kept, block])
        while start + len(kept) >= due + full:
            end = due + full
            yield due, kept[due - start : end - start]
            due += step
        drop = min(due - start, len(kept) - full)  # the very last window may have to begin before ``due``
        if drop > 0:
            kept, start = kept[drop:], start + drop
    total = start + len(kept)
    if total > end:
        first = max(0, total - full)
        yield first, kept[first - start :]


def _latest(blocks: Iterable[Samples], full: int, step: int) -> Iterator[_Cut]:
    kept, total, due = np.zeros(0, dtype=np.float32), 0, step
    for block in blocks:
        for place in range(0, len(block), step):  # a block may be longer than a step
            piece = block[place : place + step]
            kept = np.concatenate([kept, piece])[-full:]
            total += len(piece)
            if total >= due:
                yield total - len(kept), kept
                due = total - total % step + step
