"""Predict recordings of any length: from blocks of samples to windows with class probabilities.

The memory use depends on the lengths of a window and of a block, not on the length of the recording.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..audio.resampling import SAMPLE_RATE
from ..audio.samples import as_floats
from ..models.speech_classifier import SpeechClassifier, load_speech_classifier
from ..utils.errors import RecipeError
from ..utils.wording import counted
from .remarks import level_of

Samples = npt.NDArray[np.float32]

_Cut = tuple[int, Samples]  # index of the first sample, and the samples

_MIN_SECONDS = 0.1  # shorter recordings are too short for speech
_BATCH = 8  # maximum number of windows in a forward pass


@dataclass(frozen=True, slots=True)
class Window:
    """The prediction for a part of a recording.

    Attributes:
        start: Start in seconds from the start of the recording.
        end: End in seconds from the start of the recording.
        probabilities: One per class, in the order of the model's ``labels``.
        level: Level of the loudest 25 ms in dBFS; see :func:`~.remarks.level_of`.
    """

    start: float
    end: float
    probabilities: tuple[float, ...]
    level: float


class Recognizer:
    """Applies a model to windows of a recording of any length.

    Args:
        model: The model. It is set to eval mode.

    Attributes:
        model: The model.
        labels: The classes, in the order of the probabilities.
        window: Length of a window, which is the model's input, in seconds.

    Example:
        >>> from pathlib import Path
        >>> from temporal_shift.ser.audio.reading import read_blocks
        >>> recognizer = Recognizer.load("examples/real-speech/models/Shiftformer")
        >>> path = Path("examples/quickstart/corpus/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.ogg")
        >>> windows = list(recognizer.windows(read_blocks(path)))
        >>> [(window.start, window.end) for window in windows]
        [(0.0, 1.5695)]
        >>> len(mean_probabilities(windows)) == len(recognizer.labels)
        True
    """

    def __init__(self, model: SpeechClassifier) -> None:
        self.model = model
        self.model.eval()
        self.labels = model.labels
        self.window: float = model.config.clip_seconds

    @classmethod
    def load(cls, name: str, revision: str | None = None, *, allow_download: bool = False) -> Recognizer:
        """Load a model from a folder or the hub, on a CUDA or ROCm GPU if there is one.

        Args:
            name: The folder or the hub name of the model.
            revision: A commit, a tag or a branch on the hub. Default: ``None``, the main branch.
            allow_download: Whether an encoder that a folder refers to may be downloaded from the hub. A model with a
                hub name and its encoder may be downloaded in any case. Default: ``False``.

        Raises:
            RecipeError: If the model does not exist, cannot be loaded, or is not a speech classifier of this package,
                or ``revision`` is given with a folder.
        """
        model: Any = load_speech_classifier(name, revision, allow_download=allow_download)
        return cls(model.to("cuda" if torch.cuda.is_available() else "cpu"))

    def probabilities(self, clips: Samples) -> npt.NDArray[np.float32]:
        """Map waveforms ``(B, samples)`` at 16 kHz to probabilities ``(B, classes)``.

        Clips shorter than a window are zero-padded. Samples after the first window are ignored.

        Args:
            clips: Floats with a full scale of 1, or integers of 8, 16 or 32 bits; an array or a tensor.
        Returns:
            Probabilities in float32, in the order of ``labels``.
        Raises:
            TypeError: If ``clips`` is not an array or a tensor, or has another dtype.
            ValueError: If ``clips`` does not have two dims, or has samples that are not finite or not in [-32, 32].
            RecipeError: If the model computes probabilities that are not finite.
        """
        clips = as_floats(clips, "clips")
        with torch.inference_mode():
            logits = self.model(torch.from_numpy(clips).to(self.model.device)).logits
        found: npt.NDArray[np.float32] = logits.softmax(dim=1).float().cpu().numpy()
        if not np.isfinite(found).all():  # finite weights can overflow
            raise RecipeError("the probabilities of the model must be finite, got NaN")
        return found

    def windows(self, blocks: Iterable[Samples], hop: float | None = None, *, batch: int = _BATCH) -> Iterator[Window]:
        """Predict the windows of a recording, in order.

        Args:
            blocks: Mono samples at 16 kHz, in blocks of any length: floats with a full scale of 1, or integers of 8, 16
                or 32 bits.
            hop: Seconds between the starts of two windows; above the window length, samples are skipped. Default:
                ``None``, half a window.
            batch: Maximum number of windows in a forward pass. Default: 8.
        Yields:
            Windows at multiples of ``hop``. If samples are left after the last one, a further window ends with the
            recording. A recording shorter than a window is one window, zero-padded as in training; an empty recording
            has none.
        Raises:
            TypeError: If a block is not an array or a tensor, or has another dtype.
            ValueError: If ``hop`` is less than a sample or not finite, or a block does not have one dim, or has samples
                that are not finite or not in [-32, 32].
            RecipeError: If the model computes probabilities that are not finite.
        """
        return self._predicted(_windows(_mono(blocks), round(self.window * SAMPLE_RATE), self._step(hop)), batch)

    def latest(self, blocks: Iterable[Samples], hop: float | None = None, *, batch: int = 1) -> Iterator[Window]:
        """Predict the latest window after every ``hop`` seconds of an ongoing recording.

        Args:
            blocks: The samples; see :meth:`windows`.
            hop: Seconds between two updates. Default: ``None``, half a window.
            batch: Maximum number of windows in a forward pass. Above 1, windows wait for later ones. Default: 1.
        Yields:
            For each multiple of ``hop``, a window that ends there or, depending on the lengths of the blocks, less than
            ``hop`` later. Windows are shorter while the recording is shorter than a window.
        Raises:
            TypeError, ValueError, RecipeError: For the reasons that :meth:`windows` gives.
        """
        return self._predicted(_latest(_mono(blocks), round(self.window * SAMPLE_RATE), self._step(hop)), batch)

    def _predicted(self, cuts: Iterator[_Cut], batch: int) -> Iterator[Window]:
        while clips := list(islice(cuts, batch)):
            longest = max(len(clip) for _, clip in clips)
            rows = self.probabilities(np.stack([np.pad(clip, (0, longest - len(clip))) for _, clip in clips]))
            for (start, clip), row in zip(clips, rows, strict=True):
                end = (start + len(clip)) / SAMPLE_RATE
                yield Window(start / SAMPLE_RATE, end, tuple(map(float, row)), level_of(clip))

    def _step(self, hop: float | None) -> int:
        seconds = self.window / 2 if hop is None else hop
        if not 1 <= seconds * SAMPLE_RATE < math.inf:
            raise ValueError(f"hop must be finite and at least one sample ({1 / SAMPLE_RATE} s), got {hop}")
        return round(seconds * SAMPLE_RATE)


def mean_probabilities(windows: Sequence[Window]) -> tuple[float, ...]:
    """The probabilities of a whole recording, one per class: the mean over its windows.

    Args:
        windows: At least one window.

    Example:
        >>> mean_probabilities([Window(0.0, 2.0, (0.25, 0.75), -20.0), Window(1.0, 3.0, (0.75, 0.25), -20.0)])
        (0.5, 0.5)
    """
    return tuple(float(share) for share in np.mean([window.probabilities for window in windows], axis=0))


def check_length(samples: int, sound: str) -> None:
    """Raise a :class:`RecipeError` if a recording at 16 kHz is shorter than 0.1 s."""
    seconds = samples / SAMPLE_RATE
    if seconds < _MIN_SECONDS:
        length = f"{seconds:.5f}".rstrip("0").rstrip(".")
        raise RecipeError(
            f"{sound} must be at least {_MIN_SECONDS} s long, got {length} s ({counted(samples, 'sample')} at 16 kHz)"
        )


def check_finite(probabilities: Sequence[float], sound: str) -> None:
    """Raise a :class:`RecipeError` if a probability is not finite."""
    for share in probabilities:
        if not math.isfinite(share):
            raise RecipeError(f"the probabilities of the model for {sound} must be finite, got {share}")


def _mono(blocks: Iterable[Any]) -> Iterator[Samples]:
    for block in blocks:
        samples = as_floats(block, "blocks")
        if samples.ndim != 1:
            raise ValueError(f"each block must have the shape (samples,), got {samples.shape}")
        yield samples


def _windows(blocks: Iterable[Samples], full: int, step: int) -> Iterator[_Cut]:
    kept, start = np.zeros(0, dtype=np.float32), 0  # samples that may still be needed, from ``start`` on
    due = end = 0  # start of the next window, and end of the last one
    for block in blocks:
        kept = np.concatenate([kept, block])
        while start + len(kept) >= due + full:
            end = due + full
            yield due, kept[due - start : end - start]
            due += step
        drop = min(due - start, len(kept) - full)  # the final window may start before ``due``
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
