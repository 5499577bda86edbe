"""Classifiers of an encoder's frames: blocks, pooling over time, and a linear layer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from temporal_shift import ShiftConv, ShiftLSTM, ShiftTransformerLayer
from temporal_shift.layers import RelativeTransformerLayer
from temporal_shift.streaming import RunningMean, stream

from ..config import Model, Shift, SpecAugment
from ..utils.errors import RecipeError
from .saved_settings import CheckedConfig, ClassifierSettings, hugging_face_fields, validate_labels
from .spec_augment import FeatureSpecAugment

_TINY = 1e-12  # added to a variance


class FrameClassifierConfig(CheckedConfig, PreTrainedConfig):
    """The configuration of a :class:`FrameClassifier`.

    Args:
        blocks: ``"conv"``, ``"lstm"``, ``"transformer"`` (default) or ``"linear"``.
        shift: The fields of :class:`temporal_shift.ser.config.Shift`. Default: ``None``, the plain model.
        hidden_size: Number of channels of the encoder's frames. Default: 768, as in the paper.
        num_frames: Number of frames of a clip, the maximum for a Transformer with attention. Default: 374, as in the
            paper.
        num_attention_heads: Heads of the Transformer. Default: the largest divisor of ``hidden_size`` up to
            ``hidden_size / 64``, at least 1 (12 for 768, as in the paper).
        spec_augment: The fields of :class:`temporal_shift.ser.config.SpecAugment`. Default: its defaults.
        num_layers: Number of hidden states of the encoder for a weighted sum; 0 (default) for the frames of one layer.
        pooling: ``"mean"`` over frames (default), or ``"mean_std"``, which adds their standard deviation
            (``"linear"`` only).
        id2label: The names of the classes; ``label2id`` is their inverse. Default: ``LABEL_0``, ``LABEL_1`` and so on.
        num_labels: Number of classes. Default: the number of names in ``id2label``, or 2.
        kwargs: Common fields of Hugging Face configurations, such as ``dtype``.

    Raises:
        RecipeError: If a value is invalid or a key is unknown.

    Example:
        >>> config = FrameClassifierConfig("lstm", {"placement": "inplace", "n_div": 4}, num_labels=4)
        >>> config.shift["stride"], config.hidden_size
        (1, 768)

    Source: the paper is Shen, Liu, Zhou, ICASSP 2023.
    """

    model_type = "temporal-shift-frame-classifier"
    settings_class = ClassifierSettings

    def __init__(
        self,
        blocks: str = "transformer",
        shift: dict[str, Any] | None = None,
        hidden_size: int = 768,
        num_frames: int = 374,
        num_attention_heads: int | None = None,
        spec_augment: dict[str, Any] | None = None,
        num_layers: int = 0,
        pooling: str = "mean",
        *,
        id2label: dict[Any, str] | None = None,
        label2id: dict[str, Any] | None = None,
        num_labels: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.blocks = blocks
        self.shift = shift
        self.hidden_size = hidden_size
        self.num_frames = num_frames
        self.num_layers = num_layers
        self.pooling = pooling
        self.num_attention_heads: Any = num_attention_heads
        self.spec_augment = {} if spec_augment is None else spec_augment
        id2label, label2id = validate_labels(id2label, label2id, num_labels)
        super().__init__(id2label=id2label, label2id=label2id, **hugging_face_fields(kwargs, self.model_type))
        self.validate_fields()

    def validate_fields(self) -> None:
        super().validate_fields()
        self.num_attention_heads = self.num_attention_heads or _heads(self.hidden_size)


class FrameClassifier(PreTrainedModel):
    r"""Predicts the class of an utterance from its frames: SpecAugment, blocks, pooling over frames, a linear layer.

    With ``num_layers``, the input contains the frames of all layers of the encoder. The blocks get their sum, weighted
    by ``softmax(layer_weights)``, which starts uniform, as in SUPERB (Yang et al., Interspeech 2021).

    | ``blocks`` | without a shift | with a shift |
    |---|---|---|
    | conv | 2 ConvNeXt-like blocks, LayerNorm | :class:`.ShiftConv` as the second block |
    | lstm | 1 bidirectional LSTM, LayerNorm | :class:`.ShiftLSTM` |
    | transformer | 2 post-norm layers, relative positions | the same layers with a shift |
    | transformer, ``replace`` | | 2 :class:`.ShiftTransformerLayer` |
    | linear | none | |

    Args:
        config: The configuration.

    Shape:
        ``frames`` is ``(B, L, D)`` or ``(B, layers, L, D)``. ``labels`` is ``(B,)``; -100 is ignored. ``logits`` is
        ``(B, classes)``. The loss is the mean cross entropy over the batch, or the sum divided by
        ``num_items_in_batch``, the number of utterances in a step with gradient accumulation.

    Raises:
        RecipeError: If a value of the configuration is invalid.
        ValueError: When called, if a Transformer with attention gets more than ``num_frames`` frames.

    Example:
        >>> config = FrameClassifierConfig("transformer", hidden_size=32, num_labels=4)
        >>> FrameClassifier(config).eval()(torch.randn(2, 50, 32)).logits.shape
        torch.Size([2, 4])

    Source: Shen, Liu, Zhou, ICASSP 2023, section 3. The linear model is not from the paper but from SUPERB.
    """

    config: FrameClassifierConfig
    config_class = FrameClassifierConfig
    main_input_name = "frames"
    accepts_loss_kwargs = True  # the Trainer passes num_items_in_batch
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True  # the Transformer layers ignore this setting

    def __init__(self, config: FrameClassifierConfig) -> None:
        config.validate_fields()
        super().__init__(config)
        self.layer_weights = nn.Parameter(torch.zeros(config.num_layers)) if config.num_layers else None
        self.spec_augment = FeatureSpecAugment(config.hidden_size, **config.spec_augment)
        self.encoder, encoded = _encoder(config)
        pooled = encoded * (2 if config.pooling == "mean_std" else 1)
        self.head = nn.Linear(pooled, len(config.id2label or {}))
        self._is_loaded = self.head.weight.is_meta  # from_pretrained builds the model on the meta device
        self.post_init()

    def forward(
        self, frames: Tensor, labels: Tensor | None = None, num_items_in_batch: Tensor | int | None = None
    ) -> SequenceClassifierOutput:
        encoded = self.encoder(self.spec_augment(self.of_layers(frames)))  # (B, L, D), or (B, L, 2 * D) for an LSTM
        logits = self.head(self.pool(encoded))
        loss = None
        if labels is not None:
            if num_items_in_batch is None:
                loss = F.cross_entropy(logits, labels)
            else:
                loss = F.cross_entropy(logits, labels, reduction="sum") / num_items_in_batch
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def pool(self, encoded: Tensor) -> Tensor:
        """The mean over frames, ``(B, L, D)`` to ``(B, D)``; for ``mean_std``, mean and deviation, ``(B, 2 * D)``."""
        mean = encoded.mean(dim=1)
        if self.config.pooling == "mean":
            return mean
        variance = encoded.var(dim=1, correction=0)
        return torch.cat([mean, (variance + _TINY).sqrt()], dim=-1)  # the gradient of the root is infinite at 0

    def of_layers(self, frames: Tensor) -> Tensor:
        """The weighted sum of the layers, ``(B, layers, L, D)`` to ``(B, L, D)``; ``frames`` if ``num_layers`` is 0."""
        if self.layer_weights is None:
            return frames
        return torch.einsum("bkld,k->bld", frames, self.layer_weights.softmax(dim=0))

    def stream(self, state: Any = None) -> FrameClassifierStream:
        """Run the model on chunks of frames: each call returns the logits of all frames so far.

        ``linear`` streams without a delay. A ``transformer`` with the placement ``replace`` streams with a delay of
        ``2 * abs(stride)`` frames if the shift is bidirectional or the stride is negative, otherwise without a delay.

        Args:
            state: The ``state`` of another stream of this model, to continue from. Default: ``None``, a new recording.

        Raises:
            ValueError: If ``pooling`` is not ``"mean"``, the blocks cannot stream (convolutions and attention use
                future frames, and the LSTM is bidirectional), a block has hooks, ``state`` is not the state of such a
                stream, or, without ``state``, the outputs for the chunks of a random sequence differ from the output
                for the whole.
        """
        if self.config.pooling != "mean":
            raise ValueError(f"pooling must be mean to stream, got {self.config.pooling}")
        return FrameClassifierStream(self, state)

    def _init_weights(self, module: nn.Module) -> None:
        """Keep the initialisation of each layer's constructor, and apply it to weights that a checkpoint lacks."""
        if not self._is_loaded or self.head.weight.is_meta:
            return
        marked = "_is_hf_initialized"  # Hugging Face sets it on loaded weights; other weights are uninitialised
        if lacking := {key: weight for key, weight in self.named_parameters() if not getattr(weight, marked, False)}:
            fresh = dict(FrameClassifier(copy.deepcopy(self.config)).named_parameters())
            for key, weight in lacking.items():
                weight.copy_(fresh[key])
                setattr(weight, marked, True)


