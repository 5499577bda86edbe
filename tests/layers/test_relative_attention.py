"""Relative attention gives the result of its formula in loops and of the published form."""

from __future__ import annotations

import math

import pytest
import torch
from einops import einsum, rearrange
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from temporal_shift.layers.relative_attention import RelativeSelfAttention, relative_attention

pytestmark = pytest.mark.usefixtures("one_thread")


def inputs(length: int, batch: int = 2, heads: int = 3, dim: int = 4) -> list[Tensor]:
    """Queries, keys and values, which are not contiguous, as after a projection; and a table of relative positions."""
    projected = torch.randn(batch, length, 3 * heads * dim, dtype=torch.float64)
    q, k, v = rearrange(projected, "b l (three h d) -> three b h l d", three=3, h=heads)
    return [x.requires_grad_() for x in (q, k, v, torch.randn(2 * length - 1, dim, dtype=torch.float64))]


def published(q: Tensor, k: Tensor, v: Tensor, table: Tensor, bias: Tensor | None = None) -> Tensor:
    """The form of Hugging Face's ``relative_key_query``, with its ``(L, L, d)`` tensor."""
    steps = torch.arange(q.shape[2])
    relative = table[rearrange(steps, "l -> l 1") - rearrange(steps, "r -> 1 r") + len(steps) - 1]
    of_query, of_key = (
        einsum(q, relative, "b h l d, l r d -> b h l r"),
        einsum(k, relative, "b h r d, l r d -> b h l r"),
    )
    scores = einsum(q, k, "b h l d, b h r d -> b h l r") + of_query + of_key
    scores = scores / math.sqrt(q.shape[-1])
    return (scores if bias is None else scores + bias).softmax(-1) @ v


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_output_equals_the_formula_in_loops(length):
    attention = RelativeSelfAttention(12, 3, max_frames=7, batch_first=True).double()
    x = torch.randn(2, length, 12, dtype=torch.float64)
    table = attention.distance_embedding.weight
    q, k, v = rearrange(attention.qkv(x), "b l (three h d) -> three b l h d", three=3, h=3)
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
    torch.testing.assert_close(attention(x), rearrange(expected, "b l h d -> b l (h d)"))


@pytest.mark.parametrize(
    ("length", "bias"),
    [(1, None), (2, (2, 1, 1)), (9, None), (9, (1, 1, 1)), (9, (2, 1, 1)), (9, (1, 3, 0)), (9, (2, 3, 0))],
)
def test_output_and_gradients_equal_those_of_the_published_form(length, bias):
    ours = inputs(length)
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    if bias is not None:
        bias = torch.randn(bias[0], bias[1], bias[2] or length, length, dtype=torch.float64)
    y, expected = relative_attention(*ours, bias), published(*theirs, bias)
    torch.testing.assert_close(y, expected)
    upstream = torch.randn_like(expected)
    gradients, right = torch.autograd.grad(y, ours, upstream), torch.autograd.grad(expected, theirs, upstream)
    torch.testing.assert_close(gradients, right)
    with torch.no_grad():
        torch.testing.assert_close(relative_attention(*ours, bias), expected)


