"""Relative attention against its formula in loops."""

from __future__ import annotations

import math

import pytest
import torch

from temporal_shift import temporal_shift
from temporal_shift.ser.attention import RelativeSelfAttention, RelativeTransformerLayer
from temporal_shift.ser.config import Shift


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_scores_are_the_published_formula(length):
    attention = RelativeSelfAttention(dim=12, heads=3, frames=7).double()
    x = torch.randn(2, length, 12, dtype=torch.float64)
    table = attention.distance_embedding.weight
    q, k, v = attention.qkv(x).view(2, length, 3, 3, 4).unbind(2)  # each (B, L, H, d)
    expected = torch.empty(2, length, 3, 4, dtype=torch.float64)
    for b in range(2):
        for h in range(3):
            scores = torch.empty(length, length, dtype=torch.float64)
            for i in range(length):
                for j in range(length):
                    relative = table[i - j + 6]
                    query, key = q[b, i, h], k[b, j, h]
                    scores[i, j] = (query @ key + query @ relative + key @ relative) / math.sqrt(4)
            expected[b, :, h] = scores.softmax(-1) @ v[b, :, h]
    torch.testing.assert_close(attention(x), expected.reshape(2, length, 12))


def test_the_table_has_a_row_for_each_distance():
    assert RelativeSelfAttention(12, 3, frames=374).distance_embedding.weight.shape == (2 * 374 - 1, 4)


@pytest.mark.parametrize("placement", ["residual", "inplace"])
def test_a_shift_sits_where_its_placement_says(placement):
    shift = Shift(placement=placement, n_div=4, stride=2, bidirectional=True)
    layer = RelativeTransformerLayer(12, 3, 9, shift)
    x = torch.randn(2, 9, 12)
    moved = temporal_shift(x, n_div=4, stride=2, bidirectional=True)
    h = layer.norm1(moved + layer.attention(moved if placement == "inplace" else x))
    expected = layer.norm2(h + layer.linear2(torch.nn.functional.gelu(layer.linear1(h))))
    torch.testing.assert_close(layer(x), expected)
