"""Wrong arguments: each is named, with what was given and what would be right, and nothing is changed by it."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from temporal_shift import temporal_shift, temporal_shift_add

X = torch.arange(80.0).reshape(2, 5, 8)


def leaf() -> torch.Tensor:
    return torch.ones(2, 5, 8, requires_grad=True)


def ends(*values: int, **kwargs: Any) -> torch.Tensor:
    return torch.tensor(values, **kwargs)


WRONG: list[tuple[type[Exception], dict[str, Any], str]] = [
    (TypeError, {"x": [[1.0]]}, "x must be a torch.Tensor, not list"),
    (TypeError, {"x": None}, "x must be a torch.Tensor, not NoneType"),
    (TypeError, {"x": X.to_sparse()}, "x is sparse (torch.sparse_coo): it must be dense, as x.to_dense() is"),
    (
        TypeError,
        {"x": torch.nested.nested_tensor([X[0], X[1]], layout=torch.jagged)},
        "x is a nested tensor: pass its x.values() with cu_seqlens=x.offsets()",
    ),
    (
        TypeError,
        {"x": torch.nested.nested_tensor([X[0], X[1]], layout=torch.strided)},
        "x is a nested tensor: pass x.to_padded_tensor(0.0) with its lengths",
    ),
    (ValueError, {"x": torch.zeros(3)}, "x of 1 dim must have a time and a channel dim: at least 2 dims"),
    (ValueError, {"x": torch.tensor(3.0)}, "x of 0 dims must have a time and a channel dim: at least 2 dims"),
    (ValueError, {"n_div": 9}, "n_div=9 moves none of the 8 channels: it must be at most 8"),
    (ValueError, {"n_div": 0}, "n_div=0 is no share of the 8 channels: it must be at least 1"),
    (ValueError, {"n_div": -2, "bidirectional": True}, "n_div=-2 is no share of the 8 channels: it must be at least 2"),
    (
        ValueError,
        {"n_div": 1, "bidirectional": True},
        "n_div=1 leaves no channel for the second direction: with bidirectional=True it must be at least 2",
    ),
    (TypeError, {"n_div": 2.0}, "n_div must be an int, not 2.0"),
    (TypeError, {"n_div": True}, "n_div must be an int, not True"),
    (TypeError, {"n_div": [2]}, "n_div must be an int, not [2]"),
    (TypeError, {"stride": "1"}, "stride must be an int, not '1'"),
    (TypeError, {"bidirectional": 1}, "bidirectional must be a bool, not 1"),
    (
        ValueError,
        {"padding_mode": "reflect"},
        "padding_mode='reflect' is not known: it must be one of 'zeros', 'replicate', 'circular'",
    ),
    (
        ValueError,
        {"padding_mode": None},
        "padding_mode=None is not known: it must be one of 'zeros', 'replicate', 'circular'",
    ),
    (TypeError, {"groups": {4: 1}}, "groups must be a list of (channels, frames), not dict"),
    (TypeError, {"groups": [4, 1]}, "groups must hold pairs (channels, frames), not 4"),
    (TypeError, {"groups": [(4, 1, 1)]}, "groups must hold pairs (channels, frames), not (4, 1, 1)"),
    (TypeError, {"groups": [(4, 0.5)]}, "the frames of a group must be an int, not 0.5"),
    (TypeError, {"groups": [("4", 1)]}, "the channels of a group must be an int, not '4'"),
    (ValueError, {"groups": [(-1, 1)]}, "groups=[(-1, 1)] has a group of -1 channels: each must be at least 0"),
    (
        ValueError,
        {"groups": [(5, 1), (4, 2)]},
        "groups=[(5, 1), (4, 2)] take 9 channels: they must be at most the 8 of x",
    ),
    (
        ValueError,
        {"groups": [(4, 1)], "stride": 2},
        "groups says all that n_div, stride and bidirectional say: they must be left at their defaults",
    ),
    (ValueError, {"time_dim": 3}, "time_dim=3 is no dim of x, which has 3: it must be between -3 and 2"),
    (ValueError, {"channel_dim": -4}, "channel_dim=-4 is no dim of x, which has 3: it must be between -3 and 2"),
    (ValueError, {"time_dim": 2}, "time_dim=2 and channel_dim=-1 are the same dim of x: they must differ"),
    (TypeError, {"time_dim": None}, "time_dim must be an int, not None"),
    (TypeError, {"channel_dim": 1.5}, "channel_dim must be an int, not 1.5"),
    (
        ValueError,
        {"lengths": ends(5, 5), "cu_seqlens": ends(0, 5)},
        "lengths and cu_seqlens both say where sequences end: at most one of them must be given",
    ),
    (TypeError, {"lengths": [5, 5]}, "lengths must be a torch.Tensor, not list"),
    (TypeError, {"lengths": torch.ones(2)}, "lengths must hold torch.int32 or torch.int64, not torch.float32"),
    (
        ValueError,
        {"lengths": ends(5, 5, 5)},
        "lengths has shape (3,), and x of shape (2, 5, 8) has batch dims (2,): it must have (2,), one length for each "
        "sequence",
    ),
    (ValueError, {"lengths": ends(5, 6)}, "lengths holds 6: each must be between 0 and the 5 frames of x"),
    (ValueError, {"lengths": ends(-1, 5)}, "lengths holds -1: each must be between 0 and the 5 frames of x"),
    (
        ValueError,
        {"x": (2 * leaf())[:, :], "lengths": ends(6, 5), "inplace": True},
        "lengths holds 6: each must be between 0 and the 5 frames of x",
    ),
    (
        ValueError,
        {"lengths": ends(5, 5, device="meta")},
        "lengths is on meta and x on cpu: both must be on the same device",
    ),
    (TypeError, {"cu_seqlens": (0, 5)}, "cu_seqlens must be a torch.Tensor, not tuple"),
    (TypeError, {"cu_seqlens": torch.ones(2) > 0}, "cu_seqlens must hold torch.int32 or torch.int64, not torch.bool"),
    (ValueError, {"cu_seqlens": torch.tensor(5)}, "cu_seqlens has shape (): it must be (sequences + 1,)"),
    (ValueError, {"cu_seqlens": ends(0, 3, 2, 5)}, "cu_seqlens goes from 3 to 2: it must be ascending"),
    (ValueError, {"cu_seqlens": ends(1, 5)}, "cu_seqlens runs from 1 to 5: it must run from 0 to the 5 frames of x"),
    (ValueError, {"cu_seqlens": ends(0, 4)}, "cu_seqlens runs from 0 to 4: it must run from 0 to the 5 frames of x"),
    (TypeError, {"inplace": 1}, "inplace must be a bool, not 1"),
    (
        ValueError,
        {"x": leaf(), "inplace": True},
        "x is a leaf that requires grad: with inplace=True it must be the result of an operation",
    ),
    (
        ValueError,
        {"x": leaf()[:1], "inplace": True},
        "x is a view of a leaf that requires grad: with inplace=True it must be no part of a leaf",
    ),
    (
        ValueError,
        {"x": X[:1].expand(2, 5, 8), "inplace": True},
        "x of shape (2, 5, 8) is expanded (strides (0, 8, 1)): with inplace=True each of its elements must have memory "
        "of its own, as x.clone() has",
    ),
    (
        ValueError,
        {"x": torch.inference_mode()(lambda: torch.ones(2, 5, 8))(), "inplace": True},
        "x was made in inference mode: with inplace=True it must be shifted there, or cloned first",
    ),
]


@pytest.mark.parametrize(("error", "arguments", "sentence"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_argument_is_named_with_what_would_be_right_and_changes_nothing(error, arguments, sentence):
    x = arguments.get("x", X)
    before = x.detach().clone() if isinstance(x, torch.Tensor) else x
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        temporal_shift(**{"x": X, **arguments})
    if isinstance(x, torch.Tensor) and not x.is_nested and not x.is_sparse:
        assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("error", "residual", "sentence"),
    [
        (TypeError, 1.0, "residual must be a torch.Tensor, not float"),
        (
            ValueError,
            torch.zeros(2, 4, 8),
            "residual of shape (2, 4, 8) does not broadcast to x: its shape must be (2, 5, 8)",
        ),
        (
            ValueError,
            torch.zeros(1, 2, 5, 8),
            "residual of shape (1, 2, 5, 8) does not broadcast to x: its shape must be (2, 5, 8)",
        ),
        (
            ValueError,
            torch.zeros(2, 5, 8, device="meta"),
            "residual is on meta and x on cpu: both must be on the same device",
        ),
    ],
)
def test_a_wrong_residual_is_named_with_what_would_be_right(error, residual, sentence):
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        temporal_shift_add(X, residual)


def test_a_distributed_tensor_is_told_to_shift_its_local_part(tmp_path):
    import torch.distributed as dist
    from torch.distributed.tensor import DeviceMesh, distribute_tensor

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        x = distribute_tensor(X, DeviceMesh("cpu", [0]))
        with pytest.raises(TypeError, match=r"^x is a DTensor: shift the local part, temporal_shift\(x.to_local\(\), "):
            temporal_shift(x)
    finally:
        dist.destroy_process_group()


def test_a_nested_tensor_can_do_what_the_error_says():
    x = torch.nested.nested_tensor([X[0], X[1, :2]], layout=torch.jagged)
    y = temporal_shift(x.values(), cu_seqlens=x.offsets())
    assert torch.equal(y, torch.cat([temporal_shift(X[0]), temporal_shift(X[1, :2])]))