def frame_classifier(
    model: Model, shape: tuple[int, ...], labels: Sequence[str], spec_augment: SpecAugment
) -> FrameClassifier:
    """Build a model of an experiment.

    Args:
        model: The settings of the model.
        shape: Shape of one utterance's frames, ``(L, D)``, or ``(layers, L, D)`` for weighted layers.
        labels: The classes, in the order of the logits.
        spec_augment: The settings of SpecAugment.
    Raises:
        RecipeError: If the model does not fit the shape.
    """
    *layers, frames, channels = shape
    try:
        return FrameClassifier(
            FrameClassifierConfig(
                blocks=model.blocks,
                pooling=model.pooling,
                shift=None if model.shift is None else model.shift.model_dump(),
                hidden_size=channels,
                num_frames=frames,
                num_layers=layers[0] if layers else 0,
                spec_augment=spec_augment.model_dump(),
                id2label=dict(enumerate(labels)),
                label2id={label: index for index, label in enumerate(labels)},
            )
        )
    except ValueError as error:
        raise RecipeError(f"the model {model.name!r} does not fit the encoder: {error}") from None


class FrameClassifierStream:
    """A running prediction, created by :meth:`FrameClassifier.stream`. The model should be in eval mode.

    Args:
        model: The classifier.
        state: The ``state`` of another stream of the same model, to continue from. Default: ``None``, a new recording.

    Attributes:
        state: The state of the stream, from which another stream of the same model can continue.
        delay: Number of latest frames that the logits do not include yet.

    Raises:
        ValueError: As :meth:`FrameClassifier.stream`, which also checks ``pooling``.

    Example:
        >>> shift = {"placement": "replace", "n_div": 4, "bidirectional": True}
        >>> model = FrameClassifier(FrameClassifierConfig("transformer", shift, hidden_size=32)).eval()
        >>> live, frames = model.stream(), torch.randn(1, 10, 32)
        >>> so_far = [live(chunk) for chunk in frames.split(4, dim=1)]
        >>> torch.allclose(live.flush(), model(frames).logits, atol=1e-5)
        True
    """

    def __init__(self, model: FrameClassifier, state: Any = None) -> None:
        if state is not None and not (isinstance(state, (tuple, list)) and len(state) == 2):
            raise ValueError(f"state must be the state of a stream of this model, got {type(state).__name__}")
        of_encoder, of_mean = state if state is not None else (None, None)
        self._encoder = stream(model.encoder, of_encoder)
        self._mean = RunningMean(state=of_mean)
        self._head = model.head
        self._has_blocks = not isinstance(model.encoder, nn.Identity)
        self._of_layers = model.of_layers

    def __call__(self, frames: Tensor) -> Tensor:
        """Add frames ``(B, l, D)`` or ``(B, layers, l, D)``; return the logits so far, ``(B, classes)``.

        The logits are NaN until they include a frame.

        Raises:
            ValueError: If the frames differ from earlier frames in batch size, channels, dtype or device.
            TypeError: If the frames are not a floating-point tensor.
        """
        return self._head(self._mean(self._encoder(self._of_layers(frames))))  # type: ignore[no-any-return]

    def flush(self) -> Tensor:
        """Return the logits of all frames, ``(B, classes)``, including delayed frames, and reset the stream.

        Raises:
            ValueError: If no chunk was added; an empty chunk is enough.
        """
        logits: Tensor = self._head(self._mean(self._waiting()))
        self._mean.state = None
        return logits

    def _waiting(self) -> Tensor:
        """The outputs of the blocks for delayed frames."""
        if self._has_blocks:
            return self._encoder.flush()
        if self._mean.state is None:
            raise ValueError("flush() must come after the first chunk, which may be empty")
        return self._head.weight.new_empty(len(self._mean.state[0]), 0, self._head.in_features)

    @property
    def state(self) -> Any:
        return self._encoder.state, self._mean.state

    @property
    def delay(self) -> int:
        return self._encoder.delay


