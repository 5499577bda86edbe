"""The private torch APIs that the package uses, with their purpose.

Other modules use only the private methods and attributes in ``INHERITED`` and ``READ_FROM_ATTENTION``.
``tests/core/test_torch_private.py`` names each API and fails if torch removes it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.hooks import RemovableHandle

Function = TypeVar("Function", bound=Callable[..., Any])

is_tracing: Callable[[], bool] = torch._C._is_tracing  # whether TorchScript's tracer runs, also in the ONNX exporter
is_observed: Callable[[], int] = torch._C._len_torch_dispatch_stack  # whether a TorchDispatchMode is active
has_memory: Callable[[Tensor], bool] = torch._C._has_storage  # False for example in batched derivatives
_is_compiling = torch.compiler.is_compiling
_are_transforms_active = torch._C._are_functorch_transforms_active

# Methods and a property that the layers call or override. (owner, name, purpose)
INHERITED: tuple[tuple[type, str, str], ...] = (
    (nn.TransformerEncoderLayer, "_sa_block", "self-attention and its dropout, in ShiftTransformerLayer"),
    (nn.TransformerEncoderLayer, "_ff_block", "the feed-forward part, in ShiftTransformerLayer"),
    (nn.RNNBase, "check_input", "validates the input of the first layer of ShiftLSTM and ShiftGRU"),
    (nn.RNNBase, "check_forward_args", "validates the state that the caller passes to ShiftLSTM and ShiftGRU"),
    (nn.RNNBase, "permute_hidden", "sorts states in the order of a PackedSequence and back"),
    (nn.RNNBase, "all_weights", "the weights of each layer and direction of ShiftLSTM and ShiftGRU"),
)

# Attributes that torch's Transformer layers read from ``self_attn``. (name, purpose)
READ_FROM_ATTENTION: tuple[tuple[str, str], ...] = (
    ("_qkv_same_embed_dim", "False disables torch's fused path, which computes torch's own attention"),
    ("in_proj_bias", "None disables torch's fused path"),
    ("batch_first", "whether the batch is the first dim"),
)


def is_traced() -> bool:
    """Whether torch.compile, torch.export or TorchScript's tracer records the call."""
    return _is_compiling() or is_tracing()


def has_symbolic_sizes(x: Tensor) -> bool:
    """Whether a size or stride of ``x`` is a ``SymInt``, as in tracers outside Dynamo, such as symbolic ``make_fx``."""
    return x._has_symbolic_sizes_strides


def is_transformed() -> bool:
    """Whether forward-mode autograd or a transform of ``torch.func`` is active."""
    return forward_ad._current_level >= 0 or _are_transforms_active()


def in_backward() -> bool:
    """Whether autograd's backward pass runs in this thread, for example when a checkpoint recomputes its forward."""
    return torch._C._current_graph_task_id() != -1


def is_view(x: Tensor) -> bool:
    """Whether autograd tracks ``x`` as a view of another tensor."""
    return x._is_view()


def is_view_of_leaf(x: Tensor) -> bool:
    """Whether ``x`` is a view of a leaf. Autograd forbids writing to such a view if the leaf requires grad."""
    return x._is_view() and x._base is not None and x._base.is_leaf


def ragged_dim(nested: Any) -> int:
    """The dim of a jagged nested tensor that may have a different size in each sequence."""
    return nested._ragged_idx  # type: ignore[no-any-return]


def pre_hooks(module: nn.Module) -> tuple[dict[int, Any], ...]:
    """The forward pre-hooks of ``module`` by key, then the keys of those that get kwargs. torch has no API for this."""
    return module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs


def forward_hooks(module: nn.Module) -> tuple[dict[int, Any], ...]:
    """The forward hooks of ``module`` by key, then the tables of their options. torch has no API for this."""
    return module._forward_hooks, module._forward_hooks_with_kwargs, module._forward_hooks_always_called


def all_hooks(module: nn.Module) -> list[Any]:
    """The hooks of ``module`` that run in its forward or backward pass."""
    backward = module._backward_pre_hooks, module._backward_hooks
    tables: tuple[dict[int, Any], ...] = pre_hooks(module)[0], forward_hooks(module)[0], *backward
    return [hook for table in tables for hook in table.values()]


def reserve_hook_key(key: int) -> None:
    """Prevent torch from reusing ``key``, which an unpickled hook has, for a new hook."""
    RemovableHandle.next_id = max(RemovableHandle.next_id, key + 1)


def forget_compiled() -> None:
    """Discard all compiled code, because Dynamo does not notice added or removed hooks."""
    if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled, and the import would take seconds
        torch.compiler.reset()


def assume_constant_result(function: Function) -> Function:
    """``torch.compiler.assume_constant_result`` without importing Dynamo."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function
