"""TemporalShift: the shift as a module, and in front of any net."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from temporal_shift import TemporalShift, temporal_shift


def test_alone_it_is_the_function():
    x = torch.randn(2, 9, 12)
    layer = TemporalShift(n_div=3, stride=2, bidirectional=True)
    assert torch.equal(layer(x), temporal_shift(x, n_div=3, stride=2, bidirectional=True))


@pytest.mark.parametrize(
    ("net", "shape", "dims"),
    [
        (nn.Linear(12, 5), (2, 9, 12), {}),
        (nn.Conv1d(12, 5, 3), (2, 12, 9), {"time_dim": -1, "channel_dim": -2}),
        (nn.BatchNorm1d(12), (2, 12, 9), {"time_dim": -1, "channel_dim": -2}),
        (nn.GRU(12, 5), (9, 2, 12), {"time_dim": 0}),
        (nn.GRU(12, 5), (9, 12), {"time_dim": 0}),
        (nn.GRU(12, 5, batch_first=True), (2, 9, 12), {"time_dim": 1}),
    ],
)
def test_it_shifts_in_the_layout_that_its_net_takes(net, shape, dims):
    x = torch.randn(shape)
    output, expected = TemporalShift(net, n_div=4)(x), net(temporal_shift(x, n_div=4, **dims))
    torch.testing.assert_close(output, expected, rtol=0, atol=0)


@pytest.mark.parametrize("net", [nn.Linear(12, 5), nn.LSTM(12, 5, batch_first=True)])
def test_with_stride_0_it_is_its_net_bit_for_bit(net):
    x = torch.randn(2, 9, 12)
    torch.testing.assert_close(TemporalShift(net, stride=0)(x), net(x), rtol=0, atol=0)


def test_other_arguments_reach_the_net():
    net = nn.LSTM(12, 5, batch_first=True)
    x, state = torch.randn(2, 9, 12), (torch.randn(1, 2, 5), torch.randn(1, 2, 5))
    torch.testing.assert_close(TemporalShift(net, stride=0)(x, state), net(x, state), rtol=0, atol=0)


def test_its_repr_says_what_is_shifted():
    assert "n_div=4, stride=2, bidirectional=True" in repr(TemporalShift(n_div=4, stride=2, bidirectional=True))
    assert "time_dim=-1, channel_dim=-2" in repr(TemporalShift(nn.Conv1d(8, 8, 3)))
