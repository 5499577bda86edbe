"""ShiftTransformerLayer and RelativeTransformerLayer in place of nn.TransformerEncoderLayer."""

from __future__ import annotations

import inspect
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from temporal_shift import ShiftTransformerLayer, temporal_shift
from temporal_shift.layers import RelativeTransformerLayer

pytestmark = [
    pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors"),
    pytest.mark.usefixtures("one_thread"),
]
PLACEMENTS = ["replace", "residual", "inplace"]


def layer(placement: str, **options) -> ShiftTransformerLayer:
    return ShiftTransformerLayer(16, 4, 32, 0.0, batch_first=True, placement=placement, **options)


def shifted(x: torch.Tensor) -> torch.Tensor:
    return temporal_shift(x, n_div=4, bidirectional=True)


@pytest.mark.parametrize(
    ("norm_first", "batch_first", "placement", "training"),
    [
        (False, True, "residual", False),
        (False, False, "residual", True),
        (True, False, "inplace", False),
        (True, True, "inplace", True),
        (False, True, "inplace", False),
        (True, True, "residual", False),
    ],
)
def test_with_stride_0_the_layer_equals_torchs_layer_bit_for_bit(norm_first, batch_first, placement, training):
    options = {"norm_first": norm_first, "batch_first": batch_first}
    ours = ShiftTransformerLayer(16, 4, 32, 0.0, **options, placement=placement, stride=0).train(training)
    torchs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, **options).train(training)
    torchs.load_state_dict(ours.state_dict())
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[1, 4:] = True
    x = torch.randn((3, 6, 16) if batch_first else (6, 3, 16))
    assert torch.equal(ours(x), torchs(x))
    valid = ~padding if batch_first else ~padding.T
    y = ours(x, src_key_padding_mask=padding)
    assert torch.equal(y[valid], torchs(x, src_key_padding_mask=padding)[valid])
    assert not y[~valid].any()
    with torch.no_grad():  # in eval mode, torch may then use its fused path
        assert torch.equal(ours(x), torchs(x))


@pytest.mark.parametrize(
    "options",
    [{"activation": "gelu"}, {"activation": torch.tanh}, {"bias": False}, {"layer_norm_eps": 0.5}, {"dropout": 0.5}],
)
def test_with_stride_0_every_argument_has_the_same_meaning_as_in_torchs_layer(options):
    ours = ShiftTransformerLayer(16, 4, 32, **options, placement="inplace", stride=0)
    torchs = nn.TransformerEncoderLayer(16, 4, 32, **options)
    torchs.load_state_dict(ours.state_dict())
    x, mask = torch.randn(6, 3, 16), nn.Transformer.generate_square_subsequent_mask(6)
    outputs = []
    for each in (ours, torchs):
        torch.manual_seed(1)
        outputs.append(each(x, mask))
    assert torch.equal(*outputs)


def test_the_layer_takes_every_argument_of_torchs_layer_in_the_same_order():
    theirs = list(inspect.signature(nn.TransformerEncoderLayer).parameters.values())
    assert list(inspect.signature(ShiftTransformerLayer).parameters)[: len(theirs)] == [each.name for each in theirs]
    call = list(inspect.signature(nn.TransformerEncoderLayer.forward).parameters.values())
    ours = inspect.signature(ShiftTransformerLayer.forward).parameters.values()
    assert [(g.name, g.default) for g in ours] == [(g.name, g.default) for g in call]


def test_with_stride_0_replace_equals_the_feed_forward_half_bit_for_bit():
    ours, x = layer("replace", stride=0), torch.randn(2, 6, 16)
    assert torch.equal(ours(x), ours.norm2(x + ours.linear2(F.relu(ours.linear1(x)))))


@pytest.mark.parametrize("norm_first", [False, True])
def test_replace_equals_the_feed_forward_half_on_shifted_frames(norm_first):
    ours, x = layer("replace", norm_first=norm_first), torch.randn(2, 6, 16)
    x_ = shifted(x)
    feed = lambda h: ours.linear2(F.relu(ours.linear1(h)))  # noqa: E731
    expected = x_ + feed(ours.norm2(x_)) if norm_first else ours.norm2(x_ + feed(x_))
    assert torch.equal(ours(x), expected)
    assert {name.split(".")[0] for name in ours.state_dict()} == {"linear1", "linear2", "norm2"}


@pytest.mark.parametrize("norm_first", [False, True])
def test_residual_attends_to_unshifted_frames(norm_first):
    ours, x = layer("residual", norm_first=norm_first), torch.randn(2, 6, 16)
    feed = lambda h: ours.linear2(F.relu(ours.linear1(h)))  # noqa: E731
    attend = lambda h: ours.self_attn(h, h, h, need_weights=False)[0]  # noqa: E731
    if norm_first:
        h = shifted(x) + attend(ours.norm1(x))
        expected = h + feed(ours.norm2(h))
    else:
        h = ours.norm1(shifted(x) + attend(x))
        expected = ours.norm2(h + feed(h))
    torch.testing.assert_close(ours(x), expected)


