"""A Hugging Face encoder that returns the frames of one layer, or of all layers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn


class FrameEncoder(nn.Module):
    """An encoder that returns the frames of one of its layers, or of all layers.

    Args:
        model: A Hugging Face encoder.
        layer: ``"last"`` for the model's output; an index of its hidden states, 0 for the input of the first layer;
            ``"weighted"`` for all hidden states, stacked.
        average: Number of neighbouring frames that are averaged into one; the last group can have fewer.
    Shape:
        The encoder's input to ``(B, frames, D)``, or ``(B, layers, frames, D)`` for ``"weighted"``.
    """

    def __init__(self, model: Any, layer: int | str, average: int) -> None:
        super().__init__()
        self.model = model
        # FeatureSpecAugment masks the frames; Hugging Face's masks fail on clips of at most 0.2 s
        self.model.config.apply_spec_augment = False
        self.freeze_constants()
        self.average = average
        self.choose(layer)

    def choose(self, layer: int | str) -> None:
        """Set the layer. For an index or ``"weighted"``, also turn off layer drop."""
        self.layer = layer
        if layer != "last":
            self.model.config.layerdrop = 0.0  # a dropped layer would shift the index of later layers
            with suppress(ImportError):  # older versions of transformers have no hooks
                from transformers.utils.output_capturing import maybe_install_capturing_hooks

                # else the first call installs the hooks, which torch.compile cannot trace
                maybe_install_capturing_hooks(self.model)

    def forward(self, inputs: Tensor, **asked: Any) -> Any:
        """The frames; with arguments such as ``output_attentions``, a pair of the frames and the encoder's output."""
        states = True if self.layer != "last" else asked.get("output_hidden_states", False)
        output = self.model(inputs, **{**asked, "output_hidden_states": states})
        return (self.frames_of(output), output) if asked else self.frames_of(output)

    def frames_of(self, output: Any) -> Tensor:
        """The frames from the model's output. Except for ``"last"``, the output must contain the hidden states."""
        frames: Tensor = output.last_hidden_state  # hidden_states[-1] lacks the final layer norm in pre-norm models
        if self.layer == "weighted":
            frames = torch.stack([*output.hidden_states[:-1], frames], dim=1)
        elif self.layer != "last":
            frames = output.hidden_states[self.layer]
        if self.average == 1:
            return frames
        groups = torch.split(frames, self.average, dim=-2)  # the last group can have fewer frames
        return torch.stack([group.mean(dim=-2) for group in groups], dim=-2)

    def learn(self) -> None:
        """Make all parameters trainable, except for the mask vector, Whisper's positions and the input convolutions.

        The paper also freezes the convolutions.
        """
        self.requires_grad_(True)
        freeze = getattr(getattr(self.model, "feature_extractor", None), "_freeze_parameters", None)
        if freeze is not None:  # in wav2vec 2.0 and similar encoders, this also skips the backward pass
            freeze()
        # the last three names are Whisper's
        self._freeze("masked_spec_embed", "feature_extractor", "conv1", "conv2", "embed_positions")

    def freeze_constants(self) -> None:
        """Freeze parameters that are never trained: the unused mask vector, and Whisper's sinusoidal positions.

        Hugging Face's ``from_pretrained`` makes every parameter trainable.
        """
        self._freeze("masked_spec_embed", "embed_positions")

    def _freeze(self, *names: str) -> None:
        for name in names:
            if isinstance(part := getattr(self.model, name, None), nn.Module | nn.Parameter):
                part.requires_grad_(False)


def normalized(waves: Tensor) -> Tensor:
    """Normalise each waveform of ``(B, samples)`` to zero mean and unit variance, like ``Wav2Vec2FeatureExtractor``."""
    centred = waves - waves.mean(dim=1, keepdim=True)
    return centred * (centred.square().mean(dim=1, keepdim=True) + 1e-7).rsqrt()