def test_the_output_equals_the_published_form_at_the_papers_size():
    q, k, v, table = (x.detach().float() for x in inputs(374, batch=2, heads=12, dim=64))
    torch.testing.assert_close(
        relative_attention(q, k, v, 0.02 * table), published(q, k, v, 0.02 * table), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("wanted", [[0], [3], [1, 2], [0, 1, 2, 3]])
def test_derivatives_of_second_order_and_forward_mode_equal_finite_differences(wanted):
    fixed = inputs(5, batch=1, heads=2, dim=3)

    def function(*some: Tensor) -> Tensor:
        given = dict(zip(wanted, some, strict=True))
        return relative_attention(*(given.get(n, x.detach()) for n, x in enumerate(fixed)))

    points = [fixed[n] for n in wanted]
    assert torch.autograd.gradcheck(function, points, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, points)


def test_without_positions_the_output_equals_torchs_attention():
    q, k, v, table = inputs(9)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(relative_attention(q, k, v, torch.zeros_like(table)), expected)


class Largest(TorchDispatchMode):
    """Records the largest number of elements of an output of any operation."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(output):
            if isinstance(x, Tensor):
                self.elements = max(self.elements, x.numel())
        return output


def test_no_tensor_of_l_times_l_times_d_is_built():
    x = inputs(100, batch=1, heads=1, dim=64)
    with Largest() as forward:
        y = relative_attention(*x)
    with Largest() as backward:
        y.sum().backward()
    assert max(forward.elements, backward.elements) <= 2 * 100 * 100 + 200 < 100 * 100 * 64


@pytest.mark.parametrize("form", ["bool", "additive"])
@pytest.mark.parametrize("training", [False, True])
def test_masked_frames_get_no_attention(form, training):
    attention = RelativeSelfAttention(12, 3, max_frames=9, batch_first=True).train(training)
    x = torch.randn(2, 9, 12)
    mask = torch.ones(9, 9, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False] * 9, [False] * 5 + [True] * 4])
    if form == "additive":
        mask, padding = (torch.zeros(m.shape).masked_fill(m, -math.inf) for m in (mask, padding))
    y = attention(x, mask, padding)
    for t in range(9):
        torch.testing.assert_close(y[0, t], attention(x[:1, : t + 1])[0, t])
    torch.testing.assert_close(y[1, :5], attention(x[1:, :5], mask[:5, :5])[0])
    each_head = mask.expand(6, 9, 9)
    torch.testing.assert_close(attention(x, each_head, padding), y)


def test_nan_in_padding_affects_no_valid_frame():
    attention = RelativeSelfAttention(12, 3, max_frames=9, batch_first=True)
    padding = torch.tensor([[False] * 9, [False] * 5 + [True] * 4])
    x = torch.randn(2, 9, 12)
    y = attention(x.masked_fill(padding[..., None], math.nan), key_padding_mask=padding)
    torch.testing.assert_close(y[~padding], attention(x, key_padding_mask=padding)[~padding])


def test_a_fully_padded_sequence_has_finite_output_and_gradients():
    attention = RelativeSelfAttention(12, 3, max_frames=9, batch_first=True)
    padding = torch.tensor([[False] * 9, [True] * 9])
    y = attention(
        torch.randn(2, 9, 12), torch.zeros(9, 9).masked_fill(torch.ones(9, 9).triu(1) > 0, -math.inf), padding
    )
    y.sum().backward()
    assert y.isfinite().all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_time_major_and_unbatched_input_have_the_same_output():
    attention = RelativeSelfAttention(12, 3, max_frames=9, batch_first=True)
    time_major = RelativeSelfAttention(12, 3, max_frames=9)
    time_major.load_state_dict(attention.state_dict())
    x = torch.randn(2, 9, 12)
    padding = torch.tensor([[False] * 9, [False] * 5 + [True] * 4])
    expected = attention(x, key_padding_mask=padding)
    torch.testing.assert_close(time_major(x.transpose(0, 1), key_padding_mask=padding).transpose(0, 1), expected)
    torch.testing.assert_close(attention(x[1], key_padding_mask=padding[1]), expected[1])


def test_dropout_is_active_only_in_training_mode():
    attention = RelativeSelfAttention(12, 3, max_frames=9, dropout=0.5, batch_first=True)
    plain = RelativeSelfAttention(12, 3, max_frames=9, batch_first=True)
    plain.load_state_dict(attention.state_dict())
    x = torch.randn(2, 9, 12)
    assert not torch.allclose(attention(x), plain(x))
    torch.testing.assert_close(attention.eval()(x), plain(x))


def test_the_table_has_a_row_for_each_distance_and_is_initialised_from_the_standard_normal():
    table = RelativeSelfAttention(12, 3, max_frames=374).distance_embedding.weight
    assert table.shape == (2 * 374 - 1, 4)
    assert abs(table.mean()) < 0.1  # five standard errors are 0.09
    assert 0.9 < table.std() < 1.1


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: RelativeSelfAttention(12, 5, 9), "nhead.*d_model=12.*5"),
        (lambda: RelativeSelfAttention(12, 3, 0), "max_frames.*at least 1.*0"),
        (
            lambda: RelativeSelfAttention(12, 3, 9)(torch.zeros(10, 12)),
            "max_frames=9.*10",
        ),
    ],
)
def test_errors_name_the_wrong_argument(act, message):
    with pytest.raises(ValueError, match=message):
        act()
