"""A whole model on samples that come in chunks, where its encoder is local: each frame is encoded once, none twice.

Most encoders are not: attention sees the whole clip. Whether one is, is measured.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..audio.resampling import SAMPLE_RATE
from ..encoders.frame_encoder import FrameEncoder
from ..models.speech_classifier import SpeechClassifier
from .recognizer import Samples

Logits = npt.NDArray[np.float64]  # (classes,)

_REACH = 3.0  # seconds: an encoder whose frames see further to one side counts as not local
_CLOSE = 1e-4  # of the largest value: how well frames of a cut clip agree with those of the whole


@dataclass(frozen=True, slots=True)
class Locality:
    """Frame ``f`` of an encoder is made of the samples from ``(f - past) * hop`` to ``(f + future) * hop``.

    Attributes:
        hop: Samples from one frame to the next.
        past, future: In frames; the frame's own samples are in the future.
        least: The samples that make a first frame.
    """

    hop: int
    past: int
    future: int
    least: int


def locality_of(encoder: FrameEncoder) -> Locality | None:
    """What an encoder's frames depend on, or ``None`` if that is more than 3 s to a side, or not the same everywhere.

    Other noise is put into the first half of a clip of noise, then into the second: the frames that change depend on
    it. Then the frames of a piece of the clip must be those of the whole, but for the edges.
    """
    hop = getattr(encoder.model.config, "inputs_to_logits_ratio", 0) * encoder.average
    if hop == 0 or encoder.model.main_input_name != "input_values":
        return None
    half = round(_REACH * SAMPLE_RATE) // hop  # frames
    noise = torch.randn(3, 2 * half * hop, generator=torch.Generator().manual_seed(0)) / 4
    clip, before, after = (wave.clone() for wave in (noise[0], noise[0], noise[0]))
    before[: half * hop], after[half * hop :] = noise[1, : half * hop], noise[2, half * hop :]
    frames = _frames(encoder, clip)
    last, first = _changed(frames, _frames(encoder, before))[1], _changed(frames, _frames(encoder, after))[0]
    if last == frames.shape[-2] - 1 or first == 0:
        return None
    past, future = max(0, last + 1 - half), half + 1 - first
    start = half // 2 | 1  # odd, because an encoder that joins frames in pairs is not the same everywhere
    piece = _frames(encoder, clip[start * hop : 2 * half * hop - hop])
    stop = 2 * half - 1 - future  # of the frames that are complete in the piece
    whole, cut = frames[..., start + past : stop, :], piece[..., past : stop - start, :]
    if whole.shape != cut.shape or (whole - cut).abs().max() > _CLOSE * whole.abs().max():
        return None
    lengths = range(1, future * hop + 1)
    return Locality(hop, past, future, lengths[bisect_left(lengths, True, key=lambda n: _is_enough(encoder, clip[:n]))])


class SpeechStream:
    """A model on a recording that goes on, chunk by chunk; :meth:`of` makes one.

    At the end, its logits are those of the classifier on the frames of the whole recording, encoded at once.

    Attributes:
        past: The seconds before the beginning of a frame that it is made of.
        future: Those after it.
        delay: The last seconds, of which nothing is in the logits yet.

    ::

        stream = SpeechStream.of(model)
        for samples in blocks:
            so_far = stream(samples)
        whole = stream.flush()
    """

    def __init__(self, model: SpeechClassifier, locality: Locality, window: float | None = None) -> None:
        self._model = model
        self._locality = locality
        hop = locality.hop / SAMPLE_RATE
        self.past, self.future = hop * locality.past, hop * locality.future
        self.delay = self.future + hop * model.classifier.stream().delay
        self._window = None if window is None else max(1, round(window * SAMPLE_RATE / locality.hop))
        self._begin()

    @classmethod
    def of(cls, model: SpeechClassifier, window: float | None = None) -> SpeechStream:
        """The stream of a model in eval mode.

        Args:
            window: Seconds: the logits are those of so many last frames. Default: of all.
        Raises:
            ValueError: If the model cannot stream; the message says which part of it, and why.
        """
        model.classifier.stream()
        if model.config.normalize:
            raise ValueError("each clip is normalised as a whole (normalize=True)")
        locality = locality_of(model.backbone)
        if locality is None:
            kind = model.backbone.model.config.model_type
            raise ValueError(f"the frames of its encoder ({kind}, layer {model.config.layer}) see the whole clip")
        return cls(model, locality, window)

    def _begin(self) -> None:
        self._kept: Samples = np.zeros(
            0, dtype=np.float32
        )  # the samples that may still be wanted, from frame ``_start`` on
        self._start, self._encoded, self._given = 0, 0, 0  # frames; ``_given`` are in the logits
        self._blocks: Any = None  # the state of the classifier's blocks
        self._sums: deque[tuple[int, Logits]] = deque()  # how many frames, and the sum of their logits

    def __call__(self, samples: Samples) -> Logits | None:
        """Feed mono samples at 16 kHz, any number of them; take logits, ``None`` before there are any."""
        self._kept = np.concatenate([self._kept, samples])
        complete = self._start + len(self._kept) // self._locality.hop - self._locality.future
        if complete > self._encoded:
            self._feed(self._encode()[..., : complete - self._start, :])
        return self._mean()

    def flush(self) -> Logits | None:
        """The logits with the frames that waited for the future, and begin anew; ``None`` if nothing made a frame."""
        if self._encoded or len(self._kept) >= self._locality.least:
            self._feed(self._encode())
            with torch.inference_mode():
                logits = self._model.classifier.stream((self._blocks, None)).flush()
            self._take(logits, self._encoded - self._given)
        mean = self._mean()
        self._begin()
        return mean

    def _encode(self) -> Tensor:
        """The frames of what is kept; the first ``past`` of them lack theirs, unless the recording begins there."""
        return _frames(self._model.backbone, torch.from_numpy(self._kept).to(self._model.device))

    def _feed(self, frames: Tensor) -> None:
        new = frames[..., self._encoded - self._start :, :]
        self._encoded += new.shape[-2]
        # A mean over this chunk only: those of many are put together in double precision, and old ones forgotten.
        stream = self._model.classifier.stream((self._blocks, None))
        with torch.inference_mode():
            logits = stream(new)
        self._blocks, of_mean = stream.state
        self._take(logits, of_mean[1])
        start = max(0, self._encoded - max(1, self._locality.past))  # one at least, so that there is enough to encode
        self._kept = self._kept[(start - self._start) * self._locality.hop :]
        self._start = start

    def _take(self, logits: Tensor, frames: int) -> None:
        if frames == 0:
            return
        self._given += frames
        self._sums.append((frames, frames * logits[0].double().cpu().numpy()))
        if self._window is None and len(self._sums) == 2:
            self._sums = deque([self._total()])
        while self._window is not None and self._total()[0] - self._sums[0][0] >= self._window:
            self._sums.popleft()

    def _total(self) -> tuple[int, Logits]:
        counts, logits = zip(*self._sums, strict=True)
        return sum(counts), np.sum(logits, axis=0)

    def _mean(self) -> Logits | None:
        if not self._sums:
            return None
        frames, logits = self._total()
        return logits / frames


def _frames(encoder: FrameEncoder, wave: Tensor) -> Tensor:
    """Of one waveform: ``(1, frames, D)``, or ``(1, layers, frames, D)`` where the layers are weighed."""
    with torch.inference_mode():
        return encoder(wave[None].to(next(encoder.parameters()).device))  # type: ignore[no-any-return]


def _changed(frames: Tensor, others: Tensor) -> tuple[int, int]:
    """The first and the last frame that differ in any bit; as if all did where none does."""
    places = (frames != others).movedim(-2, 0).flatten(1).any(dim=1).nonzero().flatten().tolist()
    return (places[0], places[-1]) if places else (0, frames.shape[-2] - 1)


def _is_enough(encoder: FrameEncoder, wave: Tensor) -> bool:
    try:
        return _frames(encoder, wave).shape[-2] > 0
    except RuntimeError:  # torch's convolutions refuse what is shorter than their kernels
        return False
