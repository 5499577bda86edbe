"""Floating-point operations (FLOP) of the recipe's encoders and models.

Counts matrix products and convolutions, two FLOP per multiply-add, with torch's FlopCounterMode on tensors of the
device "meta", which have no values. On the CPU, the counter misses the fused attention and the fused LSTM. Relative
attention is counted as it runs on a GPU; on the CPU, it needs fewer products.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..audio.resampling import SAMPLE_RATE
from ..config import Model, SpecAugment
from ..encoders.families import encoder_class
from ..encoders.frame_encoder import FrameEncoder
from ..encoders.pretrained import whisper_positions
from ..models.frame_classifier import frame_classifier
from ..utils.errors import RecipeError, reason_of

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOP for one utterance."""

    forward: int  # FLOP of a forward pass
    training: int  # FLOP of a forward and a backward pass

    def of(self, *, trained: int, tested: int) -> int:
        return trained * self.training + tested * self.forward


def of_encoder(settings: Any, samples: int, layer: int | str = "last", average: int = 1) -> tuple[Cost, Shape]:
    """The cost of an encoder on a clip, with its input convolutions frozen, and the shape of its frames.

    Args:
        settings: The encoder's Hugging Face configuration.
        samples: Length of the clip at 16 kHz.
        layer, average: As in :class:`~temporal_shift.ser.encoders.frame_encoder.FrameEncoder`.
    Raises:
        RecipeError: If the encoder cannot encode such a clip, or lacks the layer.
    """
    settings = copy.deepcopy(settings)
    # not counted: the scores that fused attention computes again in the backward pass
    settings._attn_implementation = "eager"
    with torch.device("meta"):  # also for the call, because some encoders create tensors in it
        model, clip = encoder_with_input(settings, samples)
        encoder = FrameEncoder(model, layer, average)
        encoder.learn()
        try:
            shape: Shape = tuple(encoder(clip).shape[1:])
        except Exception as error:  # on an unsuitable clip, an encoder can fail in any way
            raise RecipeError(
                f"layer {layer} of the encoder cannot be computed for a clip of {samples / SAMPLE_RATE:g} s: "
                f"{reason_of(error)}"
            ) from None
        return cost(encoder, clip), shape


def encoder_with_input(settings: Any, samples: int, clips: int = 1) -> tuple[nn.Module, Tensor]:
    """An encoder with random weights in eval mode, and an input of zeros for ``clips`` clips (default: 1).

    Changes the ``settings`` of Whisper encoders.

    Raises:
        RecipeError: If the clips are too long for a Whisper encoder.
    """
    shape: Shape = (clips, samples)
    if settings.model_type == "whisper":
        positions = whisper_positions(settings.max_source_positions, samples, "the encoder")
        settings.max_source_positions = positions
        shape = (clips, settings.num_mel_bins, 2 * positions)
    return encoder_class(settings)(settings).eval(), torch.zeros(shape)


def of_model(model: Model, frames: Shape, labels: Sequence[str]) -> Cost:
    """The cost of a model on the frames of an utterance.

    The frames need a gradient, because in training they can contain SpecAugment's learned vector.

    Raises:
        RecipeError: If the model does not fit the frames.
    """
    *layers, length, channels = frames
    if (
        model.blocks == "lstm" and length > 3
    ):  # counting frame by frame is slow, and each frame after the first costs the same
        two, three = (of_model(model, (*layers, few, channels), labels) for few in (2, 3))
        more = length - 2
        return Cost(
            two.forward + more * (three.forward - two.forward), two.training + more * (three.training - two.training)
        )
    with torch.device("meta"):
        classifier: nn.Module = frame_classifier(model, frames, labels, SpecAugment())
        classifier.eval()  # SpecAugment is random and has no matrix products
        inputs = torch.empty(1, *frames, requires_grad=True)
    return cost(lambda frames: classifier(frames).logits, inputs)


def cost(function: Callable[[Tensor], Tensor], x: Tensor) -> Cost:
    """The cost of a function. The backward pass includes the gradient of ``x`` if ``x`` requires one."""
    with torch.no_grad():
        forward = counted(lambda: function(x.detach()))
    return Cost(forward, counted(lambda: function(x).sum().backward()))


def counted(function: Callable[[], object]) -> int:
    """The FLOP of a call."""
    corrected = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=corrected) as counter:
        function()
    return int(counter.get_total_flops())


def _convolution_backward(
    upstream: Shape, x: Shape, weight: Shape, *arguments: Any, out_shape: object = None, **_: Any
) -> int:
    """Count each gradient like the forward pass. For grouped convolutions, torch overcounts the weight's gradient.

    Does not support transposed convolutions, which no encoder here has.
    """
    wanted = arguments[-1]  # which gradients: of x, the weight and the bias (which needs no product)
    return 2 * upstream[0] * math.prod(upstream[2:]) * math.prod(weight) * int(sum(wanted[:2]))