def test_inplace_equals_torchs_layer_on_shifted_frames():
    ours = layer("inplace")
    torchs = nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=True)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 6, 16)
    assert torch.equal(ours(x), torchs(shifted(x)))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_time_major_and_unbatched_input_have_the_same_output(placement):
    ours = layer(placement)
    time_major = ShiftTransformerLayer(16, 4, 32, 0.0, placement=placement)
    time_major.load_state_dict(ours.state_dict())
    x = torch.randn(3, 6, 16)
    torch.testing.assert_close(time_major(x.transpose(0, 1)).transpose(0, 1), ours(x))
    torch.testing.assert_close(ours(x[0]), ours(x)[0])
    padding = torch.tensor([[False] * 4 + [True] * 2] * 3)
    torch.testing.assert_close(
        time_major(x.transpose(0, 1), src_key_padding_mask=padding).transpose(0, 1)[~padding],
        ours(x, src_key_padding_mask=padding)[~padding],
    )


@pytest.mark.parametrize(("placement", "training"), [("replace", False), ("residual", True), ("inplace", False)])
def test_padding_affects_no_valid_frame_in_torchs_encoder(placement, training):
    encoder = nn.TransformerEncoder(layer(placement), 2).train(training)
    padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2, [False] + [True] * 5])
    clean = torch.randn(3, 6, 16)
    dirty = clean.masked_fill(padding[..., None], 1e6)
    with torch.no_grad():
        expected = encoder(clean, src_key_padding_mask=padding)[~padding]
        output = encoder(dirty, src_key_padding_mask=padding)[~padding]
    torch.testing.assert_close(output, expected)
    alone = torch.cat([encoder(x[None, :n])[0] for x, n in zip(clean, (6, 4, 1), strict=True)])
    torch.testing.assert_close(expected, alone)


