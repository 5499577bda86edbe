"""What the recipe's passes cost in floating-point operations (FLOP), and the paper's experiment with them.

Counted are matrix products and convolutions, two FLOP for each multiplication with its addition, by torch's
FlopCounterMode on tensors of the device "meta", which have a shape and no values. That takes no time, and there every
layer is broken down into what the counter knows: on the CPU it would pass over the fused attention and the fused LSTM.
Relative attention is counted as it runs on a GPU; on the CPU it gets by with fewer products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel, HubertConfig, PreTrainedConfig, Wav2Vec2Config

from temporal_shift.ser import config
from temporal_shift.ser.audio.resampling import SAMPLE_RATE
from temporal_shift.ser.corpora.readers.iemocap import LABELS, PUBLISHED
from temporal_shift.ser.models.frame_classifier import frame_classifier

ENCODERS = {"facebook/hubert-base-ls960": HubertConfig, "facebook/wav2vec2-base": Wav2Vec2Config}  # base is the default
FOLDS = 5

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """FLOP for one utterance: of a forward pass alone, and of a forward and a backward pass."""

    forward: int
    training: int

    def of(self, *, trained: int, tested: int) -> int:
        return trained * self.training + tested * self.forward


@dataclass(frozen=True, slots=True)
class Rates:
    """FLOP a second."""

    encoding: float
    training: Mapping[str, float]  # of each kind of blocks, over the epochs of a model with such


class FlopCounts:
    """The costs of encoders and models, each counted once.

    Args:
        clip_seconds: What the encoders hear of an utterance.
        encoder: Where their configuration is not that of a base encoder.
    """

    def __init__(self, clip_seconds: float, encoder: Mapping[str, Any]) -> None:
        samples = round(clip_seconds * SAMPLE_RATE)
        self.encoders = {name: of_encoder(make(**encoder), samples) for name, make in ENCODERS.items()}
        self._models: dict[tuple[Any, ...], Cost] = {}

    def model(self, model: config.Model, frames: Shape) -> Cost:
        key = (model.blocks, model.shift, frames)
        if key not in self._models:
            augment = config.SpecAugment()
            self._models[key] = of_classifier(lambda: frame_classifier(model, frames, LABELS, augment), frames)
        return self._models[key]


def of_encoder(settings: PreTrainedConfig, samples: int) -> tuple[Cost, Shape]:
    """An encoder on a clip, which learns as in the recipe, all but its convolutions; and the shape of its frames."""
    with torch.device("meta"):
        # Fused attention makes its scores once more in the backward pass: a price of less memory, which is not counted.
        encoder = AutoModel.from_config(settings, attn_implementation="eager").eval()
        clip = torch.empty(1, samples)
    encoder.feature_extractor.requires_grad_(False)
    shape: Shape = tuple(encoder(clip).last_hidden_state.shape[1:])
    return cost(lambda clip: encoder(clip).last_hidden_state, clip), shape


def of_classifier(make: Callable[[], nn.Module], frames: Shape) -> Cost:
    """A model on the frames of an utterance. In training, SpecAugment's learned vector among them wants a gradient."""
    with torch.device("meta"):
        model = make().eval()  # SpecAugment itself, which draws at random, has no product
        inputs = torch.empty(1, *frames, requires_grad=True)
    return cost(lambda frames: model(frames).logits, inputs)


def cost(function: Callable[[Tensor], Tensor], x: Tensor) -> Cost:
    """The cost of a function, whose backward pass goes on to ``x`` where that requires a gradient."""
    with torch.no_grad():
        forward = counted(lambda: function(x.detach()))
    return Cost(forward, counted(lambda: function(x).sum().backward()))


def counted(function: Callable[[], object]) -> int:
    """The FLOP of a call."""
    corrected = {torch.ops.aten.convolution_backward: _convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=corrected) as counter:
        function()
    return counter.get_total_flops()


def _convolution_backward(
    upstream: Shape, x: Shape, weight: Shape, *arguments: Any, out_shape: object = None, **_: Any
) -> int:
    """A gradient costs what the forward pass does; torch's own formula has the weight's once too often for each group.

    Not for transposed convolutions, which no encoder here has.
    """
    wanted = arguments[-1]  # of the gradients: x's, the weight's and the bias's, which is no product
    return 2 * upstream[0] * math.prod(upstream[2:]) * math.prod(weight) * sum(wanted[:2])


def expense(experiment: config.Experiment, counts: FlopCounts, rates: Rates, gpu: float) -> dict[str, Any]:
    """What one model of the paper's experiment takes, for all folds and epochs: FLOP, and hours at two rates.

    Cached frames are encoded once for all folds. A learning encoder is taken to go at the rate of encoding, and a model
    without a shift at that of its baseline.

    Args:
        gpu: FLOP a second, all in all.
    """
    (model,) = experiment.models
    encoder, frames = counts.encoders[experiment.backbone.name]
    head = counts.model(model, frames)
    utterances, epochs = PUBLISHED.utterances, experiment.training.epochs
    passes = {"trained": epochs * (FOLDS - 1) * utterances, "tested": epochs * utterances}  # of all folds together
    of_encoder = encoder.of(**passes if experiment.setting == "finetune" else {"trained": 0, "tested": utterances})
    of_head = head.of(**passes)
    return {
        "setting": experiment.setting,
        "model": model.name,
        "encoder": asdict(encoder),
        "head": asdict(head),
        "total": {"encoder": of_encoder, "head": of_head},
        "hours_here": (of_encoder / rates.encoding + of_head / rates.training[model.blocks]) / 3600,
        "hours_on_gpu": (of_encoder + of_head) / gpu / 3600,
    }
