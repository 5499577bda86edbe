"""The shift and its graph for compilers equal the NumPy reference: outputs, gradients, in-place results and sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from temporal_shift import temporal_shift, temporal_shift_add
from temporal_shift.core import graph
from temporal_shift.core.arguments import resolve

from .. import reference
from .samples import (
    DIFFERENTIABLE,
    PADDING_MODES,
    Sample,
    any_bounds,
    as_numpy,
    examples,
    gallery,
    movements,
    numbered,
    samples,
    small,
)


@settings(max_examples=examples(300))
@given(sample=samples())
def test_the_output_equals_the_reference(sample: Sample):
    before = sample.x.clone()
    y = temporal_shift(sample.x, **sample.arguments)
    expected = reference.temporal_shift(as_numpy(sample.x), **sample.arguments)
    assert y.dtype == sample.x.dtype
    assert np.array_equal(as_numpy(y), expected)
    assert torch.equal(sample.x, before)


@settings(max_examples=examples(300))
@given(sample=samples(dtypes=DIFFERENTIABLE))
def test_the_gradient_equals_the_reference(sample: Sample):
    x = sample.x.detach().requires_grad_()
    y = temporal_shift(x, **sample.arguments)
    upstream = small(tuple(y.shape), y.dtype)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    assert np.array_equal(as_numpy(gradient), reference.temporal_shift_gradient(as_numpy(upstream), **sample.arguments))


@settings(max_examples=examples(250))
@given(sample=samples())
def test_in_place_equals_the_reference(sample: Sample):
    x = (
        torch.empty_strided(sample.x.shape, sample.x.stride(), dtype=sample.x.dtype)
        if dense(sample.x)
        else sample.x.clone()
    )
    x.copy_(sample.x)
    assert temporal_shift(x, **sample.arguments, inplace=True) is x
    assert np.array_equal(as_numpy(x), reference.temporal_shift(as_numpy(sample.x), **sample.arguments))


@settings(max_examples=examples(250))
@given(sample=samples(dtypes=(torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.complex64)))
def test_the_fused_sum_equals_the_plain_sum(sample: Sample):
    for residual in (small(tuple(sample.x.shape)), small(tuple(sample.x.shape), sample.x.dtype)):
        y = temporal_shift_add(sample.x, residual, **sample.arguments)
        assert torch.equal(y, temporal_shift(sample.x, **sample.arguments) + residual)


@st.composite
def samples_with_any_bounds(draw: st.DrawFn, ascending: bool) -> Sample:
    batch, frames, channels = draw(st.lists(st.integers(1, 2), max_size=2)), draw(st.integers(0, 7)), 5
    movement = {**draw(movements(channels)), "padding_mode": draw(st.sampled_from(PADDING_MODES))}
    x = numbered((*batch, frames, channels), torch.float64)
    return Sample(x, {**movement, **draw(any_bounds(batch, frames, ascending=ascending))})


def as_a_graph(sample: Sample, x: torch.Tensor, residual=None, inplace: bool = False) -> torch.Tensor:
    """The shift as the graph for compilers, which does not check the values of bounds."""
    arguments = dict(sample.arguments)
    kind = next(name for name in ("lengths", "cu_seqlens") if name in arguments)
    bounds, groups = arguments.pop(kind), arguments.pop("groups", None)
    n_div, stride, both = (arguments.get(name) for name in ("n_div", "stride", "bidirectional"))
    geometry = resolve(x, n_div, stride, both, arguments["padding_mode"], groups, kind, -2, -1)
    return graph.shift_(x, bounds, geometry) if inplace else graph.shift(x, residual, bounds, geometry)


@settings(max_examples=examples(150))
@given(sample=samples_with_any_bounds(ascending=True))
def test_a_graph_clamps_invalid_bounds_and_treats_frames_outside_all_sequences_as_padding(sample: Sample):
    x = sample.x.clone().requires_grad_()
    expected = torch.from_numpy(reference.temporal_shift(as_numpy(x), **sample.arguments))
    y = as_a_graph(sample, x)
    assert torch.equal(y, expected)
    assert torch.equal(as_a_graph(sample, sample.x.clone(), inplace=True), expected)
    assert torch.equal(as_a_graph(sample, x, small(tuple(x.shape))), expected + small(tuple(x.shape)))
    (gradient,) = torch.autograd.grad(y, x, small(tuple(y.shape), y.dtype), allow_unused=True, materialize_grads=True)
    upstream = as_numpy(small(tuple(y.shape), y.dtype))
    assert np.array_equal(as_numpy(gradient), reference.temporal_shift_gradient(upstream, **sample.arguments))


@settings(max_examples=examples(100))
@given(sample=samples_with_any_bounds(ascending=False))
def test_with_unsorted_bounds_the_output_contains_only_zeros_and_values_of_the_same_channel(sample: Sample):
    x = sample.x
    y = as_a_graph(sample, x)
    of_channels = [[0.0, *channel.flatten().tolist()] for channel in x.unbind(-1)]
    assert all(set(part.flatten().tolist()) <= set(own) for part, own in zip(y.unbind(-1), of_channels, strict=True))


def dense(x: torch.Tensor) -> bool:
    return all(stride > 0 for stride in x.stride()) and x.numel() > 0


def test_every_element_of_the_output_is_written(poisoned):
    unwritten = [str(sample) for sample in gallery() if temporal_shift(sample.x, **sample.arguments).isnan().any()]
    assert unwritten == []


def test_no_tensor_is_saved_for_backward():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        temporal_shift(torch.randn(2, 9, 12, requires_grad=True)).sum()
    assert kept == []


def test_the_output_owns_its_memory_even_if_nothing_moves():
    x = numbered((1, 3, 4))
    temporal_shift(x, stride=0, n_div=4).zero_()
    assert torch.equal(x, numbered((1, 3, 4)))


def test_the_sum_has_the_dtype_of_a_plain_sum():
    x = torch.ones(1, 2, 8, dtype=torch.float16)
    for residual in (torch.ones(1, 2, 8), torch.ones(8), torch.tensor(1.0), torch.ones(1, 2, 8, dtype=torch.float64)):
        assert temporal_shift_add(x, residual).dtype == (x + residual).dtype


def test_gradients_of_a_sum_have_the_dtypes_of_its_terms():
    x, residual = torch.ones(1, 2, 8, dtype=torch.float16, requires_grad=True), torch.ones(8, requires_grad=True)
    temporal_shift_add(x, residual).sum().backward()
    assert (x.grad.dtype, residual.grad.dtype, residual.grad.shape) == (torch.float16, torch.float32, (8,))


def test_in_place_on_a_slice_does_not_change_the_rest_of_the_tensor():
    x = torch.ones(1, 4, 8)
    temporal_shift(x[:, :2], inplace=True, n_div=1)
    assert x[:, 2:].all()
    assert not x[:, 0].any()


def test_in_place_on_a_view_has_the_right_gradient():
    def loss(x, inplace):
        h = 2 * x
        part = h[:, :, 2:]
        y = temporal_shift(part, n_div=3, inplace=inplace)
        return (h if inplace else torch.cat([h[:, :, :2], y], dim=-1)).pow(2).sum()

    x = torch.randn(1, 4, 8, requires_grad=True)
    assert torch.equal(*(torch.autograd.grad(loss(x, inplace), x)[0] for inplace in (True, False)))


def test_in_place_on_one_of_several_views_raises_torchs_error_and_changes_nothing():
    h = torch.randn(2, 4, 8, requires_grad=True) * 1
    before = h.detach().clone()
    with pytest.raises(RuntimeError, match="multiple views"):
        temporal_shift(h.unbind(0)[0], inplace=True)
    assert torch.equal(h, before)


@pytest.mark.parametrize("inplace", [False, True])
def test_lazily_conjugated_and_negated_tensors_are_shifted_correctly(inplace):
    x = torch.randn(2, 5, 8, dtype=torch.complex64)
    for lazy in (x.conj(), x.conj().imag):
        expected = temporal_shift(lazy.resolve_conj().resolve_neg().clone(), n_div=4, bidirectional=True)
        assert torch.equal(temporal_shift(lazy, n_div=4, bidirectional=True, inplace=inplace), expected)


def test_a_shift_of_fake_tensors_does_not_affect_a_real_one():
    x = torch.randn(3, 5, 1024)
    with FakeTensorMode(allow_non_fake_inputs=True):
        temporal_shift(x, n_div=4)
    assert torch.equal(temporal_shift(x, n_div=4)[:, 1:, :256], x[:, :-1, :256])


def test_arguments_that_equal_cached_ones_but_have_the_wrong_type_raise_an_error():
    x = torch.zeros(1, 4, 8)
    temporal_shift(x, stride=1, n_div=2)
    for wrong in ({"stride": True}, {"stride": 1.0}, {"n_div": 2.0}):
        with pytest.raises(TypeError):
            temporal_shift(x, **{"n_div": 2, **wrong})