def test_parameters_have_the_names_of_torchs_layer():
    torchs = nn.TransformerEncoderLayer(16, 4, 32).state_dict()
    for placement in ("residual", "inplace"):
        assert layer(placement).state_dict().keys() == torchs.keys()
    assert layer("replace").state_dict().keys() < torchs.keys()


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("placement", ["residual", "inplace"])
def test_relative_attention_replaces_torchs_attention_in_every_placement(placement, norm_first):
    ours = RelativeTransformerLayer(
        16, 4, 32, 0.0, batch_first=True, norm_first=norm_first, max_frames=9, placement=placement, stride=2
    )
    x = torch.randn(2, 6, 16)
    moved = temporal_shift(x, n_div=4, stride=2, bidirectional=True)
    seen = moved if placement == "inplace" else x
    feed = lambda h: ours.linear2(F.relu(ours.linear1(h)))  # noqa: E731
    if norm_first:
        h = moved + ours.self_attn(ours.norm1(seen))
        expected = h + feed(ours.norm2(h))
    else:
        h = ours.norm1(moved + ours.self_attn(seen))
        expected = ours.norm2(h + feed(h))
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("training", [False, True])
def test_the_relative_layer_works_in_torchs_encoder_with_masks(training):
    encoder = nn.TransformerEncoder(RelativeTransformerLayer(16, 4, 32, 0.0, batch_first=True, max_frames=9), 2)
    encoder.train(training)
    x, mask = torch.randn(3, 6, 16), torch.ones(6, 6, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 6, [False] * 4 + [True] * 2, [False] + [True] * 5])
    with torch.no_grad():
        y = encoder(x, mask, padding)
        for n, length in enumerate((6, 4, 1)):
            for t in range(length):  # later frames have no effect
                torch.testing.assert_close(y[n, t], encoder(x[n : n + 1, : t + 1], mask[: t + 1, : t + 1])[0, t])


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_shift_that_reads_the_past_is_causal_in_torchs_causal_encoder(placement):
    encoder = nn.TransformerEncoder(layer(placement, bidirectional=False), 2).eval()
    x, mask = torch.randn(2, 6, 16), nn.Transformer.generate_square_subsequent_mask(6)
    y = encoder(x, mask, is_causal=True)
    for t in range(6):
        torch.testing.assert_close(
            y[:, t], encoder(x[:, : t + 1], mask[: t + 1, : t + 1], is_causal=True)[:, t], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("stride", [0, 1])
@pytest.mark.parametrize("form", ["time-major", "unbatched", "added to the scores", "norm first", "causal"])
@pytest.mark.parametrize(
    ("relative", "placement"), [*((False, each) for each in PLACEMENTS), *((True, each) for each in PLACEMENTS[1:])]
)
def test_padding_counts_as_zero_forward_and_backward_in_every_form_of_call(relative, placement, form, stride):
    kind = partial(RelativeTransformerLayer, max_frames=9) if relative else ShiftTransformerLayer
    shift = {"stride": stride, "bidirectional": form != "causal"}
    batch_first, norm_first = form != "time-major", form == "norm first"
    ours = kind(16, 4, 32, 0.0, batch_first=batch_first, norm_first=norm_first, placement=placement, **shift)
    padding = torch.tensor([[False] * 4 + [True] * 2, [True] * 6, [False] * 6])
    x, mask = torch.randn(3, 6, 16), padding
    if form == "time-major":
        x, padding = x.transpose(0, 1), padding.T
    elif form == "unbatched":
        x, padding, mask = x[0], padding[0], mask[0]
    elif form == "added to the scores":
        mask = torch.zeros(padding.shape).masked_fill(padding, float("-inf"))
    causal = {"src_mask": torch.ones(6, 6, dtype=torch.bool).triu(1), "is_causal": True}
    options = {"src_key_padding_mask": mask, **(causal if form == "causal" else {})}

    def results(poison):
        leaf = x.masked_fill(padding[..., None], poison).requires_grad_()
        y = ours(leaf, **options)
        loss = torch.ones_like(y).masked_fill(padding[..., None], poison)
        return y, *torch.autograd.grad(y.square(), [leaf, *ours.parameters()], loss)

    y, gradient, *_ = clean = results(0.0)
    assert not y[padding].any()
    assert not gradient[padding].any()
    assert y.isfinite().all()
    for poison in (float("nan"), float("inf")):
        torch.testing.assert_close(results(poison), clean, rtol=0, atol=0)


@pytest.mark.parametrize("placement", ["replace", "residual", "inplace"])
@pytest.mark.parametrize("low", [-1e4, -1e9, torch.finfo(torch.float16).min, torch.finfo(torch.float32).min])
def test_large_negative_scores_in_a_mask_are_padding_like_minus_infinity(placement, low):
    ours, padding = layer(placement), torch.arange(6) >= torch.tensor([6, 2, 0])[:, None]
    x = torch.randn(3, 6, 16).masked_fill(padding[..., None], float("nan"))
    mask = torch.zeros(padding.shape).masked_fill(padding, low)
    torch.testing.assert_close(ours(x, src_key_padding_mask=mask), ours(x, src_key_padding_mask=padding))


def test_a_mask_with_the_wrong_shape_or_type_raises_an_error():
    ours, x = layer("replace"), torch.randn(3, 6, 16)
    for shape in ((1, 6), (6,), (6, 3)):
        with pytest.raises(ValueError, match=rf"mask.*\(3, 6\).*{re.escape(str(shape))}"):
            ours(x, src_key_padding_mask=torch.zeros(shape, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"mask must be a torch\.Tensor.*list"):
        ours(x, src_key_padding_mask=[[False] * 6] * 3)
    with pytest.raises(ValueError, match=r"mask must be on the device.*cpu.*meta"):
        ours(x, src_key_padding_mask=torch.zeros(3, 6, dtype=torch.bool, device="meta"))
    with pytest.raises(TypeError, match=r"mask must be bool or floating point.*torch\.uint8"):
        ours(x, src_key_padding_mask=torch.zeros(3, 6, dtype=torch.uint8))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_input_that_is_not_a_batch_of_sequences_raises_an_error(placement):
    ours, x = layer(placement), torch.randn(2, 5, 6, 16)
    with pytest.raises(ValueError, match=r"src.*2 or 3 dims.*4"):
        ours(x)
    with pytest.raises(TypeError, match=r"src must be a torch\.Tensor.*PackedSequence"):
        ours(nn.utils.rnn.pack_sequence([x[0, 0]]))
    nested = torch.nested.nested_tensor([x[0, 0]], layout=torch.jagged)
    with pytest.raises(ValueError, match=r"src_key_padding_mask must be None.*nested"):
        ours(nested, src_key_padding_mask=torch.zeros(1, 6, dtype=torch.bool))


@pytest.mark.parametrize(
    ("shift", "settings"),
    [
        ({"stride": 1}, "stride=1, bidirectional=True"),
        ({"stride": -1, "bidirectional": False}, "stride=-1, bidirectional=False"),
    ],
)
@pytest.mark.parametrize("placement", ["replace", "residual"])
def test_is_causal_with_a_shift_that_reads_the_future_raises_an_error(placement, shift, settings):
    with pytest.raises(ValueError, match=f"is_causal must be False.*True.*{settings}"):
        layer(placement, **shift)(torch.randn(2, 6, 16), torch.zeros(6, 6), is_causal=True)


def test_errors_name_the_wrong_argument():
    with pytest.raises(ValueError, match=r"placement.*'replace', 'residual', 'inplace'.*'before'"):
        layer("before")
    with pytest.raises(ValueError, match="src_mask must be None"):
        layer("replace")(torch.randn(2, 6, 16), torch.zeros(6, 6))
    with pytest.raises(ValueError, match=r"placement.*'residual', 'inplace'.*'replace'"):
        RelativeTransformerLayer(16, 4, max_frames=9, placement="replace")
    with pytest.raises(ValueError, match=r"src_mask must be given.*None"):
        RelativeTransformerLayer(16, 4, max_frames=9)(torch.randn(2, 6, 16), is_causal=True)
    for make in (ShiftTransformerLayer, partial(RelativeTransformerLayer, max_frames=9, stride=1)):
        with pytest.raises(ValueError, match=r"n_div.*\[2, 16\].*17"):
            make(16, 4, n_div=17)
        with pytest.raises(TypeError, match=r"n_div must be an int.*2\.0"):
            make(16, 4, n_div=2.0)
