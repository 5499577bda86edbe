"""A Hugging Face encoder with the choice of its frames: what it reads -> frames of a layer, or of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class FrameEncoder(nn.Module):
    """An encoder whose frames are taken from one of its layers, or from all of them.

    Args:
        model: Hugging Face's.
        layer: ``"last"`` for the model's output; an index of its hidden states, 0 being what goes into the first layer;
            ``"weighted"`` for all of them, stacked.
        average: So many neighbouring frames become one, their mean.
    Shape:
        What the encoder reads to ``(B, frames, D)``, or ``(B, layers, frames, D)`` where the layers are to be weighed.
    """

    def __init__(self, model: Any, layer: int | str, average: int) -> None:
        super().__init__()
        self.model = model
        self.model.config.apply_spec_augment = False  # ours is on the frames; theirs fails on clips of 0.2 s and less
        self.average = average
        self.choose(layer)

    def choose(self, layer: int | str) -> None:
        """Take this layer's frames from now on."""
        self.layer = layer
        if layer != "last":
            self.model.config.layerdrop = 0.0  # or a layer left out while learning would move those after it up by one

    def forward(self, inputs: Tensor) -> Tensor:
        output = self.model(inputs, output_hidden_states=self.layer != "last")
        # Not the last of the hidden states: where the layers are pre-norm, that one lacks the final layer norm.
        frames: Tensor = output.last_hidden_state
        if self.layer == "weighted":
            frames = torch.stack([*output.hidden_states[:-1], frames], dim=1)
        elif self.layer != "last":
            frames = output.hidden_states[self.layer]
        return _averaged(frames, self.average)

    def learn(self) -> None:
        """Let everything learn but the convolutions that read the waveform or the spectrogram, as the paper does."""
        self.requires_grad_(True)
        freeze = getattr(getattr(self.model, "feature_extractor", None), "_freeze_parameters", None)
        if freeze is not None:  # wav2vec 2.0 and its kin: this also spares them a backward pass
            freeze()
        for name in ("feature_extractor", "conv1", "conv2", "embed_positions"):  # the others are Whisper's
            if isinstance(part := getattr(self.model, name, None), nn.Module):
                part.requires_grad_(False)


def normalized(waves: Tensor) -> Tensor:
    """Shift and scale each waveform of ``(B, samples)`` to zero mean and unit variance, as Wav2Vec2FeatureExtractor."""
    centred = waves - waves.mean(dim=1, keepdim=True)
    return centred * (centred.square().mean(dim=1, keepdim=True) + 1e-7).rsqrt()


def _averaged(frames: Tensor, neighbours: int) -> Tensor:
    if neighbours == 1:
        return frames
    groups = torch.split(frames, neighbours, dim=-2)  # the last group may be shorter
    return torch.stack([group.mean(dim=-2) for group in groups], dim=-2)
