"""SpecAugment on features: masks spans of frames and of channels in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FeatureSpecAugment(nn.Module):
    """Replace random spans of frames by a learned vector, and random spans of channels by 0.

    In eval mode, frames are unchanged.

    Args:
        channels: Number of channels ``D``. The learned vector is initialised uniformly in ``[0, 1)``.
        time_prob: Approximate share of masked frames; 0 for none. Default: 0.08.
        time_length: Length of a span of frames. Default: 15.
        time_min_masks: Minimum number of spans of frames, or as many as fit into ``L``. Default: 2.
        feature_prob: Approximate share of masked channels; 0 for none. Default: 0.05.
        feature_length: Width of a span of channels. Default: 64.
        feature_min_masks: Minimum number of spans of channels, or as many as fit into ``D``. Default: 1.

    Shape:
        ``(B, L, D)`` to ``(B, L, D)``. No frame is masked if ``L < time_length``, and no channel if
        ``D < feature_length``.

    Source: Park et al., "SpecAugment", Interspeech 2019. Spans are drawn as in Hugging Face's Wav2Vec2. The defaults
    are the values in the code of Shen, Liu, Zhou, ICASSP 2023.
    """

    def __init__(
        self,
        channels: int,
        *,
        time_prob: float = 0.08,
        time_length: int = 15,
        time_min_masks: int = 2,
        feature_prob: float = 0.05,
        feature_length: int = 64,
        feature_min_masks: int = 1,
    ) -> None:
        super().__init__()
        self.time = (time_prob, time_length, time_min_masks)
        self.feature = (feature_prob, feature_length, feature_min_masks)
        self.masked_frame = nn.Parameter(torch.rand(channels))

    def forward(self, frames: Tensor) -> Tensor:
        if not self.training:
            return frames
        batch, length, channels = frames.shape
        hidden_frames = span_mask(batch, length, *self.time).to(frames.device)
        hidden_channels = span_mask(batch, channels, *self.feature).to(frames.device)
        frames = torch.where(hidden_frames[:, :, None], self.masked_frame.to(frames.dtype), frames)
        return frames.masked_fill(hidden_channels[:, None, :], 0.0)

    def extra_repr(self) -> str:
        return f"{self.masked_frame.numel()}, time={self.time}, feature={self.feature}"


def span_mask(rows: int, size: int, prob: float, length: int, min_masks: int) -> Tensor:
    """Bool mask ``(rows, size)`` with the same number of spans of ``length`` in every row; spans may overlap.

    The number is ``prob * size / length``, rounded up or down at random, at least ``min_masks``, and at most
    ``size // length``, which takes precedence. It is 0 if ``prob`` is 0.
    """
    if prob == 0 or length > size:
        return torch.zeros(rows, size, dtype=torch.bool)
    wanted = max(int(prob * size / length + torch.rand(()).item()), min_masks)
    starts = size - length + 1
    spans = min(wanted, size // length, starts)
    first = torch.rand(rows, starts).argsort(dim=1)[:, :spans]  # without replacement
    positions = first[:, :, None] + torch.arange(length)  # (rows, spans, length)
    return torch.zeros(rows, size, dtype=torch.bool).scatter_(1, positions.flatten(1), True)
