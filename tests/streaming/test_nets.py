"""The stream of a net gives the output of the net on the whole sequence."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from temporal_shift import (
    ShiftGRU,
    ShiftLSTM,
    ShiftTransformerLayer,
    TemporalShift,
    add_temporal_shift,
    remove_temporal_shift,
)
from temporal_shift.streaming import ChainedStream, RunningMean, stream

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUTS = ["batch first", "time-major", "unbatched"]
BOTH_WAYS = {"stride": 2, "bidirectional": True}
chunk_lengths = st.lists(st.integers(0, 4), min_size=1, max_size=6)


def frames(count: int, layout: str = "batch first", channels: int = 8) -> tuple[Tensor, int]:
    """One or two sequences in one tensor, and the dim of their frames."""
    shape, time = {
        "batch first": ((2, count, channels), 1),
        "time-major": ((count, 2, channels), 0),
        "unbatched": ((count, channels), 0),
    }[layout]
    return torch.randn(shape, dtype=torch.float64), time


def offline(net: nn.Module, x: Tensor) -> Tensor:
    output = net(x)
    return output if isinstance(output, Tensor) else output[0]


def fed_in(x: Tensor, lengths: list[int], time: int, live: ChainedStream) -> Tensor:
    """The output of the stream for all chunks and the flush. Checks the number of frames after each chunk."""
    outputs, returned, fed = [], 0, 0
    for chunk in x.split(lengths, dim=time):
        outputs.append(live(chunk))
        fed += chunk.shape[time]
        returned += outputs[-1].shape[time]
        assert returned == max(0, fed - live.delay)
    return torch.cat([*outputs, live.flush()], dim=time)


def saved_and_loaded(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def bytes_of(state: Any) -> int:
    if isinstance(state, Tensor):
        return state.untyped_storage().nbytes()
    return sum(map(bytes_of, state)) if isinstance(state, tuple) else 0


@dataclass(frozen=True)
class Net:
    """A net that supports streaming, with inputs of 8 channels, its delay in frames, and the layout of its input."""

    module: nn.Module
    delay: int
    layout: str = "batch first"

    def __post_init__(self) -> None:
        self.module.double().eval()


def block(**options: Any) -> ShiftTransformerLayer:
    return ShiftTransformerLayer(8, 2, 16, **{"batch_first": True, **options})


def nets() -> dict[str, Net]:
    """Nets that support streaming, by name."""
    return {
        "shift": Net(TemporalShift(**BOTH_WAYS), 2),
        "shift and linear": Net(TemporalShift(nn.Linear(8, 5), padding_mode="replicate", **BOTH_WAYS), 2),
        "shift in a shift": Net(TemporalShift(TemporalShift(nn.Linear(8, 5), stride=-3), **BOTH_WAYS), 5),
        "LSTM": Net(ShiftLSTM(8, 6, 2, batch_first=True), 0),
        "LSTM with a projection": Net(ShiftLSTM(8, 6, 2, proj_size=3, batch_first=True, bidirectional_shift=True), 1),
        "GRU, every layer": Net(
            ShiftGRU(8, 6, 3, shift_every_layer=True, bidirectional_shift=True, stride=2), 6, "time-major"
        ),
        "LSTM, unbatched, every layer": Net(ShiftLSTM(8, 6, 2, shift_every_layer=True, stride=-1), 2, "unbatched"),
        "shift and LSTM": Net(TemporalShift(ShiftLSTM(8, 6, bidirectional_shift=True), stride=-2), 3, "time-major"),
        "Shiftformer block": Net(block(norm_first=True, stride=2), 2),
        "encoder": Net(nn.TransformerEncoder(block(), 2, nn.LayerNorm(8), enable_nested_tensor=False), 2),
        "time-major encoder": Net(
            nn.TransformerEncoder(block(batch_first=False, stride=2), 2, enable_nested_tensor=False), 4, "time-major"
        ),
        "stack": Net(
            nn.Sequential(
                nn.Linear(8, 8),
                nn.GELU(),
                nn.TransformerEncoder(block(bidirectional=False), 2, enable_nested_tensor=False),
                nn.Sequential(nn.Dropout(0.5), block(stride=2), nn.RMSNorm(8)),
                TemporalShift(nn.Linear(8, 5), stride=-1),
                nn.Identity(),
                nn.ReLU(),
                nn.SiLU(),
                nn.Tanh(),
                nn.Sigmoid(),
            ),
            3,
        ),
    }


each_net = pytest.mark.parametrize("net", nets().values(), ids=nets().keys())
SOME = ["shift and linear", "LSTM with a projection", "GRU, every layer", "stack"]  # batch-first and time-major
some_nets = pytest.mark.parametrize("net", [nets()[name] for name in SOME], ids=SOME)


@each_net
@settings(max_examples=15)
@given(lengths=chunk_lengths.filter(sum))
def test_chunks_of_any_length_and_the_flush_equal_the_whole(net, lengths):
    x, time = frames(sum(lengths), net.layout)
    live = stream(net.module)
    assert live.delay == net.delay
    torch.testing.assert_close(fed_in(x, lengths, time, live), offline(net.module, x))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", [ShiftLSTM, ShiftGRU])
@settings(max_examples=60)
@given(
    lengths=chunk_lengths.filter(sum),
    layers=st.integers(1, 3),
    stride=st.sampled_from([0, 1, 2, -1]),
    both_ways=st.booleans(),
    every=st.booleans(),
    proj_size=st.sampled_from([0, 4]),
    batch_first=st.booleans(),
)
def test_a_recurrent_layer_streams_with_any_shift(
    kind, layout, lengths, layers, stride, both_ways, every, proj_size, batch_first
):
    if layout != "unbatched":
        batch_first = layout == "batch first"
    options = {"proj_size": proj_size} if kind is ShiftLSTM else {}
    shift = {"stride": stride, "bidirectional_shift": both_ways, "shift_every_layer": every}
    layer = kind(8, 6, layers, batch_first=batch_first, dtype=torch.float64, **options, **shift).eval()
    x, time = frames(sum(lengths), layout)
    live = layer.stream()
    ahead = abs(stride) if both_ways else max(0, -stride)
    assert live.delay == ahead * (layers if every else 1)
    torch.testing.assert_close(fed_in(x, lengths, time, live), layer(x)[0])


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=60)
@given(
    lengths=chunk_lengths,
    stride=st.sampled_from([0, 1, 2, -1]),
    both_ways=st.booleans(),
    norm_first=st.booleans(),
    batch_first=st.booleans(),
)
def test_a_shiftformer_block_streams_with_any_shift(layout, lengths, stride, both_ways, norm_first, batch_first):
    if layout != "unbatched":
        batch_first = layout == "batch first"
    layer = (
        block(batch_first=batch_first, norm_first=norm_first, stride=stride, bidirectional=both_ways).double().eval()
    )
    x, time = frames(sum(lengths), layout)
    live = layer.stream()
    assert live.delay == (abs(stride) if both_ways else max(0, -stride))
    torch.testing.assert_close(fed_in(x, lengths, time, live), layer(x))


@pytest.mark.parametrize(
    ("net", "at"), [*((net, 7) for net in nets().values()), (nets()["stack"], 0), (nets()["stack"], 1)]
)
def test_another_stream_continues_from_a_saved_state(net, at):
    x, time = frames(11, net.layout)
    first = stream(net.module)
    before, after = x.split([at, 11 - at], dim=time)
    outputs = [first(before)]
    second = stream(net.module, saved_and_loaded(first.state))
    outputs += [second(after), second.flush()]
    torch.testing.assert_close(torch.cat(outputs, dim=time), offline(net.module, x))


@pytest.mark.parametrize("layer", [ShiftLSTM(8, 6), ShiftGRU(8, 6), block(batch_first=False), TemporalShift()])
def test_the_stream_method_of_a_layer_takes_a_state(layer):
    layer.double().eval()
    x, _ = frames(9, "unbatched")
    first = layer.stream()
    outputs = [first(x[:4])]
    second = layer.stream(saved_and_loaded(first.state))
    outputs += [second(x[4:]), second.flush()]
    torch.testing.assert_close(torch.cat(outputs), offline(layer, x))


@some_nets
def test_flush_resets_the_stream(net):
    live = stream(net.module)
    for count in (6, 9):
        x, time = frames(count, net.layout)
        torch.testing.assert_close(fed_in(x, [count - 2, 2], time, live), offline(net.module, x))


@some_nets
def test_a_stream_without_frames_returns_no_frames(net):
    x, time = frames(0, net.layout)
    live = stream(net.module)
    assert live(x).shape[time] == 0
    assert live.flush().shape[time] == 0


@some_nets
def test_two_streams_of_a_net_are_independent(net):
    (x, time), (other, _) = frames(5, net.layout), frames(5, net.layout)
    first, second = stream(net.module), stream(net.module)
    outputs = []
    for a, b in zip(x.split(2, dim=time), other.split(2, dim=time), strict=True):
        outputs.append(first(a))
        second(b)
    torch.testing.assert_close(torch.cat([*outputs, first.flush()], dim=time), offline(net.module, x))


@some_nets
def test_gradients_through_chunks_equal_those_of_the_whole(net):
    x, time = frames(9, net.layout)
    x.requires_grad_()
    pieces, whole = fed_in(x, [1, 0, 5, 3], time, stream(net.module)), offline(net.module, x)
    weight, inputs = torch.randn_like(whole), [x, *net.module.parameters()]
    torch.testing.assert_close(torch.autograd.grad(pieces, inputs, weight), torch.autograd.grad(whole, inputs, weight))


@some_nets
@torch.no_grad()
def test_the_size_of_a_state_does_not_depend_on_the_number_of_frames(net):
    sizes = []
    for chunks in ([40], [4000], [40] * 10):
        live = stream(net.module)
        for count in chunks:
            live(frames(count, net.layout)[0])
        sizes.append(bytes_of(live.state))
    assert sizes == [sizes[0]] * 3


def test_a_causal_net_returns_every_frame_of_a_chunk_at_once():
    net = nn.Sequential(block(bidirectional=False, stride=3), TemporalShift(nn.Linear(8, 5))).double().eval()
    live = stream(net)
    x, _ = frames(7)
    assert live.delay == 0
    torch.testing.assert_close(torch.cat([live(x[:, :1]), live(x[:, 1:])], dim=1), net(x))
    assert live.flush().shape == (2, 0, 5)


def test_a_shift_before_a_time_major_block_uses_its_time_dim():
    net = TemporalShift(block(batch_first=False), bidirectional=True).double().eval()
    x, time = frames(7, "time-major")
    alone = torch.stack([net(sequence) for sequence in x.unbind(1)], dim=1)
    torch.testing.assert_close(net(x), alone)
    torch.testing.assert_close(fed_in(x, [2, 0, 5], time, stream(net)), alone)


def test_in_a_stack_only_the_output_of_a_recurrent_layer_is_passed_on():
    lstm, head = ShiftLSTM(8, 6, batch_first=True, bidirectional_shift=True).double(), nn.Linear(6, 4).double()
    x, time = frames(9)
    live = stream(nn.Sequential(lstm, head))
    torch.testing.assert_close(fed_in(x, [2, 0, 7], time, live), head(lstm(x)[0]))


@given(lengths=st.lists(st.integers(0, 4), min_size=2, max_size=5).filter(lambda lengths: lengths[0] > 0))
@settings(max_examples=25)
def test_the_mean_and_a_head_predict_from_all_frames_so_far(lengths):
    net, head = block(bidirectional=False).double().eval(), nn.Linear(8, 4).double()
    x, _ = frames(sum(lengths))
    live, mean, fed = stream(net), RunningMean(), 0
    for chunk in x.split(lengths, dim=1):
        prediction = head(mean(live(chunk)))
        fed += chunk.shape[1]
        torch.testing.assert_close(prediction, head(net(x[:, :fed]).mean(1)))
    torch.testing.assert_close(prediction, head(net(x).mean(1)))


def test_with_a_delay_the_flush_completes_the_prediction():
    net, head = nn.TransformerEncoder(block(), 2, enable_nested_tensor=False).double().eval(), nn.Linear(8, 4).double()
    x, _ = frames(9)
    live, mean = stream(net), RunningMean()
    for chunk in x.split(2, dim=1):
        mean(live(chunk))
    torch.testing.assert_close(head(mean(live.flush())), head(net(x).mean(1)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_mean_is_right_in_every_layout(layout):
    x, time = frames(7, layout)
    mean = RunningMean(time)
    first, second = x.split([3, 4], dim=time)
    torch.testing.assert_close(mean(first), first.mean(time))
    torch.testing.assert_close(mean(second), x.mean(time))


def test_the_mean_is_nan_before_the_first_frame():
    mean, (x, _) = RunningMean(), frames(3)
    empty = mean(x[:, :0])
    assert empty.shape == (2, 8)
    assert empty.isnan().all()
    torch.testing.assert_close(mean(x), x.mean(1))


def test_another_mean_continues_from_a_saved_state():
    x, _ = frames(7)
    first = RunningMean()
    first(x[:, :3])
    torch.testing.assert_close(RunningMean(state=saved_and_loaded(first.state))(x[:, 3:]), x.mean(1))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ShiftLSTM(8, 6, bidirectional=True).stream(), "bidirectional must be False.*True.*LSTM"),
        (lambda: block(placement="residual").stream(), "placement must be 'replace'.*'residual'"),
        (lambda: stream(nn.Sequential(block(), nn.Conv1d(8, 8, 3))), "^Conv1d cannot stream"),
        (lambda: stream(nn.LayerNorm((3, 8))), "^LayerNorm cannot stream"),
        (
            lambda: stream(nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 1)),
            "^TransformerEncoderLayer cannot stream",
        ),
        (lambda: stream(nn.Sequential(block(), block(batch_first=False))), r"time_dim must be the same.*\[-2, 0\]"),
        (
            lambda: TemporalShift(nn.Linear(8, 8), time_dim=-1, channel_dim=-2).stream(),
            "time_dim must not be -1",
        ),
        (lambda: block().stream((None,)), "state.*length 2.*length 1"),
        (lambda: stream(nn.Sequential(block(), nn.Linear(8, 5)), (None,) * 4), "state.*length 3.*length 4"),
        (lambda: ShiftLSTM(8, 6).stream(torch.zeros(2, 8)), "state.*length 2.*Tensor"),
        (lambda: stream(block()).flush(), r"flush\(\).*first chunk"),
        (lambda: stream(nn.Sequential(nn.Linear(8, 8), nn.GELU())).flush(), r"flush\(\) needs a net with a shift"),
    ],
)
def test_unsupported_nets_arguments_and_states_raise_an_error(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_a_state_of_the_wrong_type_raises_an_error():
    with pytest.raises(TypeError, match=r"state must be .*torch\.Tensor.*, got tuple"):
        TemporalShift().stream(("a", None))(torch.zeros(2, 4, 8))


@pytest.mark.parametrize(
    "layer", [ShiftLSTM(3, 6, batch_first=True, stride=0), ShiftGRU(3, 6, 2, True, True, stride=0)]
)
def test_with_stride_0_the_number_of_channels_may_be_less_than_n_div(layer):
    x, live = torch.randn(2, 5, 3), layer.stream()
    torch.testing.assert_close(torch.cat([live(x), live.flush()], dim=1), layer(x)[0])


def test_a_chunk_that_raises_an_error_does_not_change_the_stream():
    layer = ShiftLSTM(8, 6, batch_first=True)
    live, x = layer.stream(), torch.randn(2, 7, 8)
    with pytest.raises(RuntimeError):
        live(torch.randn(2, 3, 9))
    torch.testing.assert_close(torch.cat([live(x), live.flush()], dim=1), layer(x)[0])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: RunningMean("1"), "time_dim must be an int, got '1'"),
        (lambda: RunningMean(3)(torch.zeros(1, 4, 8)), r"time_dim must be a dim of the frames \(1, 4, 8\), got 3"),
        (lambda: RunningMean()([0.0]), r"frames must be a torch\.Tensor, got list"),
        (lambda: RunningMean(state=3), "state must be .*, got 3"),
        (lambda: RunningMean(state=(torch.zeros(1, 8), 0.5)), r"state must be .*, got .*0\.5"),
        (lambda: RunningMean(state=(torch.zeros(1, 8), -4)), "state must be .*, got .*-4"),
    ],
)
def test_a_running_mean_raises_an_error_for_wrong_dims_frames_and_states(act, message):
    with pytest.raises((TypeError, ValueError), match=message):
        act()


def test_a_running_mean_sums_half_precision_in_float32_and_checks_later_frames():
    mean = RunningMean()
    for _ in range(3):
        found = mean(torch.full((2, 1000, 4), 100.0, dtype=torch.float16))
    assert torch.equal(found, torch.full((2, 4), 100.0, dtype=torch.float16))
    state = mean.state
    for frames, message in (
        (torch.zeros(1, 5, 4), r"shape.*\(2, 4\).*\(1, 4\)"),
        (torch.zeros(2, 5, 4, dtype=torch.float64), r"dtype.*torch\.float32.*torch\.float64"),
        (torch.zeros(2, 5, 4, device="meta"), r"device.*cpu.*meta"),
    ):
        with pytest.raises(ValueError, match=rf"the sum of frames .* same {message}"):
            mean(frames)
    for dtype in (torch.int64, torch.bool):
        with pytest.raises(TypeError, match=rf"frames must be floating point or complex, got {dtype}"):
            RunningMean()(torch.ones(2, 5, 4, dtype=dtype))
    assert mean.state is state


@pytest.mark.parametrize(
    ("shift", "module"),
    [
        ({"where": nn.Linear}, "Linear (0.1)"),
        ({"where": "0", "placement": "residual", "branch": "1"}, "Sequential (0)"),
        ({"where": ShiftTransformerLayer, "stride": 2}, "ShiftTransformerLayer (1)"),
    ],
)
def test_a_net_with_a_shift_from_surgery_raises_an_error(shift, module):
    layer = ShiftTransformerLayer(8, 2, 16, batch_first=True)
    net = nn.Sequential(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8)), layer).eval()
    add_temporal_shift(net, **shift)
    with pytest.raises(
        ValueError, match=rf"^{re.escape(module)} cannot stream with a shift from add_temporal_shift\(\)"
    ):
        stream(net)
    remove_temporal_shift(net)
    assert stream(net).delay == 1


@pytest.mark.parametrize(
    "layer",
    [TemporalShift(), ShiftLSTM(8, 8), ShiftGRU(8, 8), ShiftTransformerLayer(8, 2, 16)],
    ids=lambda x: type(x).__name__,
)
def test_the_stream_method_of_a_layer_with_a_shift_from_surgery_raises_an_error(layer):
    add_temporal_shift(nn.ModuleList([layer]), "0", n_div=4)
    with pytest.raises(ValueError, match=f"^{type(layer).__name__} cannot stream with a shift from add_temporal_shift"):
        layer.stream()
