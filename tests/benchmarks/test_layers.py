"""The suite of the layers compares outputs and gradients before it times, and counts memory."""

from __future__ import annotations

import pytest
import torch

from benchmarks.measure import peers
from benchmarks.suites import layers
from temporal_shift import ShiftConv
from temporal_shift.layers import RelativeTransformerLayer


def test_the_published_conv_block_equals_ours():
    ours, published = ShiftConv(32), peers.PublishedConvBlock(32, n_div=16)
    layers._share(published, ours)
    layers.check_equal(ours, published, torch.randn(2, 9, 32, requires_grad=True))


def test_the_published_relative_layer_equals_ours():
    ours = RelativeTransformerLayer(32, 4, 128, 0.0, "gelu", batch_first=True, max_frames=9)
    published = peers.PublishedRelativeLayer(32, 4, 9)
    published.load_state_dict({name.removeprefix("self_attn."): value for name, value in ours.state_dict().items()})
    layers.check_equal(ours, published, torch.randn(2, 9, 32, requires_grad=True))


@pytest.mark.parametrize("wrong", [lambda x: 2 * x + 0.01, lambda x: x + (x - x.detach())])
def test_a_different_output_or_gradient_is_an_error(wrong):
    with pytest.raises(AssertionError):
        layers.check_equal(lambda x: 1.0 * x, wrong, torch.randn(2, 9, 32, requires_grad=True))


def test_every_case_computes_the_gradients_of_its_input_and_its_weights():
    found = layers.cases(layers.QUICK)
    assert [case.what for case in found] == [
        "ShiftConv",
        "ShiftLSTM",
        "relative attention",
        "ShiftTransformerLayer",
        "RelativeTransformerLayer",
    ]
    for case in found:
        assert all(all(map(torch.is_tensor, step())) for step in case.steps().values())
        kept = case.kept()
        assert kept.keys() == case.forms.keys()
        assert all(of_form > [0.0] for of_form in kept.values())
