"""TemporalShift: the shift as a module, alone and before a net."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from temporal_shift import ShiftLSTM, TemporalShift, add_temporal_shift, temporal_shift


def test_without_a_net_the_module_equals_the_function():
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
def test_the_module_shifts_in_the_layout_of_its_net(net, shape, dims):
    x = torch.randn(shape)
    output, expected = TemporalShift(net, n_div=4)(x), net(temporal_shift(x, n_div=4, **dims))
    torch.testing.assert_close(output, expected, rtol=0, atol=0)


class Transposed(nn.Sequential):
    """A stack that takes (batch, frames, channels), unlike its first module."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Stack(nn.Sequential):
    """A stack that inherits forward."""


@pytest.mark.parametrize(
    "net", [Transposed(nn.Conv1d(12, 5, 3)), nn.Sequential(Transposed(nn.Conv1d(12, 5, 3))), nn.Conv2d(2, 9, 3)]
)
def test_an_ambiguous_layout_must_be_passed(net):
    for dims in ({}, {"time_dim": 1}, {"channel_dim": 2}):
        for make in (TemporalShift, lambda net, **dims: add_temporal_shift(net, "", **dims)):
            with pytest.raises(ValueError, match=r"time_dim and channel_dim must be given for .*None"):
                make(net, **dims)
    x = torch.randn(2, 9, 12)
    assert torch.equal(TemporalShift(net, time_dim=1, channel_dim=2)(x), net(temporal_shift(x)))
    assert TemporalShift(Stack(nn.Conv1d(12, 5, 3))).time_dim == -1


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize(("batch_first", "time_dim"), [(False, 0), (True, -2)])
def test_the_shift_of_a_whole_transformer_is_along_its_time_dim(batch_first, time_dim):
    net = nn.Transformer(8, 2, 1, 1, 8, batch_first=batch_first)
    assert (TemporalShift(net).time_dim, TemporalShift(net).channel_dim) == (time_dim, -1)


@pytest.mark.parametrize("net", [nn.Linear(12, 5), nn.LSTM(12, 5, batch_first=True)])
def test_with_stride_0_the_module_equals_its_net_bit_for_bit(net):
    x = torch.randn(2, 9, 12)
    torch.testing.assert_close(TemporalShift(net, stride=0)(x), net(x), rtol=0, atol=0)


def test_other_arguments_are_passed_to_the_net():
    net = nn.LSTM(12, 5, batch_first=True)
    x, state = torch.randn(2, 9, 12), (torch.randn(1, 2, 5), torch.randn(1, 2, 5))
    torch.testing.assert_close(TemporalShift(net, stride=0)(x, state), net(x, state), rtol=0, atol=0)


def test_the_repr_shows_the_shift():
    assert "n_div=4, stride=2, bidirectional=True" in repr(TemporalShift(n_div=4, stride=2, bidirectional=True))
    assert "time_dim=-1, channel_dim=-2" in repr(TemporalShift(nn.Conv1d(8, 8, 3)))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_div": 0}, ValueError, r"n_div must be at least 1.*got 0"),
        ({"n_div": 1, "bidirectional": True}, ValueError, r"n_div must be at least 2.*got 1"),
        ({"n_div": 2.0}, TypeError, r"n_div must be an int.*2\.0"),
        ({"stride": True}, TypeError, r"stride must be an int.*True"),
        ({"bidirectional": 1}, TypeError, r"bidirectional must be a bool.*1"),
        ({"inplace": 1}, TypeError, r"inplace must be a bool.*1"),
        ({"padding_mode": "reflect"}, ValueError, r"padding_mode.*'reflect'"),
        ({"groups": [(-1, 1)]}, ValueError, r"channels of a group.*-1"),
        ({"groups": 3}, TypeError, r"groups must be a list.*int"),
        ({"groups": [(2, 1)], "n_div": 8}, ValueError, r"n_div.*None.*groups.*n_div=8"),
        (
            {"groups": [(2, 1)], "stride": 1, "bidirectional": False},
            ValueError,
            r"None with groups.*stride=1, bidirectional=False",
        ),
        ({"time_dim": -1}, ValueError, r"time_dim=-1.*channel_dim=-1"),
        ({"time_dim": 1.0}, TypeError, r"time_dim must be an int.*1\.0"),
    ],
)
def test_construction_errors_name_the_wrong_argument(options, error, message):
    with pytest.raises(error, match=message):
        TemporalShift(**options)


@pytest.mark.parametrize("form", ["PackedSequence", "nested tensor"])
def test_unsupported_arguments_for_packed_and_nested_input_raise_an_error(form):
    sequences = [torch.randn(length, 12) for length in (5, 2)]
    x = pack_sequence(sequences) if form == "PackedSequence" else torch.nested.nested_tensor(sequences)
    with pytest.raises(ValueError, match=rf"inplace must be False for a {form}.*True"):
        TemporalShift(inplace=True)(x)
    with pytest.raises(ValueError, match=rf"lengths must be None for a {form}"):
        TemporalShift()(x, lengths=torch.tensor([5, 2]))
    if form == "PackedSequence":
        with pytest.raises(ValueError, match=rf"channel_dim must be -1 or 2 for a {form}.*-2"):
            TemporalShift(time_dim=-1, channel_dim=-2)(x)


def test_the_repr_shows_groups_in_place_of_n_div():
    assert repr(TemporalShift(groups=[(2, 1)])) == "TemporalShift(groups=[(2, 1)])"


def test_without_a_net_unknown_arguments_raise_an_error():
    x = torch.randn(2, 4, 8)
    with pytest.raises(TypeError, match=r"lengths.*lenghts"):
        TemporalShift()(x, lenghts=torch.tensor([1, 2]))
    with pytest.raises(TypeError, match=r"lengths.*Tensor"):
        TemporalShift()(x, torch.tensor([1, 2]))


@pytest.mark.parametrize("make", [TemporalShift, lambda: TemporalShift(nn.Linear(12, 5)), lambda: ShiftLSTM(12, 5)])
@pytest.mark.parametrize("x", [None, [[1.0] * 12], torch.zeros(2, 5, 12).numpy()], ids=["None", "list", "array"])
def test_an_input_that_is_not_a_tensor_raises_an_error(make, x):
    with pytest.raises(TypeError, match=rf"x must be a torch\.Tensor.*{type(x).__name__}"):
        make()(x)
