"""The shift under the transforms of eager PyTorch."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import compiled_autograd
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.functional import jacobian
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint

from temporal_shift import temporal_shift, temporal_shift_add
from temporal_shift.core import dispatch

from .samples import Sample, gallery, kinds, small


def each(samples: list[Sample]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("sample", samples, ids=range(len(samples)))


each_sample, each_kind = each(gallery()), each(kinds())
# For tests in which mode and kind are independent: each padding mode, no bounds and each kind of bounds, two layouts.
each_mode_and_kind = each([kinds()[i] for i in (0, 4, 8, 10, 12)])


def random_like(sample: Sample) -> Tensor:
    return torch.randn_like(sample.x, dtype=torch.float64)


@each_sample
def test_derivatives_of_first_and_second_order_equal_finite_differences(sample: Sample):
    x = random_like(sample).requires_grad_()

    def shifted(x):
        return temporal_shift(x, **sample.arguments)

    assert gradcheck(shifted, x, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(shifted, x, check_fwd_over_rev=True, fast_mode=True)


@each_kind
def test_gradients_of_the_fused_sum_equal_finite_differences(sample: Sample):
    x, residual = random_like(sample).requires_grad_(), random_like(sample)[..., :1].clone().requires_grad_()

    def added(x, residual):
        return temporal_shift_add(x, residual, **sample.arguments)

    assert gradcheck(added, (x, residual), check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(added, (x, residual), fast_mode=True)


@each_kind
def test_gradients_in_place_equal_those_out_of_place(sample: Sample):
    x = random_like(sample).requires_grad_()

    def shifted(x):
        h = 2 * x
        assert temporal_shift(h, **sample.arguments, inplace=True) is h
        return h * h

    def expected(x):
        h = temporal_shift(2 * x, **sample.arguments)
        return h * h

    assert torch.equal(*(torch.autograd.grad(f(x).sum(), x)[0] for f in (shifted, expected)))
    assert gradcheck(shifted, x, check_forward_ad=True, fast_mode=True)
    assert gradgradcheck(shifted, x, fast_mode=True)


@each_kind
def test_vmap_equals_a_loop(sample: Sample):
    stacked = torch.stack([sample.x, sample.x + 1, sample.x * 2], dim=-1)
    y = vmap(lambda x: temporal_shift(x, **sample.arguments), in_dims=-1, out_dims=-1)(stacked)
    for one, expected in zip(y.unbind(-1), stacked.unbind(-1), strict=True):
        assert torch.equal(one, temporal_shift(expected, **sample.arguments))


@each_mode_and_kind
def test_vmap_of_the_fused_sum_equals_a_loop(sample: Sample):
    stacked, residual = torch.stack([sample.x, sample.x * 2], dim=1), small(tuple(sample.x.shape))
    y = vmap(lambda x: temporal_shift_add(x, residual, **sample.arguments), in_dims=1)(stacked)
    for one, x in zip(y, stacked.unbind(1), strict=True):
        assert torch.equal(one, temporal_shift_add(x, residual, **sample.arguments))
    y = vmap(lambda r: temporal_shift_add(sample.x, r, **sample.arguments))(torch.stack([residual, -residual]))
    assert torch.equal(y[1], temporal_shift_add(sample.x, -residual, **sample.arguments))


@each_kind
def test_vmap_in_place_equals_a_loop(sample: Sample):
    stacked = torch.stack([sample.x, sample.x + 1, sample.x * 2], dim=-1)
    expected = torch.stack([temporal_shift(x, **sample.arguments) for x in stacked.unbind(-1)], dim=-1)
    vmap(lambda x: temporal_shift(x, **sample.arguments, inplace=True), in_dims=-1)(stacked)
    assert torch.equal(stacked, expected)


@each_mode_and_kind
def test_vmap_of_grad_gives_per_sample_gradients(sample: Sample):
    stacked = torch.stack([random_like(sample) for _ in range(3)])
    weight = random_like(sample)

    def loss(x):
        return (weight * temporal_shift(x, **sample.arguments).sin()).sum()

    y = vmap(grad(loss))(stacked)
    for one, x in zip(y, stacked, strict=True):
        x = x.clone().requires_grad_()
        assert torch.allclose(one, torch.autograd.grad(loss(x), x)[0])


@pytest.mark.parametrize("name", ["lengths", "cu_seqlens"])
def test_vmap_over_bounds_equals_a_loop(name):
    bounds = torch.tensor([[0, 2, 6], [0, 5, 6]]) if name == "cu_seqlens" else torch.tensor([3, 6])
    x = torch.randn(2, 6, 8)

    def shifted(x, bounds):
        return temporal_shift(x, n_div=2, padding_mode="replicate", **{name: bounds})

    looped = torch.stack([shifted(*pair) for pair in zip(x, bounds, strict=True)])
    assert torch.equal(vmap(shifted)(x, bounds), looped)
    assert torch.equal(vmap(shifted, in_dims=(None, 0))(x[0], bounds)[1], shifted(x[0], bounds[1]))


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate", "circular"])
def test_compositions_of_transforms_agree(padding_mode):
    x, tangent = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)

    def f(x):
        return temporal_shift(x, n_div=2, bidirectional=True, padding_mode=padding_mode).sin()

    assert torch.allclose(jacfwd(f)(x), jacrev(f)(x))
    _, pushed = jvp(f, (x,), (tangent,))
    assert torch.allclose(pushed, torch.einsum("ijkl,kl->ij", jacrev(f)(x), tangent))
    _, pull = vjp(f, x)
    assert torch.allclose(pull(tangent)[0], torch.einsum("ijkl,ij->kl", jacfwd(f)(x), tangent))
    h = hessian(lambda x: f(x).pow(3).sum())(x)
    assert torch.allclose(h, jacrev(jacrev(lambda x: f(x).pow(3).sum()))(x))
    assert torch.allclose(
        vmap(vmap(grad(lambda x: f(x).sum())))(x.expand(2, 3, 5, 4))[1, 2], grad(lambda x: f(x).sum())(x)
    )


@each_mode_and_kind
@pytest.mark.parametrize("on_triton", [False, True])
def test_the_batched_jacobians_of_forward_and_reverse_mode_are_equal(sample: Sample, on_triton: bool, monkeypatch):
    if on_triton:
        pytest.importorskip("triton", reason="Triton is not installed")
        if not torch.cuda.is_available():
            monkeypatch.setattr(dispatch, "triton_devices", {"cpu"})
        sample = sample.on("cuda" if torch.cuda.is_available() else "cpu")
    x, residual = random_like(sample), random_like(sample)[..., :1].clone()

    def added(x, residual):
        return temporal_shift_add(x, residual, **sample.arguments)

    for function, point in (
        (lambda x: temporal_shift(x, **sample.arguments), x),
        (lambda x: temporal_shift(2 * x, **sample.arguments, inplace=True), x),
        (lambda x: added(x, residual), x),
        (lambda residual: added(x, residual), residual),
        (lambda x: added(x, 2 * x), x),
    ):
        forward = jacobian(function, point, vectorize=True, strategy="forward-mode")
        assert torch.equal(forward, jacobian(function, point, vectorize=True, strategy="reverse-mode"))


def test_forward_mode_autograd_shifts_the_tangent():
    x, tangent = torch.randn(5, 4), torch.randn(5, 4)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, tangent)
        y = forward_ad.unpack_dual(temporal_shift(dual, n_div=2)).tangent
    assert torch.equal(y, temporal_shift(tangent, n_div=2))


@each_mode_and_kind
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_shift_has_the_same_gradient(sample: Sample, reentrant: bool):
    x, weight = random_like(sample).requires_grad_(), random_like(sample)

    def f(x):
        return temporal_shift(x.sin(), **sample.arguments) * weight

    expected = torch.autograd.grad(f(x).sum(), x)[0]
    checkpoint(f, x, use_reentrant=reentrant).sum().backward()
    assert torch.equal(x.grad, expected)


@each_kind
def test_fake_tensors_give_shape_and_dtype_without_computing(sample: Sample):
    expected = temporal_shift(sample.x, **sample.arguments)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = {k: mode.from_tensor(v) if isinstance(v, Tensor) else v for k, v in sample.arguments.items()}
        y = temporal_shift(mode.from_tensor(sample.x), **fake)
    assert (y.shape, y.dtype, y.device) == (expected.shape, expected.dtype, expected.device)


def test_autocast_keeps_the_dtype_of_a_shift_and_promotes_a_sum_like_torch():
    x, residual = torch.randn(2, 5, 8, requires_grad=True), torch.randn(2, 5, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        h = nn.functional.linear(x, torch.eye(8))
        assert temporal_shift(h).dtype == h.dtype == torch.bfloat16
        assert temporal_shift(residual).dtype == torch.float32
        y = temporal_shift_add(h, residual)
        assert y.dtype == (h + residual).dtype
    y.sum().backward()
    assert x.grad.dtype == torch.float32


def test_the_gradient_of_a_real_term_of_a_complex_sum_is_real_without_a_warning(recwarn):
    x, residual = torch.randn(2, 5, 8, dtype=torch.complex64), torch.randn(2, 5, 8)
    for first, second in ((x, residual), (residual, x)):
        terms = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        found = torch.autograd.grad(temporal_shift_add(*terms, n_div=2).abs().sum(), terms)
        expected = torch.autograd.grad((temporal_shift(terms[0], n_div=2) + terms[1]).abs().sum(), terms)
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert not recwarn.list


def test_vmap_over_an_empty_batch_of_cu_seqlens_is_empty():
    x, ends = torch.randn(0, 6, 8), torch.zeros(0, 3, dtype=torch.int64)
    assert vmap(lambda x, ends: temporal_shift(x, cu_seqlens=ends))(x, ends).shape == x.shape


@each([kinds()[i] for i in (0, 3, 6, 9)])  # without bounds
def test_a_compiled_backward_pass_gives_the_same_gradient(sample: Sample):
    x, weight = random_like(sample).requires_grad_(), random_like(sample)
    expected = torch.autograd.grad((temporal_shift(x, **sample.arguments) * weight).sum(), x)[0]
    y = (temporal_shift(x, **sample.arguments) * weight).sum()
    with compiled_autograd._enable(torch.compile(backend="eager")), warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lru_cache")  # Dynamo warns if it traces a cached function
        y.backward()
    assert torch.allclose(x.grad, expected)
