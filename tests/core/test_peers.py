"""Tests for the rows of docs/comparison.md: this package computes what others publish, and lacks their bugs.

Prefixes of the tests of bugs: ``ser`` is ShiftSER, ``tsm`` the Temporal Shift Module, ``fla`` the token shift of
flash-linear-attention, ``xt`` x-transformers.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from einops import rearrange
from torch import nn

import temporal_shift as package
from temporal_shift import TemporalShift, temporal_shift, temporal_shift_add

from .. import reference
from .samples import PADDING_MODES, as_numpy, gallery, numbered

# Each published shift is one call of temporal_shift.


@pytest.mark.parametrize("shifts", [(1,), (0, 1), (1, -1), (1, 0, -2, 3), (0, 1, 2, 3, 4), (9,)])
def test_x_transformers_multi_step_shift_is_one_call(shifts):
    from x_transformers.x_transformers import ShiftTokens

    x = torch.randn(2, 8, 21)
    width = x.shape[-1] // len(shifts)
    y = temporal_shift(x, groups=[(width, step) for step in shifts])
    assert torch.equal(y, ShiftTokens(shifts, nn.Identity())(x))


def test_x_transformers_masked_shift_is_one_call_with_lengths():
    from x_transformers.x_transformers import shift

    x, lengths = torch.randn(2, 8, 6), torch.tensor([8, 3])
    mask = torch.arange(8) < lengths[:, None]
    theirs = shift(x, 1, mask=mask).masked_fill(~mask[..., None], 0.0)
    assert torch.equal(temporal_shift(x, groups=[(6, 1)], lengths=lengths), theirs)


def test_tsm_on_frames_in_the_batch_dim_is_one_call():
    """TSM, Lin et al., ICCV 2019, section 3: an eighth of the channels reads the future, the next eighth the past."""
    frames, fold = torch.randn(2 * 5, 16, 3, 4), 16 // 8
    x = rearrange(frames, "(n t) c h w -> n t c h w", t=5)
    y = torch.zeros_like(x)
    y[:, :-1, :fold] = x[:, 1:, :fold]
    y[:, 1:, fold : 2 * fold] = x[:, :-1, fold : 2 * fold]
    y[:, :, 2 * fold :] = x[:, :, 2 * fold :]
    assert torch.equal(temporal_shift(x, n_div=8, stride=-1, bidirectional=True, time_dim=1, channel_dim=2), y)


def test_rwkvs_whole_width_shift_is_one_call():
    """RWKV, Peng et al., 2023, section 3: ``nn.ZeroPad2d((0, 0, 1, -1))``."""
    x = torch.randn(2, 7, 5)
    assert torch.equal(temporal_shift(x, groups=[(5, 1)]), nn.ZeroPad2d((0, 0, 1, -1))(x))


@pytest.mark.parametrize("dim", [2, 3])
def test_as_mlps_axial_shift_is_one_call(dim):
    """AS-MLP, Lian et al., ICLR 2022, section 3.2: chunks of channels, rolled by -2 to 2 inside zero padding."""
    size, x = 5, torch.randn(2, 13, 9, 9)  # (B, C, H, W)
    pad, steps = size // 2, range(-(size // 2), size // 2 + 1)
    padded = nn.functional.pad(x, (pad,) * 4)
    rolled = [torch.roll(part, step, dim) for part, step in zip(padded.chunk(size, 1), steps, strict=True)]
    theirs = torch.cat(rolled, 1).narrow(2, pad, 9).narrow(3, pad, 9)
    groups = [(part.shape[1], step) for part, step in zip(x.chunk(size, 1), steps, strict=True)]
    assert torch.equal(temporal_shift(x, groups=groups, time_dim=dim, channel_dim=1), theirs)


# Features in the rows of the comparison, in order.


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, [0, 1, 2]), ({"stride": -1}, [2, 3, 0]), ({"bidirectional": True}, [0, 1, 2])],
    ids=["past", "future", "both"],
)
def test_a_shift_reads_the_past_the_future_or_both(arguments, expected):
    x = torch.tensor([1.0, 2, 3]).view(1, 3, 1).expand(1, 3, 2)
    y = temporal_shift(x, n_div=2, **arguments)
    assert y[0, :, 0].tolist() == expected
    assert y[0, :, 1].tolist() == ([2, 3, 0] if arguments.get("bidirectional") else [1, 2, 3])


@pytest.mark.parametrize("stride", [-100, -3, 0, 3, 100, 10**12])
def test_the_stride_can_be_any_int(stride):
    x = numbered((1, 6, 4))
    assert (
        as_numpy(temporal_shift(x, n_div=2, stride=stride))
        == reference.temporal_shift(as_numpy(x), n_div=2, stride=stride)
    ).all()


@pytest.mark.parametrize("n_div", [2, 3, 5, 12])
def test_one_in_n_div_channels_moves_per_direction(n_div):
    x = torch.ones(1, 1, 12)
    assert (temporal_shift(x, n_div=n_div, bidirectional=True) == 0).sum() == 2 * (12 // n_div)


def test_padding_is_zeros_replicate_and_circular():
    x = torch.tensor([1.0, 2, 3]).view(1, 3, 1)
    by_mode = {
        mode: temporal_shift(x, n_div=1, stride=2, padding_mode=mode).flatten().tolist() for mode in PADDING_MODES
    }
    assert by_mode == {"zeros": [0, 0, 1], "replicate": [1, 1, 1], "circular": [2, 3, 1]}


def test_frames_and_channels_can_be_any_two_dims():
    x = numbered((2, 5, 3, 8))
    expected = temporal_shift(x.permute(0, 2, 1, 3), n_div=4).permute(0, 2, 1, 3)
    assert torch.equal(temporal_shift(x, n_div=4, time_dim=1), expected)
    assert torch.equal(temporal_shift(x.transpose(1, 3), n_div=4, time_dim=3, channel_dim=1), expected.transpose(1, 3))


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("name", ["lengths", "cu_seqlens"])
def test_variable_length_sequences_are_shifted_as_if_alone(padding_mode, name):
    arguments = {"n_div": 3, "stride": 2, "bidirectional": True, "padding_mode": padding_mode}
    sequences = [torch.randn(length, 7) for length in (5, 1, 0, 9, 2)]
    alone = [temporal_shift(sequence, **arguments) for sequence in sequences]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    if name == "cu_seqlens":
        ends = nn.functional.pad(lengths.cumsum(0), (1, 0)).int()
        assert torch.equal(temporal_shift(torch.cat(sequences), **arguments, cu_seqlens=ends), torch.cat(alone))
    else:
        padded = nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=float("nan"))
        expected = nn.utils.rnn.pad_sequence(alone, batch_first=True)
        assert torch.equal(temporal_shift(padded, **arguments, lengths=lengths), expected)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_padding_affects_no_valid_frame_and_no_gradient(padding_mode):
    clean, lengths = torch.randn(3, 9, 12), torch.tensor([9, 1, 0])
    inside = (torch.arange(9) < lengths[:, None])[..., None]
    dirty = clean.masked_fill(~inside, float("nan")).requires_grad_()
    y = temporal_shift(dirty, lengths=lengths, padding_mode=padding_mode, bidirectional=True)
    assert torch.equal(y, temporal_shift(clean, lengths=lengths, padding_mode=padding_mode, bidirectional=True))
    y.backward(torch.full_like(y, float("nan")).masked_fill(inside, 1.0))
    assert torch.equal(dirty.grad, torch.where(inside, dirty.grad, 0.0))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_streaming_equals_offline_exactly(chunk):
    shift, x = TemporalShift(n_div=4, stride=2, bidirectional=True), torch.randn(2, 7, 8)
    stream = shift.stream()
    assert torch.equal(torch.cat([*map(stream, x.split(chunk, 1)), stream.flush()], 1), shift(x))


def test_autograd_detects_an_in_place_shift_of_a_saved_tensor():
    h = torch.randn(1, 4, 8, requires_grad=True).exp()  # the backward of exp needs its output
    version = h._version
    loss = temporal_shift(h, inplace=True).sum()
    assert h._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_in_place_writes_only_to_the_channels_that_move():
    x = torch.randn(2, 5, 8)
    still = x[..., 4:].clone()
    pointer = x.data_ptr()
    y = temporal_shift(x, n_div=4, bidirectional=True, inplace=True)
    assert y is x
    assert y.data_ptr() == pointer
    assert torch.equal(x[..., 4:], still)


DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex32,
    torch.complex64,
    torch.complex128,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2fnuz,
]


@pytest.mark.parametrize(
    ("dtype", "padding_mode"), list(zip(DTYPES, itertools.cycle(PADDING_MODES), strict=False)), ids=str
)
def test_every_dtype_is_supported(dtype, padding_mode):
    words = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}[dtype.itemsize]
    x = torch.randint(0, 2, (2, 5, 4)).to(words)  # these bit patterns are valid in every dtype
    arguments = {"n_div": 2, "bidirectional": True, "padding_mode": padding_mode}
    expected = temporal_shift(x, **arguments)
    y = temporal_shift(x.view(dtype), **arguments)
    assert y.dtype == dtype
    assert torch.equal(y.view(words), expected)
    assert torch.equal(temporal_shift(x.view(dtype).clone(), **arguments, inplace=True).view(words), expected)


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
def test_double_backward_is_right(padding_mode):
    x = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(
        temporal_shift(x, n_div=2, padding_mode=padding_mode).pow(3).sum(), x, create_graph=True
    )
    (second,) = torch.autograd.grad(first.sum(), x)
    reads = torch.autograd.functional.jacobian(lambda x: temporal_shift(x, n_div=2, padding_mode=padding_mode), x)
    times_read = reads.reshape(16, 16).sum(0).view_as(x)
    assert torch.allclose(second, 6 * x * times_read)


def test_the_fused_sum_equals_shift_plus_residual():
    x, residual = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    assert torch.equal(temporal_shift_add(x, residual), temporal_shift(x) + residual)


def test_install_needs_no_compiler():
    sources = {path.suffix for path in Path(package.__file__).parent.rglob("*")}
    assert not sources & {".c", ".cc", ".cpp", ".cu", ".cuh", ".hip", ".pyx", ".rs", ".so"}


# Bugs that other packages have and this one does not.


def test_ser_replicate_padding_does_not_change_the_input_and_reads_only_the_edge():
    x = torch.randn(1, 5, 8)
    before = x.clone()
    y = temporal_shift(x, n_div=4, stride=2, padding_mode="replicate")
    assert torch.equal(x, before)
    assert torch.equal(y[:, 2:, :2], x[:, :-2, :2])
    assert torch.equal(y[:, :2, :2], x[:, :1, :2].expand(1, 2, 2))


def test_ser_an_odd_last_channel_is_not_zeroed():
    x = numbered((1, 4, 7))
    assert torch.equal(temporal_shift(x, n_div=2, bidirectional=True)[..., -1], x[..., -1])


def test_ser_a_stride_of_0_is_the_identity():
    x = numbered((1, 4, 8))
    assert torch.equal(temporal_shift(x, stride=0), x)


def test_fla_the_number_of_sequences_may_equal_the_longest_length():
    x, cu_seqlens = torch.randn(7, 4), torch.tensor([0, 3, 5, 7])  # three sequences, the longest of three frames
    alone = [temporal_shift(part, groups=[(4, 1)]) for part in x.split([3, 2, 2])]
    assert torch.equal(temporal_shift(x, groups=[(4, 1)], cu_seqlens=cu_seqlens), torch.cat(alone))
    padded, lengths = torch.randn(3, 3, 4), torch.tensor([3, 2, 2])
    y = temporal_shift(padded, groups=[(4, 1)], lengths=lengths)
    assert torch.equal(y[1, :2], temporal_shift(padded[1, :2], groups=[(4, 1)]))


@pytest.mark.parametrize("frames", [0, 1])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
def test_fla_the_state_is_written_after_zero_frames_and_after_one(frames, padding_mode, poisoned):
    stream = TemporalShift(n_div=1, padding_mode=padding_mode).stream()
    stream(torch.ones(2, frames, 4))
    assert not stream.state.isnan().any()
    assert stream.state.sum() == 8 * frames


def test_fla_no_value_is_read_from_the_device():
    with torch.device("meta"):  # a meta tensor has no values
        for sample in gallery():
            on_meta = sample.on("meta")
            assert temporal_shift(on_meta.x, **on_meta.arguments).shape == sample.x.shape
            assert temporal_shift_add(on_meta.x, on_meta.x, **on_meta.arguments).is_meta


def test_tsm_in_place_raises_the_version_counter_of_autograd():
    x = torch.randn(1, 4, 8)
    before = x._version
    temporal_shift(x, inplace=True)
    assert x._version > before


def test_tsm_a_stream_reads_the_same_direction_as_the_offline_shift():
    for stride in (1, -1):
        shift, x = TemporalShift(n_div=8, stride=stride), torch.randn(1, 5, 8)
        stream = shift.stream()
        assert torch.equal(torch.cat([*map(stream, x.split(1, 1)), stream.flush()], 1), shift(x))


def test_xt_decoding_frame_by_frame_equals_the_full_pass():
    shift, net = TemporalShift(n_div=2), nn.Sequential(nn.Linear(8, 8), nn.GELU())
    x, stream = torch.randn(2, 6, 8), shift.stream()
    steps = torch.cat([net(stream(frame)) for frame in x.split(1, 1)], 1)
    assert torch.allclose(steps, net(shift(x)), atol=1e-6)


def test_xt_a_shift_longer_than_the_sequence_is_padding():
    assert not temporal_shift(torch.ones(1, 3, 4), groups=[(4, 5)]).any()


def test_custom_ops_func_grad_and_jvp_are_right():
    x = torch.ones(4, 4)
    assert torch.func.grad(lambda x: temporal_shift(x, n_div=2).sum())(x).sum() == 14
    assert torch.func.jvp(lambda x: temporal_shift(x, n_div=2), (x,), (x,))[1].sum() == 14


def test_the_public_names_of_the_comparison_exist():
    assert {"temporal_shift", "temporal_shift_add", "TemporalShift"} <= set(package.__all__)