def _encoder(config: FrameClassifierConfig) -> tuple[nn.Module, int]:
    dim = config.hidden_size
    if config.blocks == "linear":
        return nn.Identity(), dim
    shift = None if config.shift is None else Shift.model_validate(config.shift)
    if config.blocks == "conv":
        second = ShiftConv(dim, stride=0) if shift is None else ShiftConv(dim, **shift.model_dump())
        return nn.Sequential(ShiftConv(dim, stride=0), second, nn.LayerNorm(dim)), dim
    if config.blocks == "lstm":
        return nn.Sequential(_BidirectionalLSTM(dim, shift), nn.LayerNorm(2 * dim)), 2 * dim
    return nn.Sequential(*(_transformer_layer(config, shift) for _ in range(2))), dim


class _BidirectionalLSTM(nn.Module):
    def __init__(self, dim: int, shift: Shift | None) -> None:
        super().__init__()
        if shift is None:
            self.lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        else:
            self.lstm = ShiftLSTM(
                dim,
                dim,
                batch_first=True,
                bidirectional=True,
                n_div=shift.n_div,
                stride=shift.stride,
                bidirectional_shift=shift.bidirectional,
            )

    def forward(self, frames: Tensor) -> Tensor:
        return self.lstm(frames)[0]  # type: ignore[no-any-return]


def _transformer_layer(config: FrameClassifierConfig, shift: Shift | None) -> nn.Module:
    dim, heads = config.hidden_size, config.num_attention_heads
    paper: dict[str, Any] = {"dim_feedforward": 4 * dim, "dropout": 0.0, "activation": "gelu", "batch_first": True}
    arguments = {} if shift is None else shift.model_dump()
    if shift is None or shift.placement != "replace":
        return RelativeTransformerLayer(dim, heads, **paper, max_frames=config.num_frames, **arguments)
    return ShiftTransformerLayer(dim, heads, **paper, **arguments)


def _heads(dim: int) -> int:
    return next(heads for heads in range(max(1, dim // 64), 0, -1) if dim % heads == 0)
