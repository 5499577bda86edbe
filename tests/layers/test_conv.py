"""ShiftConv gives the same output as the block written with torch's modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from temporal_shift import ShiftConv, temporal_shift


def branch(layer: ShiftConv) -> nn.Module:
    """The published channels-first form: depthwise, norm over channels, two 1x1 convolutions."""
    dim, hidden = layer.depthwise.in_channels, layer.expand.out_features
    depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
    widen, narrow = nn.Conv1d(dim, hidden, 1), nn.Conv1d(hidden, dim, 1)
    norm = nn.LayerNorm(dim)
    depthwise.load_state_dict(layer.depthwise.state_dict())
    norm.load_state_dict(layer.norm.state_dict())
    for ours, theirs in ((layer.expand, widen), (layer.contract, narrow)):
        theirs.weight.data = ours.weight.data[..., None]
        theirs.bias.data = ours.bias.data

    def forward(x):
        x = norm(depthwise(x.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)
        return narrow(nn.functional.gelu(widen(x))).transpose(1, 2)

    return forward


@pytest.mark.parametrize("stride", [-1, 0, 1, 3])
def test_with_residual_the_branch_reads_unshifted_frames(stride):
    layer, x = ShiftConv(12, n_div=4, stride=stride, bidirectional=True), torch.randn(2, 9, 12)
    expected = temporal_shift(x, n_div=4, stride=stride, bidirectional=True) + branch(layer)(x)
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("stride", [-1, 0, 1, 3])
def test_inplace_shifts_both_the_branch_and_the_skip(stride):
    layer, x = ShiftConv(12, placement="inplace", n_div=4, stride=stride), torch.randn(2, 9, 12)
    shifted = temporal_shift(x, n_div=4, stride=stride)
    torch.testing.assert_close(layer(x), shifted + branch(layer)(shifted))


def test_with_stride_0_every_placement_equals_the_plain_block_bit_for_bit():
    residual, inplace = ShiftConv(32, stride=0), ShiftConv(32, stride=0, placement="inplace")
    inplace.load_state_dict(residual.state_dict())
    x = torch.randn(2, 9, 32)
    mixed = residual.norm(residual.depthwise(x.transpose(1, 2)).transpose(1, 2))
    plain = x + residual.contract(nn.functional.gelu(residual.expand(mixed)))
    assert torch.equal(residual(x), plain)
    assert torch.equal(inplace(x), plain)


def test_unbatched_input_equals_a_batch_of_one():
    layer, x = ShiftConv(16), torch.randn(9, 16)
    torch.testing.assert_close(layer(x), layer(x[None])[0])


@pytest.mark.parametrize("placement", ["residual", "inplace"])
def test_the_batched_jacobians_of_forward_and_reverse_mode_are_equal(placement):
    layer, x = ShiftConv(8, placement=placement, n_div=4).double(), torch.randn(3, 8, dtype=torch.float64)
    forward = jacobian(layer, x, vectorize=True, strategy="forward-mode")
    torch.testing.assert_close(forward, jacobian(layer, x, vectorize=True, strategy="reverse-mode"))


def test_errors_name_the_wrong_argument():
    with pytest.raises(ValueError, match=r"placement.*'residual', 'inplace'.*'replace'"):
        ShiftConv(16, placement="replace")
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*4"):
        ShiftConv(16, 4)
    with pytest.raises(ValueError, match=r"n_div.*\[1, 8\].*16"):
        ShiftConv(8)
    ShiftConv(8, stride=0)  # with stride 0, only the type of n_div is checked


@pytest.mark.parametrize(("name", "value"), [("kernel_size", "7"), ("expansion", 2.0)])
def test_sizes_must_be_ints(name, value):
    with pytest.raises(TypeError, match=rf"{name} must be an int, got {value!r}"):
        ShiftConv(16, **{name: value})
