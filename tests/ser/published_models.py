"""The six models of the ShiftSER paper in plain torch modules, with the names of weights that ShiftSER uses."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

SHIFTS: dict[str, dict[str, Any] | None] = {
    "CNN": None,
    "ShiftCNN": {"placement": "residual", "n_div": 16},
    "LSTM": None,
    "ShiftLSTM": {"placement": "inplace", "n_div": 4},
    "Transformer": None,
    "Shiftformer": {"placement": "replace", "n_div": 4, "bidirectional": True},
}


def shift(x: Tensor, n_div: int, bidirectional: bool = False) -> Tensor:
    moved, fold = x.clone(), x.shape[-1] // n_div
    moved[:, 0, :fold] = 0
    moved[:, 1:, :fold] = x[:, :-1, :fold]
    if bidirectional:
        moved[:, -1, fold : 2 * fold] = 0
        moved[:, :-1, fold : 2 * fold] = x[:, 1:, fold : 2 * fold]
    return moved


class Transpose(nn.Module):
    def forward(self, x):
        return x.transpose(1, 2)


class ConvBlock(nn.Module):
    def __init__(self, dim, shifted):
        super().__init__()
        self.shifted = shifted
        self.sequential = nn.Sequential(
            nn.Conv1d(dim, dim, 7, padding=3, groups=dim),
            Transpose(),
            nn.LayerNorm(dim),
            Transpose(),
            nn.Conv1d(dim, 4 * dim, 1),
            nn.GELU(),
            nn.Conv1d(4 * dim, dim, 1),
        )

    def forward(self, x):
        return (shift(x, 16) if self.shifted else x) + self.sequential(x.transpose(1, 2)).transpose(1, 2)


class Shifted(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(shift(x, 4))


class Attention(nn.Module):
    def __init__(self, dim, frames, heads):
        super().__init__()
        self.frames, self.heads = frames, heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.distance_embedding = nn.Embedding(2 * frames - 1, dim // heads)

    def forward(self, x):
        batch, length, dim = x.shape
        q, k, v = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        steps = torch.arange(length)
        relative = self.distance_embedding(steps[:, None] - steps[None, :] + self.frames - 1)  # (L, L, d)
        scores = torch.einsum("bhid,bhjd->bhij", q, k)
        scores = scores + torch.einsum("bhid,ijd->bhij", q, relative) + torch.einsum("bhjd,ijd->bhij", k, relative)
        weights = (scores / math.sqrt(dim // self.heads)).softmax(-1)
        return torch.einsum("bhij,bhjd->bihd", weights, v).reshape(batch, length, dim)


class MLP(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class AttentionBlock(nn.Module):
    def __init__(self, dim, frames, heads):
        super().__init__()
        self.token_mixer = Attention(dim, frames, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = MLP(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x):
        x = self.norm1(x + self.token_mixer(x))
        return self.norm2(x + self.mlp(x))


class ShiftBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mlp = MLP(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x):
        x = shift(x, 4, bidirectional=True)
        return self.norm2(x + self.mlp(x))


class SpecAugment(nn.Module):
    """Fills time masks with a learned vector and feature masks with 0. Draws random numbers in the package's order."""

    def __init__(self, dim):
        super().__init__()
        self.masked_spec_embed = nn.Parameter(torch.rand(dim))

    def forward(self, x):
        if not self.training:
            return x
        in_time = spans(len(x), x.shape[1], 0.08, 15, 2)
        in_features = spans(len(x), x.shape[2], 0.05, 64, 1)
        x = torch.where(in_time[:, :, None], self.masked_spec_embed, x)
        return torch.where(in_features[:, None, :], 0.0, x)


def spans(rows: int, size: int, prob: float, length: int, at_least: int) -> Tensor:
    """True in ``prob * size / length`` spans of each row, rounded at random; in ``at_least`` or more if they fit."""
    mask = torch.zeros(rows, size, dtype=torch.bool)
    if length <= size:
        count = min(max(int(prob * size / length + torch.rand(()).item()), at_least), size // length)
        for row, order in enumerate(torch.rand(rows, size - length + 1).argsort(dim=1).tolist()):
            for start in order[:count]:
                mask[row, start : start + length] = True
    return mask


class PublishedModel(nn.Module):
    """A frame classifier: frames ``(B, L, D)`` to logits."""

    def __init__(self, name: str, dim: int, frames: int, heads: int, classes: int) -> None:
        super().__init__()
        self.specaugment = SpecAugment(dim)
        if name in ("CNN", "ShiftCNN"):
            self.conv_block = nn.Sequential(ConvBlock(dim, False), ConvBlock(dim, name == "ShiftCNN"))
            self.norm = nn.LayerNorm(dim)
        elif name in ("LSTM", "ShiftLSTM"):
            lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
            self.rnn = lstm if name == "LSTM" else Shifted(lstm)
            self.norm = nn.LayerNorm(2 * dim)
        elif name == "Transformer":
            self.transformer = nn.Sequential(*(AttentionBlock(dim, frames, heads) for _ in range(2)))
        else:
            self.transformer = nn.Sequential(ShiftBlock(dim), ShiftBlock(dim))
        self.head = nn.Linear(2 * dim if name in ("LSTM", "ShiftLSTM") else dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.specaugment(x)
        if hasattr(self, "conv_block"):
            x = self.norm(self.conv_block(x))
        elif hasattr(self, "rnn"):
            x = self.norm(self.rnn(x)[0])
        else:
            x = self.transformer(x)
        return self.head(x.mean(1))
