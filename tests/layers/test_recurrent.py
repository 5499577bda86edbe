"""ShiftLSTM is an nn.LSTM."""

from __future__ import annotations

import copy
import inspect

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from temporal_shift import ShiftLSTM, temporal_shift

OPTIONS = [
    {},
    {"batch_first": True},
    {"num_layers": 2, "bidirectional": True},
    {"proj_size": 3, "bias": False, "batch_first": True},
    {"batch_first": True, "bidirectional": True},
]


def twins(options: dict, **shift) -> tuple[ShiftLSTM, nn.LSTM]:
    """A ShiftLSTM and an nn.LSTM with the same weights."""
    ours, torchs = ShiftLSTM(12, 8, **options, **shift), nn.LSTM(12, 8, **options)
    torchs.load_state_dict(ours.state_dict())
    return ours, torchs


def assert_equal(ours, torchs):
    torch.testing.assert_close(ours, torchs, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(5, 6, 12), (5, 12)])
def test_with_stride_0_it_is_nn_lstm_bit_for_bit(options, shape):
    ours, torchs = twins(options, stride=0)
    x = torch.randn(shape)
    assert isinstance(ours, nn.LSTM)
    assert_equal(ours(x), torchs(x))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(5, 6, 12), (5, 12)])
def test_it_is_nn_lstm_on_the_shifted_input(options, shape):
    ours, torchs = twins(options, n_div=3, stride=2, bidirectional_shift=True)
    x = torch.randn(shape)
    time_dim = 1 if options.get("batch_first") and x.dim() == 3 else 0
    shifted = temporal_shift(x, n_div=3, stride=2, bidirectional=True, time_dim=time_dim)
    assert_equal(ours(x), torchs(shifted))


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("stride", [0, 1, -2])
def test_a_packed_batch_is_shifted_within_each_sequence(enforce_sorted, stride):
    ours, torchs = twins({}, stride=stride, bidirectional_shift=True)
    lengths = (6, 4, 1) if enforce_sorted else (4, 1, 6)
    sequences = [torch.randn(length, 12) for length in lengths]
    shifted = [temporal_shift(s, n_div=4, stride=stride, bidirectional=True) for s in sequences]
    output, state = ours(pack_sequence(sequences, enforce_sorted))
    expected, expected_state = torchs(pack_sequence(shifted, enforce_sorted))
    assert isinstance(output, PackedSequence)
    assert_equal(output.data, expected.data)
    assert_equal(state, expected_state)
    assert_equal(output.unsorted_indices, expected.unsorted_indices)


def test_the_initial_state_is_used():
    ours, torchs = twins({}, stride=0)
    x, state = torch.randn(5, 2, 12), (torch.randn(1, 2, 8), torch.randn(1, 2, 8))
    assert_equal(ours(x, state), torchs(x, state))


def test_it_takes_every_argument_of_nn_lstm():
    theirs = {"input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"}
    assert theirs < set(inspect.signature(ShiftLSTM).parameters)
    positional = ShiftLSTM(12, 8, 2, True, True, 0.0, True, 3)
    assert repr(nn.LSTM(12, 8, 2, True, True, 0.0, True, 3))[len("LSTM(") : -1] in repr(positional)


def test_a_deep_copy_gives_the_same_output():
    layer, x = ShiftLSTM(12, 8), torch.randn(5, 2, 12)
    assert_equal(copy.deepcopy(layer)(x), layer(x))


def test_its_repr_says_what_is_shifted():
    assert "12, 8, batch_first=True, n_div=4, stride=1, bidirectional_shift=False" in repr(
        ShiftLSTM(12, 8, batch_first=True)
    )
