"""The shift against the oracle, its gradient, its compiled form, and what it says of wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from temporal_shift import temporal_shift

from . import reference
from .samples import DIFFERENTIABLE, Sample, as_numpy, numbered, samples, small


@settings(max_examples=2000)
@given(samples())
def test_the_output_is_the_oracles(sample: Sample):
    before = sample.x.clone()
    y = temporal_shift(sample.x, **sample.arguments)
    expected = reference.temporal_shift(as_numpy(sample.x), **sample.arguments)
    assert y.dtype == sample.x.dtype
    assert np.array_equal(as_numpy(y), expected)
    assert torch.equal(sample.x, before)


@settings(max_examples=2000)
@given(samples(dtypes=DIFFERENTIABLE))
def test_the_gradient_is_the_oracles(sample: Sample):
    x = sample.x.detach().requires_grad_()
    y = temporal_shift(x, **sample.arguments)
    upstream = small(tuple(y.shape), y.dtype)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    assert np.array_equal(as_numpy(gradient), reference.temporal_shift_gradient(as_numpy(upstream), **sample.arguments))


@pytest.mark.parametrize("stride", [-5, -1, 0, 1, 2, 4, 9])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradcheck_and_gradgradcheck_pass(stride, bidirectional):
    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)

    def shifted(x):
        return temporal_shift(x, n_div=3, stride=stride, bidirectional=bidirectional)

    assert torch.autograd.gradcheck(shifted, x)
    assert torch.autograd.gradgradcheck(shifted, x)


@pytest.mark.parametrize("stride", [1, -2, 0, 20])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layout", ["BLD", "BDL", "every second"])
def test_compiled_fullgraph_equals_eager(stride, bidirectional, layout):
    torch.compiler.reset()
    x = torch.randn(2, 14, 10) if layout == "BLD" else torch.randn(2, 10, 14).transpose(1, 2)
    x = torch.randn(2, 14, 20)[..., ::2] if layout == "every second" else x

    def shifted(x):
        return temporal_shift(x, n_div=3, stride=stride, bidirectional=bidirectional)

    eager, compiled = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, y = shifted(eager), torch.compile(shifted, fullgraph=True)(compiled)
    assert torch.equal(y, expected)
    upstream = torch.randn_like(expected)
    expected.backward(upstream)
    y.backward(upstream)
    assert torch.equal(compiled.grad, eager.grad)


def test_every_byte_of_the_output_is_written(poisoned):
    y = temporal_shift(numbered((2, 9, 12)), n_div=4, stride=2, bidirectional=True)
    assert not y.isnan().any()


def test_nothing_but_the_geometry_is_kept_for_backward():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        temporal_shift(torch.randn(2, 9, 12, requires_grad=True)).sum()
    assert kept == []


def test_the_output_owns_its_memory_even_where_nothing_moves():
    x = numbered((1, 3, 4))
    temporal_shift(x, stride=0, n_div=4).zero_()
    assert torch.equal(x, numbered((1, 3, 4)))


def test_an_odd_channel_that_no_group_covers_is_left_alone():
    x = numbered((1, 4, 7))
    assert torch.equal(temporal_shift(x, n_div=2, bidirectional=True)[..., -1], x[..., -1])


@pytest.mark.parametrize(
    ("error", "arguments", "sentence"),
    [
        (TypeError, {"x": [[1.0]]}, "x must be a torch.Tensor, not list"),
        (ValueError, {"x": torch.zeros(3)}, "x of shape (3,) must have a time and a channel dim: at least 2 dims"),
        (ValueError, {"n_div": 9}, "n_div=9 moves none of the 8 channels: it must be at most 8"),
        (ValueError, {"n_div": 0}, "n_div=0 is no share of the 8 channels: it must be at least 1"),
        (
            ValueError,
            {"n_div": 1, "bidirectional": True},
            "n_div=1 leaves no channel for the second direction: with bidirectional=True it must be at least 2",
        ),
        (TypeError, {"n_div": 2.0}, "n_div must be an int, not 2.0"),
        (TypeError, {"n_div": True}, "n_div must be an int, not True"),
        (TypeError, {"stride": "1"}, "stride must be an int, not '1'"),
        (TypeError, {"bidirectional": 1}, "bidirectional must be a bool, not 1"),
        (ValueError, {"time_dim": 3}, "time_dim=3 is no dim of x, which has 3: it must be between -3 and 2"),
        (ValueError, {"channel_dim": -4}, "channel_dim=-4 is no dim of x, which has 3: it must be between -3 and 2"),
        (ValueError, {"time_dim": 2}, "time_dim=2 and channel_dim=-1 are the same dim of x: they must differ"),
        (TypeError, {"time_dim": None}, "time_dim must be an int, not None"),
    ],
)
def test_a_wrong_argument_is_named_with_what_would_be_right(error, arguments, sentence):
    x = arguments.pop("x", torch.zeros(2, 5, 8))
    with pytest.raises(error) as caught:
        temporal_shift(x, **arguments)
    assert str(caught.value) == sentence
