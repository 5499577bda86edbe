"""Every layer, the plain layer that tests compare it with, and the form in which it takes lengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from temporal_shift import ShiftConv, ShiftGRU, ShiftLSTM, ShiftTransformerLayer, TemporalShift
from temporal_shift.layers import RelativeTransformerLayer
from temporal_shift.layers.relative_attention import RelativeSelfAttention

BATCH, FRAMES, CHANNELS = 4, 9, 16
SHIFT = {"n_div": 4, "stride": 1}
LENGTHS = torch.tensor([9, 5, 1, 0])


@dataclass(frozen=True)
class Case:
    """A layer with a shift, the plain layer without one, and what tests need to know about them."""

    name: str
    make: Callable[..., nn.Module]  # from options to a layer with a shift
    plain: Callable[[], nn.Module]
    ragged: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None  # the output for an input and lengths
    channels_first: bool = False
    recurrent: bool = False
    prefix: str = ""  # of the plain layer's names in the state_dict of the layer
    repr: str = "n_div=4, stride=1"  # a part of the repr
    min_frames: int = 0  # the shortest valid input
    nested: bool = False  # whether it takes nested tensors
    zeroes_padding: bool = True  # false if a net after the shift does not get the lengths

    def input(self, length: int = FRAMES, batch: int = BATCH) -> Tensor:
        x = torch.randn(batch, length, CHANNELS)
        return x.transpose(1, 2).contiguous() if self.channels_first else x

    def layer_pair(self, **options: Any) -> tuple[nn.Module, nn.Module]:
        """The layer, and the plain layer with the same weights."""
        ours, plain = self.make(**options), self.plain()
        weights = {name.removeprefix(self.prefix): value for name, value in ours.state_dict().items()}
        plain.load_state_dict(weights)
        return ours, plain

    def __str__(self) -> str:
        return self.name


class ConvBlock(nn.Module):
    """ConvNeXt's block over time. Its depthwise convolution treats the input as images of one row."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS)
        self.norm = nn.LayerNorm(CHANNELS)
        self.expand = nn.Linear(CHANNELS, 4 * CHANNELS)
        self.contract = nn.Linear(4 * CHANNELS, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        row, weight = x.transpose(1, 2).unsqueeze(2), self.depthwise.weight.unsqueeze(2)
        h = F.conv2d(row, weight, self.depthwise.bias, padding=(0, 3), groups=CHANNELS)[:, :, 0].transpose(1, 2)
        return x + self.contract(F.gelu(self.expand(self.norm(h))))


class FeedForward(nn.Module):
    """The second half of a post-norm Transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(CHANNELS, 32), nn.Linear(32, CHANNELS)
        self.norm2 = nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm2(x + self.linear2(F.relu(self.linear1(x))))


class RelativePostNorm(nn.Module):
    """A post-norm Transformer layer around attention with relative positions."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = RelativeSelfAttention(CHANNELS, 4, max_frames=40, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(CHANNELS, 32), nn.Linear(32, CHANNELS)
        self.norm1, self.norm2 = nn.LayerNorm(CHANNELS), nn.LayerNorm(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x + self.self_attn(x))
        return self.norm2(h + self.linear2(F.relu(self.linear1(h))))


def first(output: Any) -> Tensor:
    """The output frames of a layer, which may return a state as well."""
    return output if isinstance(output, Tensor) else output[0]


def _with_lengths(layer: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    return layer(x, lengths=lengths)


def _with_mask(layer: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    return layer(x, src_key_padding_mask=torch.arange(x.shape[1]) >= lengths[:, None])


def _packed(layer: nn.Module, x: Tensor, lengths: Tensor) -> Tensor:
    kept = lengths > 0  # torch does not pack empty sequences
    packed = pack_padded_sequence(x[kept], lengths[kept], batch_first=True, enforce_sorted=False)
    y, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=x.shape[1])
    return torch.zeros(*x.shape[:2], y.shape[-1]).index_put((kept.nonzero()[:, 0],), y)


def _recurrent(ours: type[nn.Module], torchs: type[nn.Module]) -> Case:
    options: dict[str, Any] = {"num_layers": 2, "batch_first": True, "bidirectional": True}
    return Case(
        ours.__name__,
        lambda **given: ours(CHANNELS, 8, **options, **{**SHIFT, **given}),
        lambda: torchs(CHANNELS, 8, **options),
        ragged=_packed,
        recurrent=True,
        min_frames=1,
    )


def _transformer(placement: str, plain: Callable[[], nn.Module]) -> Case:
    return Case(
        f"ShiftTransformerLayer({placement})",
        lambda **given: ShiftTransformerLayer(
            CHANNELS, 4, 32, 0.0, batch_first=True, placement=placement, **{**SHIFT, **given}
        ),
        plain,
        ragged=_with_mask,
        nested=True,
    )


def _relative(placement: str) -> Case:
    options: dict[str, Any] = {"batch_first": True, "max_frames": 40}
    return Case(
        f"RelativeTransformerLayer({placement})",
        lambda **given: RelativeTransformerLayer(
            CHANNELS, 4, 32, 0.0, **options, placement=placement, **{**SHIFT, **given}
        ),
        RelativePostNorm,
        ragged=_with_mask,
        min_frames=1,
        nested=True,
    )


def _conv(placement: str) -> Case:
    return Case(
        f"ShiftConv({placement})",
        lambda **given: ShiftConv(CHANNELS, placement=placement, **{**SHIFT, **given}),
        ConvBlock,
        ragged=_with_lengths,
        min_frames=1,
    )


def _torchs_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(CHANNELS, 4, 32, 0.0, batch_first=True)


def _before(net: Callable[[], nn.Module], name: str, **layout: Any) -> Case:
    return Case(
        f"TemporalShift({name})",
        lambda **given: TemporalShift(net(), **{**SHIFT, **given}),
        net,
        ragged=_with_lengths,
        prefix="net.",
        nested=True,
        zeroes_padding=False,
        **layout,
    )


CASES = [
    _before(nn.Identity, "Identity"),
    _before(lambda: nn.Linear(CHANNELS, 5), "Linear"),
    _before(lambda: nn.Conv1d(CHANNELS, 5, 1), "Conv1d", channels_first=True, min_frames=1),
    _conv("residual"),
    _conv("inplace"),
    _recurrent(ShiftLSTM, nn.LSTM),
    _recurrent(ShiftGRU, nn.GRU),
    _transformer("replace", FeedForward),
    _transformer("residual", _torchs_layer),
    _transformer("inplace", _torchs_layer),
    _relative("residual"),
    _relative("inplace"),
]

_ONE_OF_EACH = (
    "Linear",
    "ShiftConv(residual)",
    "ShiftLSTM",
    "ShiftTransformerLayer(residual)",
    "RelativeTransformerLayer",
)
ONE_OF_EACH_CLASS = [next(case for case in CASES if name in case.name) for name in _ONE_OF_EACH]
_ONE_OF_EACH_FORWARD = (
    "Linear",
    "ShiftConv(residual)",
    "ShiftLSTM",
    "ShiftGRU",
    "ShiftTransformerLayer(replace)",
    "ShiftTransformerLayer(residual)",
    "RelativeTransformerLayer(inplace)",
)
ONE_OF_EACH_FORWARD = [next(case for case in CASES if name in case.name) for name in _ONE_OF_EACH_FORWARD]
