"""Run a whole model chunk by chunk, if its encoder has local context: only new samples and their context are encoded.

Most encoders have no local context, because attention covers the whole clip. :func:`locality_of` measures the context.
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

_REACH = 3.0  # seconds: encoders with more context on one side count as not local
_TOLERANCE = 1e-4  # largest difference of frames of a part and of the whole clip, relative to the largest value


@dataclass(frozen=True, slots=True)
class Locality:
    """Frame ``f`` of an encoder depends on the samples from ``(f - past) * hop`` to ``(f + future) * hop``.

    Attributes:
        hop: Samples from one frame to the next.
        past, future: Context in frames; ``future`` includes the frame's own samples.
        min_samples: Number of samples of the shortest input that has a frame.
    """

    hop: int
    past: int
    future: int
    min_samples: int


def locality_of(encoder: FrameEncoder) -> Locality | None:
    """Measure the context of an encoder's frames; ``None`` if it exceeds 3 s on a side or depends on the position.

    The result is also ``None`` if the encoder does not take waveforms, or its hop is unknown.

    Replaces the first half of a clip of noise, then the second half, and finds the frames that change. Then compares
    the frames of a part of the clip, except at the edges, with the frames of the whole clip.
    """
    hop = getattr(encoder.model.config, "inputs_to_logits_ratio", 0) * encoder.average
    if hop == 0 or encoder.model.main_input_name != "input_values":
        return None
    half = round(_REACH * SAMPLE_RATE) // hop  # frames
    noise = torch.randn(3, 2 * half * hop, generator=torch.Generator().manual_seed(0), device="cpu") / 4
    clip, before, after = (wave.clone() for wave in (noise[0], noise[0], noise[0]))
    before[: half * hop], after[half * hop :] = noise[1, : half * hop], noise[2, half * hop :]
    frames = _frames(encoder, clip)
    last, first = _changed(frames, _frames(encoder, before))[1], _changed(frames, _frames(encoder, after))[0]
    if last == frames.shape[-2] - 1 or first == 0:
        return None
    past, future = max(0, last + 1 - half), half + 1 - first
    start = half // 2 | 1  # odd, to detect encoders that merge frames in pairs
    piece = _frames(encoder, clip[start * hop : 2 * half * hop - hop])
    stop = 2 * half - 1 - future  # end of the frames with their whole context in the part
    whole, cut = frames[..., start + past : stop, :], piece[..., past : stop - start, :]
    if whole.shape != cut.shape or (whole - cut).abs().max() > _TOLERANCE * whole.abs().max():
        return None
    lengths = range(1, future * hop + 1)
    return Locality(hop, past, future, lengths[bisect_left(lengths, True, key=lambda n: _is_enough(encoder, clip[:n]))])


class SpeechStream:
    """Runs a model on a recording that arrives in chunks. Construct it with :meth:`of`.

    Without ``window``, the logits at the end equal the logits of the encoder and the classifier on the whole recording,
    up to rounding.

    Args:
        model: A model in eval mode.
        locality: The context of the encoder's frames, from :func:`locality_of`.
        window: Seconds: the logits are the mean over the latest chunks with at least this many seconds of frames.
            Default: ``None``, all frames.

    Raises:
        ValueError: If the classifier cannot stream.

    Attributes:
        past: Seconds of context before a frame.
        future: Seconds of context after the start of a frame.
        delay: Seconds of the latest sound that the logits do not include yet, rounded down to whole frames.

    Example:
        >>> from temporal_shift.ser import SpeechClassifierConfig
        >>> encoder = {"model_type": "wav2vec2", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
        >>> encoder |= {"conv_dim": [16], "conv_kernel": [400], "conv_stride": [320], "feat_extract_norm": "layer"}
        >>> classifier = {"blocks": "linear", "hidden_size": 32}
        >>> model = SpeechClassifier(SpeechClassifierConfig(encoder, classifier, clip_seconds=1.0, layer=0)).eval()
        >>> stream, wave = SpeechStream.of(model), torch.randn(16000)
        >>> so_far = [stream(samples) for samples in wave.numpy().reshape(4, -1)]
        >>> np.allclose(stream.flush(), model(wave[None]).logits.detach(), atol=1e-4)
        True
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
        """Construct a stream from a model in eval mode.

        Args:
            model: The model.
            window: Seconds that the logits cover; see :class:`SpeechStream`. Default: ``None``, all frames.
        Raises:
            ValueError: If the model cannot stream; the message names the part and the reason.
        """
        model.classifier.stream()
        if model.config.normalize:
            raise ValueError("normalize=True normalises each clip as a whole")
        locality = locality_of(model.backbone)
        if locality is None:
            kind = model.backbone.model.config.model_type
            raise ValueError(
                f"its encoder ({kind}, layer {model.config.layer}) has no known context of at most {_REACH:g} s before "
                "and after a frame"
            )
        return cls(model, locality, window)

    def _begin(self) -> None:
        # samples that may still be needed, from frame ``_start`` on
        self._kept: Samples = np.zeros(0, dtype=np.float32)
        self._start, self._encoded, self._given = 0, 0, 0  # numbers of frames; the logits include the first ``_given``
        self._blocks: Any = None  # the state of the classifier's blocks
        self._sums: deque[tuple[int, Logits]] = deque()  # number of frames, and the sum of their logits

    def __call__(self, samples: Samples) -> Logits | None:
        """Add any number of mono samples at 16 kHz; return the logits so far, or ``None`` before the first frame.

        Args:
            samples: float32 samples ``(samples,)`` with a full scale of 1.
        Returns:
            Logits ``(classes,)`` in float64.
        """
        self._kept = np.concatenate([self._kept, samples])
        complete = self._start + len(self._kept) // self._locality.hop - self._locality.future
        if complete > self._encoded:
            self._feed(self._encode()[..., : complete - self._start, :])
        return self._mean()

    def flush(self) -> Logits | None:
        """Finish the recording; return its logits, or ``None`` if it has no frame. Then start a new recording."""
        if self._encoded or len(self._kept) >= self._locality.min_samples:
            self._feed(self._encode())
            if waiting := self._encoded - self._given:
                with torch.inference_mode():
                    logits = self._model.classifier.stream((self._blocks, None)).flush()
                self._take(logits, waiting)
        mean = self._mean()
        self._begin()
        return mean

    def _encode(self) -> Tensor:
        """Encode the kept samples. The first ``past`` frames lack context, unless the recording starts there."""
        return _frames(self._model.backbone, torch.from_numpy(self._kept).to(self._model.device))

    def _feed(self, frames: Tensor) -> None:
        new = frames[..., self._encoded - self._start :, :]
        self._encoded += new.shape[-2]
        # the stream gives the mean over this chunk; _take combines chunks in double precision and drops old ones
        stream = self._model.classifier.stream((self._blocks, None))
        with torch.inference_mode():
            logits = stream(new)
        self._blocks, of_mean = stream.state
        self._take(logits, of_mean[1])
        # keep at least one frame, because the encoder needs an input
        start = max(0, self._encoded - max(1, self._locality.past))
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
    """Encode one waveform to ``(1, frames, D)``, or ``(1, layers, frames, D)`` for a weighted sum of layers."""
    with torch.inference_mode():
        return encoder(wave[None].to(next(encoder.parameters()).device))  # type: ignore[no-any-return]


def _changed(frames: Tensor, others: Tensor) -> tuple[int, int]:
    """The first and the last frame that differ; the whole range if none differs."""
    places = (frames != others).movedim(-2, 0).flatten(1).any(dim=1).nonzero().flatten().tolist()
    return (places[0], places[-1]) if places else (0, frames.shape[-2] - 1)


def _is_enough(encoder: FrameEncoder, wave: Tensor) -> bool:
    try:
        return _frames(encoder, wave).shape[-2] > 0
    except RuntimeError:  # convolutions reject inputs shorter than their kernel
        return False
