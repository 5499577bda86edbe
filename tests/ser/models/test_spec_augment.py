"""SpecAugment on features against Hugging Face's masks, and on clips that are too short for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from temporal_shift.ser.models.spec_augment import FeatureSpecAugment, span_mask


@pytest.mark.parametrize(
    ("size", "prob", "length", "min_masks"), [(374, 0.08, 15, 2), (768, 0.05, 64, 1), (25, 0.3, 3, 1), (20, 0.9, 7, 5)]
)
def test_the_masks_have_the_distribution_of_hugging_faces(size, prob, length, min_masks):
    np.random.seed(0)
    draws = 400
    ours = torch.stack([span_mask(4, size, prob, length, min_masks) for _ in range(draws)]).double()
    theirs = np.stack(
        [_compute_mask_indices((4, size), prob, length, min_masks=min_masks) for _ in range(draws)]
    ).astype(float)
    noise = 4 * np.sqrt(0.25 / (draws * 4) * 2)  # four standard errors of a difference of shares
    np.testing.assert_allclose(ours.mean((0, 1)).numpy(), theirs.mean((0, 1)), atol=noise)
    assert ours.sum(-1).max() <= theirs.sum(-1).max() + length
    assert set(ours.sum(-1).flatten().tolist()) <= set(range(length, size + 1))


def test_every_span_has_the_given_length_and_every_row_the_same_number():
    mask = span_mask(200, 50, 0.0001, 5, 1)
    assert (mask.sum(1) == 5).all()
    first = mask.float().argmax(1)
    assert all(mask[row, start : start + 5].all() for row, start in enumerate(first.tolist()))
    assert first.min() == 0
    assert first.max() == 45


def test_a_clip_shorter_than_a_span_is_not_masked():
    layer = FeatureSpecAugment(32).train()
    assert layer.feature[1] > 32
    frames = torch.randn(2, 9, 32)
    assert torch.equal(layer(frames), frames)


def test_masked_frames_are_the_learned_vector_and_masked_channels_are_zero():
    layer = FeatureSpecAugment(256).train()
    frames = torch.full((8, 100, 256), 7.0)
    y = layer(frames)
    zero_channel = (y == 0).all(1)  # (B, D)
    assert (zero_channel.sum(1) == 64).all()
    masked = (y == torch.where(zero_channel[:, None], 0.0, layer.masked_frame)).all(-1)  # (B, L)
    assert masked.any(1).all()
    assert (y == 7.0)[(~masked)[..., None] & ~zero_channel[:, None]].all()


def test_the_learned_vector_gets_a_gradient_and_starts_in_0_to_1():
    layer = FeatureSpecAugment(256).train()
    assert layer.masked_frame.min() >= 0
    assert layer.masked_frame.max() < 1
    layer(torch.randn(2, 100, 256)).sum().backward()
    assert layer.masked_frame.grad.abs().sum() > 0


def test_in_eval_mode_nothing_is_masked():
    frames = torch.randn(2, 100, 256)
    assert FeatureSpecAugment(256).eval()(frames) is frames
