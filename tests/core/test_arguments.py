"""Errors name the argument, the allowed values and the given value. A call that raises changes nothing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_shift import temporal_shift, temporal_shift_add

X = torch.arange(80.0).reshape(2, 5, 8)


def leaf() -> torch.Tensor:
    return torch.ones(2, 5, 8, requires_grad=True)


@torch.inference_mode()
def inference_tensor() -> torch.Tensor:
    return torch.ones(2, 5, 8)


def ends(*values: int, **kwargs: Any) -> torch.Tensor:
    return torch.tensor(values, **kwargs)


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecated in torch
    QUANTIZED = torch.quantize_per_tensor(X, 0.5, 0, torch.quint8)

# error, arguments, and a pattern for the message: the argument, the allowed values, the given value
WRONG: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"x": [[1.0]]}, "x .*Tensor.* list"),
    (TypeError, {"x": None}, "x .*Tensor.* NoneType"),
    (TypeError, {"x": X.to_sparse()}, r"x .*dense.* torch.sparse_coo.* x\.to_dense\(\)"),
    (TypeError, {"x": X.to_mkldnn()}, r"x .*strided.* torch._mkldnn.* x\.to_dense\(\)"),
    (ValueError, {"x": X[..., :0]}, "number of channels .*at least 1 .* 0$"),
    (TypeError, {"lengths": ends(3, 5).to_sparse()}, r"lengths .*dense.* torch.sparse_coo.* lengths\.to_dense\(\)"),
    (ValueError, {"stride": 10**30}, rf"stride .*\[-2\*\*62, 2\*\*62\].* {10**30}"),
    (ValueError, {"groups": [(2, -(10**30))]}, rf"frames of a group .*\[-2\*\*62, 2\*\*62\].* -{10**30}"),
    (TypeError, {"x": QUANTIZED}, r"x .*quantized.* torch.quint8.* x\.dequantize\(\)"),
    (
        TypeError,
        {"x": torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged)},
        r"x .*dense.* nested.* x\.values\(\) .*cu_seqlens=x\.offsets\(\)",
    ),
    (
        TypeError,
        {"x": torch.nested.nested_tensor([X[0], X[1]], layout=torch.strided)},
        r"x .*dense.* nested.* x\.to_padded_tensor\(0\.0\) .*lengths",
    ),
    (ValueError, {"x": torch.zeros(3)}, "x .*2 dims.* 1$"),
    (ValueError, {"x": torch.tensor(3.0)}, "x .*2 dims.* 0$"),
    (ValueError, {"n_div": 9}, r"n_div .*\[1, 8\].* 9$"),
    (ValueError, {"n_div": 0}, r"n_div .*\[1, 8\].* 0$"),
    (ValueError, {"n_div": -2, "bidirectional": True}, r"n_div .*\[2, 8\].* -2$"),
    (ValueError, {"n_div": 1, "bidirectional": True}, r"n_div .*\[2, 8\].*bidirectional.* 1$"),
    (TypeError, {"n_div": 2.0}, r"n_div .*int.* 2\.0$"),
    (TypeError, {"n_div": True}, "n_div .*int.* True$"),
    (TypeError, {"n_div": [2]}, r"n_div .*int.* \[2\]$"),
    (TypeError, {"stride": "1"}, "stride .*int.* '1'$"),
    (TypeError, {"bidirectional": 1}, "bidirectional .*bool.* 1$"),
    (ValueError, {"padding_mode": "reflect"}, "padding_mode.*'reflect'"),
    (ValueError, {"padding_mode": None}, "padding_mode.*None"),
    (TypeError, {"groups": {4: 1}}, r"groups .*list or tuple of \(channels, frames\).* dict$"),
    (TypeError, {"groups": [4, 1]}, r"groups .*\(channels, frames\).* 4$"),
    (TypeError, {"groups": [(4, 1, 1)]}, r"groups .*\(channels, frames\).* \(4, 1, 1\)$"),
    (TypeError, {"groups": [(4, 0.5)]}, r"frames of a group .*int.* 0\.5$"),
    (TypeError, {"groups": [("4", 1)]}, "channels of a group .*int.* '4'$"),
    (ValueError, {"groups": [(-1, 1)]}, "channels of a group .*at least 0.* -1 "),
    (ValueError, {"groups": [(5, 1), (4, 2)]}, "groups .*at most 8.* 9 "),
    (ValueError, {"groups": [(4, 1)], "n_div": 8}, "n_div, .*None.*groups.* n_div=8$"),
    (ValueError, {"time_dim": 3}, r"time_dim .*\[-3, 2\].* 3$"),
    (ValueError, {"channel_dim": -4}, r"channel_dim .*\[-3, 2\].* -4$"),
    (ValueError, {"time_dim": 2}, "time_dim and channel_dim .*differ, .*time_dim=2, channel_dim=-1$"),
    (TypeError, {"time_dim": None}, "time_dim .*int.* None$"),
    (TypeError, {"channel_dim": 1.5}, r"channel_dim .*int.* 1\.5$"),
    (ValueError, {"lengths": ends(5, 5), "cu_seqlens": ends(0, 5)}, "lengths .*cu_seqlens .*both"),
    (TypeError, {"lengths": [5, 5]}, "lengths .*Tensor.* list$"),
    (TypeError, {"lengths": torch.ones(2)}, "lengths .*int32 .*int64.* torch.float32$"),
    (ValueError, {"lengths": ends(5, 5, 5)}, r"lengths .*\(2,\).* \(3,\)$"),
    (ValueError, {"lengths": ends(5, 6)}, r"lengths .*\[0, 5\].* 6$"),
    (ValueError, {"lengths": ends(-1, 5)}, r"lengths .*\[0, 5\].* -1$"),
    (ValueError, {"x": (2 * leaf())[:, :], "lengths": ends(6, 5), "inplace": True}, r"lengths .*\[0, 5\].* 6$"),
    (ValueError, {"lengths": ends(5, 5, device="meta")}, "lengths .*device .*cpu.* meta$"),
    (TypeError, {"cu_seqlens": (0, 5)}, "cu_seqlens .*Tensor.* tuple$"),
    (TypeError, {"cu_seqlens": torch.ones(2) > 0}, "cu_seqlens .*int32 .*int64.* torch.bool$"),
    (ValueError, {"cu_seqlens": torch.tensor(5)}, r"cu_seqlens .*\(sequences \+ 1,\).* \(\)$"),
    (ValueError, {"cu_seqlens": ends(0, 3, 2, 5)}, "cu_seqlens .*ascending.* 3 before 2$"),
    (ValueError, {"cu_seqlens": ends(1, 5)}, "cu_seqlens .*from 0 to 5.* 1 to 5$"),
    (ValueError, {"cu_seqlens": ends(0, 4)}, "cu_seqlens .*from 0 to 5.* 0 to 4$"),
    (TypeError, {"inplace": 1}, "inplace .*bool.* 1$"),
    (ValueError, {"x": leaf(), "inplace": True}, r"x .*leaf.*inplace.*x\.clone\(\)"),
    (ValueError, {"x": leaf()[:1], "inplace": True}, r"x .*view of a leaf.*inplace.*x\.clone\(\)"),
    (
        ValueError,
        {"x": X[:1].expand(2, 5, 8), "inplace": True},
        r"elements of x .*share memory.*inplace.*\(0, 8, 1\).*x\.clone",
    ),
    (
        ValueError,
        {"x": X.flatten().as_strided((2, 5, 8), (8, 4, 1)), "inplace": True},
        r"elements of x .*share memory.*inplace.*\(8, 4, 1\).*x\.clone",
    ),
    (ValueError, {"x": inference_tensor(), "inplace": True}, r"x .*inference tensor.*inplace.*x\.clone\(\)"),
]


@pytest.mark.parametrize(("error", "arguments", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_argument_raises_an_error_with_the_allowed_values_and_changes_nothing(error, arguments, message):
    x = arguments.get("x", X)
    before = x.detach().clone() if isinstance(x, torch.Tensor) else x
    with pytest.raises(error, match=f"^(the )?{message}"):
        temporal_shift(**{"x": X, **arguments})
    if isinstance(x, torch.Tensor) and not x.is_nested and x.layout == torch.strided:
        assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("error", "residual", "message"),
    [
        (TypeError, 1.0, "residual .*Tensor.* float$"),
        (TypeError, None, "residual .*Tensor.* NoneType$"),
        (TypeError, X.to_mkldnn(), r"residual .*strided.* torch._mkldnn.* residual\.to_dense\(\)"),
        (TypeError, QUANTIZED, r"residual .*quantized.* torch.quint8.* residual\.dequantize\(\)"),
        (ValueError, torch.zeros(2, 4, 8), r"residual .*broadcast.*\(2, 5, 8\).* \(2, 4, 8\)$"),
        (ValueError, torch.zeros(1, 2, 5, 8), r"residual .*broadcast.*\(2, 5, 8\).* \(1, 2, 5, 8\)$"),
        (ValueError, torch.zeros(2, 5, 8, device="meta"), "residual .*device .*cpu.* meta$"),
    ],
)
def test_a_wrong_residual_raises_an_error_with_the_allowed_values(error, residual, message):
    with pytest.raises(error, match=f"^{message}"):
        temporal_shift_add(X, residual)


@pytest.mark.parametrize("stride", [1, 9])
@pytest.mark.parametrize(
    ("x", "residual"),
    [(torch.float8_e5m2, torch.float8_e5m2), (torch.float8_e5m2, torch.float32), (torch.uint16, torch.uint16)],
)
def test_a_sum_that_torch_does_not_support_raises_an_error(x, residual, stride):
    x, residual = X.to(x), X.to(residual)
    with pytest.raises(RuntimeError):
        x + residual
    with pytest.raises(RuntimeError):
        temporal_shift_add(x, residual, stride=stride)


@settings(max_examples=200)
@given(shape=st.tuples(*[st.integers(2, 4)] * 3), strides=st.tuples(*[st.integers(0, 12)] * 3))
def test_in_place_supports_any_strides_unless_elements_share_memory(shape, strides):
    x = torch.arange(120.0).as_strided(shape, strides)
    if len(x.unique()) < x.numel():
        with pytest.raises(ValueError, match=r"share memory"):
            temporal_shift(x, n_div=2, inplace=True)
    else:
        expected = temporal_shift(x, n_div=2)
        assert torch.equal(temporal_shift(x, n_div=2, inplace=True), expected)


def test_the_error_for_a_distributed_tensor_says_how_to_pass_its_local_part(tmp_path):
    import torch.distributed as dist
    from torch.distributed.tensor import DeviceMesh, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        x = distribute_tensor(X, DeviceMesh("cpu", [0]))
        with pytest.raises(TypeError, match=r"^x .*local.* DTensor.* x\.to_local\(\)"):
            temporal_shift(x)
    finally:
        dist.destroy_process_group()


def test_a_nested_tensor_can_be_shifted_as_the_error_says():
    x = torch.nested.nested_tensor([X[0], X[1, :2]], layout=torch.jagged)
    y = temporal_shift(x.values(), cu_seqlens=x.offsets())
    assert torch.equal(y, torch.cat([temporal_shift(X[0]), temporal_shift(X[1, :2])]))
