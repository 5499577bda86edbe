"""torch has every private API that the package uses. Other modules use only those that ``torch_private`` lists."""

from __future__ import annotations

import ast
from operator import attrgetter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.utils.hooks import RemovableHandle

import temporal_shift
from temporal_shift.core import torch_private

JAGGED = torch.nested.nested_tensor([torch.ones(1, 2), torch.ones(3, 2)], layout=torch.jagged)
USED = [
    (torch, "_C._is_tracing", "the choice of the graph form while TorchScript traces"),
    (torch, "_C._are_functorch_transforms_active", "the choice of the autograd Function under torch.func"),
    (torch, "_C._len_torch_dispatch_stack", "whether operations are recorded, as make_fx does"),
    (torch, "_C._has_storage", "the choice of a backend for batched derivatives"),
    (torch, "_C._current_graph_task_id", "the error for a checkpoint that bypasses the hooks of surgery"),
    (forward_ad, "_current_level", "the choice of the autograd Function under forward-mode autograd"),
    (torch.Tensor, "_has_symbolic_sizes_strides", "the choice of the graph form for symbolic sizes"),
    (torch.Tensor, "_is_view", "writes in place to views"),
    (torch.Tensor, "_base", "the error for writes in place to a view of a leaf"),
    (JAGGED, "_ragged_idx", "the shift of jagged nested tensors"),
    (nn.Module, "_forward_pre_hooks", "find_temporal_shifts and remove_temporal_shift"),
    (nn.Module, "_forward_pre_hooks_with_kwargs", "remove_temporal_shift"),
    (nn.Module, "_forward_hooks", "remove_temporal_shift"),
    (nn.Module, "_forward_hooks_with_kwargs", "remove_temporal_shift"),
    (nn.Module, "_forward_hooks_always_called", "remove_temporal_shift"),
    (nn.Module, "_backward_pre_hooks", "streams, which reject hooks"),
    (nn.Module, "_backward_hooks", "streams, which reject hooks"),
    (RemovableHandle, "next_id", "hooks of surgery in a model that was copied or unpickled"),
    (torch.compiler.assume_constant_result(lambda: 0), "_dynamo_marked_constant", "hooks of surgery under compile"),
    *torch_private.INHERITED,
    *((nn.MultiheadAttention(4, 1), name, purpose) for name, purpose in torch_private.READ_FROM_ATTENTION),
]


@pytest.mark.parametrize(("owner", "name", "purpose"), USED, ids=[name for _, name, _ in USED])
def test_torch_has_the_private_api(owner, name, purpose):
    owner = nn.Linear(1, 1) if owner is nn.Module else owner  # an instance: __init__ sets the attributes
    try:
        attrgetter(name)(owner)
    except AttributeError:
        pytest.fail(f"torch {torch.__version__} has no {name} of {owner!r}. It is needed for: {purpose}.")


def test_no_other_module_uses_a_private_api_of_torch():
    of_objects = {name for owner, name, _ in USED if owner is not torch and name.startswith("_")} - {
        "_sa_block",
        "_ff_block",
    }
    found = []
    for path in Path(temporal_shift.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.name == "torch_private.py" or not isinstance(node, ast.Attribute):
                continue
            of_module = ast.unparse(node.value).partition(".")[0] in ("torch", "nn", "forward_ad")
            if node.attr in of_objects or (of_module and node.attr.startswith("_") and not node.attr.endswith("__")):
                found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


def test_transforms_views_and_backward_passes_are_detected():
    x = torch.ones(2, requires_grad=True)
    assert (torch_private.is_view(x[:1]), torch_private.is_view(x)) == (True, False)
    assert (torch_private.is_view_of_leaf(x[:1]), torch_private.is_view_of_leaf((2 * x)[:1])) == (True, False)
    assert not torch_private.is_transformed()
    assert torch.func.vmap(lambda x: x + torch_private.is_transformed())(torch.zeros(2)).all()
    with forward_ad.dual_level():
        assert torch_private.is_transformed()
    assert torch_private.has_memory(x)
    assert not torch.func.vmap(lambda x: x + torch_private.has_memory(x))(torch.zeros(2)).any()
    seen = []
    y = 2 * x
    y.register_hook(lambda _: seen.append(torch_private.in_backward()))
    y.sum().backward()
    assert seen == [True]
    assert not torch_private.in_backward()
    assert torch_private.ragged_dim(JAGGED) == 1
