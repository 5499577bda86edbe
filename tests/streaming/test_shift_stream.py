"""The stream of a shift gives the output of the shift on the whole sequence, bit for bit."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_shift import TemporalShift, temporal_shift
from temporal_shift.streaming import ShiftStream

from ..core.samples import examples, movements, numbered


@st.composite
def streamed(draw: st.DrawFn) -> tuple[torch.Tensor, list[int], dict[str, Any]]:
    batch, channels = draw(st.lists(st.integers(0, 3), max_size=2)), draw(st.integers(2, 9))
    chunks = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    arguments = {**draw(movements(channels)), "padding_mode": draw(st.sampled_from(["zeros", "replicate"]))}
    x = numbered((*batch, sum(chunks), channels), draw(st.sampled_from([torch.float32, torch.bfloat16, torch.int64])))
    if draw(st.booleans()):
        return x.transpose(-1, -2), chunks, {**arguments, "time_dim": -1, "channel_dim": -2}
    return x, chunks, arguments


@settings(max_examples=examples(150))
@given(streamed())
def test_chunks_of_any_length_and_the_flush_equal_the_whole_bit_for_bit(case):
    x, lengths, arguments = case
    time = arguments.get("time_dim", -2)
    stream = TemporalShift(**arguments).stream()
    returned = 0
    outputs = []
    for end, chunk in zip(torch.tensor(lengths).cumsum(0).tolist(), x.split(lengths, dim=time), strict=True):
        outputs.append(stream(chunk))
        returned += outputs[-1].shape[time]
        assert returned == max(0, end - stream.delay)
    outputs.append(stream.flush())
    assert torch.equal(torch.cat(outputs, dim=time), temporal_shift(x, **arguments))


@pytest.mark.parametrize(
    ("arguments", "delay"),
    [
        ({"stride": 3}, 0),
        ({"stride": 3, "bidirectional": True}, 3),
        ({"stride": -2}, 2),
        ({"stride": -2, "bidirectional": True}, 2),
        ({"groups": [(2, 1), (1, -4)]}, 4),
        ({"groups": []}, 0),
    ],
)
def test_the_delay_is_how_far_the_shift_reads_into_the_future(arguments, delay):
    stream = TemporalShift(**arguments).stream()
    assert stream.delay == delay
    assert stream(numbered((1, 10, 8))).shape[1] == 10 - delay


@pytest.mark.parametrize(
    ("padding_mode", "at"), [("zeros", 0), ("zeros", 2), ("replicate", 0), ("replicate", 1), ("replicate", 7)]
)
def test_another_stream_continues_from_a_saved_state(padding_mode, at):
    shift = TemporalShift(n_div=4, stride=2, bidirectional=True, padding_mode=padding_mode)
    x = torch.randn(2, 11, 8)
    first = shift.stream()
    outputs = [first(x[:, :at])]
    file = io.BytesIO()
    torch.save(first.state, file)
    file.seek(0)
    second = shift.stream(torch.load(file, weights_only=True))
    outputs += [second(x[:, at:]), second.flush()]
    assert torch.equal(torch.cat(outputs, dim=1), shift(x))


def test_a_state_contains_only_the_last_frames():
    stream = TemporalShift(stride=2).stream()
    stream(torch.randn(1, 1000, 8))
    assert stream.state.shape == (1, 2, 8)
    assert stream.state.untyped_storage().nbytes() == 2 * 8 * 4


def test_flush_resets_the_stream():
    shift = TemporalShift(n_div=2, bidirectional=True, padding_mode="replicate")
    stream, x = shift.stream(), torch.randn(1, 5, 4)
    for _ in range(2):
        assert torch.equal(torch.cat([stream(x), stream.flush()], dim=1), shift(x))


def test_gradients_through_chunks_equal_those_of_the_whole():
    x = torch.randn(1, 6, 4, dtype=torch.float64, requires_grad=True)
    shift = TemporalShift(n_div=2, stride=2, bidirectional=True, padding_mode="replicate")
    stream = shift.stream()
    pieces = torch.cat([stream(x[:, :1]), stream(x[:, 1:4]), stream(x[:, 4:]), stream.flush()], dim=1)
    weight = torch.randn_like(x)
    assert torch.allclose(torch.autograd.grad(pieces, x, weight)[0], torch.autograd.grad(shift(x), x, weight)[0])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: TemporalShift(padding_mode="circular").stream(), "padding_mode.*'zeros' or 'replicate'.*'circular'"),
        (lambda: TemporalShift(torch.nn.Conv1d(8, 8, 3)).stream(), "^Conv1d cannot stream"),
        (lambda: TemporalShift().stream().flush(), r"flush\(\).*first chunk"),
        (
            lambda: TemporalShift().stream(torch.zeros(2, 1, 8))(torch.zeros(3, 4, 8)),
            r"chunk must.*\(2, 1, 8\)\), got .*\(3, 4, 8\)",
        ),
        (
            lambda: TemporalShift(stride=2).stream(torch.zeros(2, 5, 8))(torch.zeros(2, 4, 8)),
            r"state must have a number of frames in \[2, 2\].*5",
        ),
        (lambda: TemporalShift(n_div=9).stream()(torch.zeros(2, 4, 8)), r"n_div.*\[1, 8\].*9"),
        (lambda: ShiftStream(groups=[(2, 1)], n_div=8), r"n_div.*None.*groups.*n_div=8"),
        (lambda: ShiftStream(n_div=1, bidirectional=True), "n_div must be at least 2.*1"),
        (lambda: ShiftStream(padding_mode="reflect"), "padding_mode.*'reflect'"),
    ],
)
def test_errors_name_the_wrong_argument_chunk_or_state(act, message):
    with pytest.raises(ValueError, match=message):
        act()
