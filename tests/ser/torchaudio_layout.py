"""A small version of torchaudio's wav2vec 2.0 base and HuBERT base, with its names, in plain torch modules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

DIM, HEADS, LAYERS, CONVOLVED, POSITIONS, GROUPS = 128, 2, 2, 16, 16, 4
SHAPES = [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]  # kernel, stride


class Convolution(nn.Module):
    def __init__(self, channels, kernel, stride, is_first):
        super().__init__()
        self.layer_norm = nn.GroupNorm(CONVOLVED, CONVOLVED) if is_first else None
        self.conv = nn.Conv1d(channels, CONVOLVED, kernel, stride, bias=False)

    def forward(self, x):
        x = self.conv(x)
        return nn.functional.gelu(x if self.layer_norm is None else self.layer_norm(x))


class FeatureExtractor(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_layers = nn.ModuleList(
            Convolution(CONVOLVED if layer else 1, *shape, is_first=layer == 0) for layer, shape in enumerate(SHAPES)
        )

    def forward(self, waves):
        x = waves[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x.transpose(1, 2)


class FeatureProjection(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_norm = nn.LayerNorm(CONVOLVED)
        self.projection = nn.Linear(CONVOLVED, DIM)

    def forward(self, x):
        return self.projection(self.layer_norm(x))


class PositionalConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        conv = nn.Conv1d(DIM, DIM, POSITIONS, padding=POSITIONS // 2, groups=GROUPS)
        self.conv = weight_norm(conv, dim=2)

    def forward(self, x):
        return nn.functional.gelu(self.conv(x.transpose(1, 2))[..., :-1]).transpose(1, 2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(DIM, DIM) for _ in range(4))

    def forward(self, x):
        q, k, v = (
            each(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for each in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (q @ k.mT / math.sqrt(DIM // HEADS)).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self):
        super().__init__()
        self.intermediate_dense, self.output_dense = nn.Linear(DIM, 3 * DIM), nn.Linear(3 * DIM, DIM)

    def forward(self, x):
        return self.output_dense(nn.functional.gelu(self.intermediate_dense(x)))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.layer_norm = nn.LayerNorm(DIM)
        self.feed_forward = FeedForward()
        self.final_layer_norm = nn.LayerNorm(DIM)

    def forward(self, x):
        x = self.layer_norm(x + self.attention(x))
        return self.final_layer_norm(x + self.feed_forward(x))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_conv_embed = PositionalConvolution()
        self.layer_norm = nn.LayerNorm(DIM)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))

    def forward(self, x):
        x = self.layer_norm(x + self.pos_conv_embed(x))
        for layer in self.layers:
            x = layer(x)
        return x


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.feature_projection = FeatureProjection()
        self.transformer = Transformer()

    def forward(self, x):
        return self.transformer(self.feature_projection(x))


class TorchaudioModel(nn.Module):
    """Waveforms ``(B, samples)`` to frames ``(B, L, DIM)``."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor()
        self.encoder = Encoder()

    def forward(self, waves: Tensor) -> Tensor:
        return self.encoder(self.feature_extractor(waves))


class ShiftSERModel(nn.Module):
    """The whole model as ShiftSER saves it: ``pretrain.*`` and ``model.*``."""

    def __init__(self, pretrain: TorchaudioModel, model: nn.Module) -> None:
        super().__init__()
        self.pretrain = pretrain
        self.model = model

    def forward(self, waves: Tensor) -> Tensor:
        return self.model(self.pretrain(waves))


def randomise(module: nn.Module) -> nn.Module:
    """Randomise every parameter, including norms and biases, so that tests detect a lost one."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.endswith("original0"):  # original0 contains norms, which stay positive
                parameter.copy_(parameter + 0.1 * torch.randn_like(parameter))
            else:
                parameter.copy_(parameter * (0.5 + torch.rand_like(parameter)))
    return module
