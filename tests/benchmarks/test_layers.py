"""The benchmark of the layers: what it compares before it times, and how it counts memory."""

from __future__ import annotations

import pytest
import torch

from benchmarks import baselines, layers, memory
from temporal_shift import ShiftConv
from temporal_shift.layers import RelativeTransformerLayer


def test_the_published_conv_block_computes_what_ours_does():
    ours, published = ShiftConv(32), baselines.PublishedConvBlock(32, n_div=16)
    layers._share(published, ours)
    layers._compare(ours, published, torch.randn(2, 9, 32, requires_grad=True))


def test_the_published_relative_layer_computes_what_ours_does():
    ours = RelativeTransformerLayer(32, 4, 128, 0.0, "gelu", batch_first=True, max_frames=9)
    published = baselines.PublishedRelativeLayer(32, 4, 9)
    published.load_state_dict({name.removeprefix("self_attn."): value for name, value in ours.state_dict().items()})
    layers._compare(ours, published, torch.randn(2, 9, 32, requires_grad=True))


@pytest.mark.parametrize("wrong", [lambda x: 2 * x + 0.01, lambda x: x + (x - x.detach())])
def test_a_form_with_another_output_or_another_gradient_is_not_timed(wrong):
    with pytest.raises(AssertionError):
        layers._compare(lambda x: 1.0 * x, wrong, torch.randn(2, 9, 32, requires_grad=True))


def test_peak_memory_is_what_was_allocated_at_once():
    setup, megabytes = "import torch", 64
    peak = memory.peak_bytes(setup, f"[torch.ones({megabytes} << 18) for _ in range(3)][0]")
    if peak is None:
        pytest.skip("only Linux says what it was")
    assert 3 * megabytes << 20 <= peak <= 3.3 * (megabytes << 20)
