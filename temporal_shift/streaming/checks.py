"""Checks, at the creation of a stream, that its output will equal the output of its net."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..core import torch_private

_MAX_STEP = 1024  # frames; the memory of a stream is proportional to the step of its shift
_WIDTHS = ("in_features", "input_size", "normalized_shape")  # attributes with the number of input channels of a module


def inherits_forward(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` is a ``kind`` that overrides neither ``forward`` nor ``__call__``.

    A parametrization replaces the class of a module by a subclass that inherits ``forward``.
    """
    of_module = type(module)
    return (
        issubclass(of_module, kind)
        and of_module.forward is kind.forward
        and of_module.__call__ is nn.Module.__call__
        and "forward" not in vars(module)
    )


def check_streamable(net: nn.Module) -> None:
    """Check that ``net`` has no hook, and does not override ``forward`` without ``stream``.

    Raises:
        TypeError: If ``net`` is not an ``nn.Module``.
        ValueError: If ``net`` or a submodule has a hook, or if ``net`` overrides ``forward`` and inherits ``stream``.
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, got {type(net).__name__}")
    for name, module in net.named_modules():
        hooks = torch_private.all_hooks(module)
        if not hooks:
            continue
        where = f"{type(module).__name__}{f' ({name})' if name else ''}"
        if any(getattr(hook, "mixes_frames", False) for hook in hooks):
            raise ValueError(
                f"{where} cannot stream with a shift from add_temporal_shift(): use a layer that has a shift, or a "
                "TemporalShift before the module"
            )
        raise ValueError(
            f"{where} cannot stream with hooks, which may read other frames: remove them, and register them again "
            "after the stream is created if they only observe"
        )
    if has_stream(net) and _depth(net, "forward") < _depth(net, "stream"):
        raise ValueError(
            f"{type(net).__name__} cannot stream, because it overrides forward and inherits stream(): override "
            "stream(), too"
        )


def has_stream(module: nn.Module) -> bool:
    """Whether the module has a method ``stream``, not only a submodule with that name or a ``__getattr__`` for it."""
    return _depth(module, "stream") < math.inf and callable(module.stream)


def _depth(module: nn.Module, name: str) -> float:
    """The index in the MRO of the class that defines ``name``; -1 for the object itself, infinity for none."""
    owners = [vars(module), *map(vars, type(module).__mro__)]
    return next((depth for depth, names in enumerate(owners) if name in names), math.inf) - 1


def check_against_whole(net: nn.Module, live: Any) -> None:
    """Raise a ``ValueError`` if the output for a short random sequence differs between chunks and the whole.

    ``live`` is a new stream of ``net``. The net runs in eval mode, without autograd and autocast; its training mode,
    its buffers and the random state are restored. Nothing is checked if the net is on the meta device, shifts by more
    than 1024 frames, or raises an error for the sequence, for example for a wrong number of channels.
    """
    if max(map(_step, net.modules())) > _MAX_STEP:
        return
    x, time_dim = _example(net, live.time_dim, live.delay + 7)
    if x.is_meta:
        return
    with _undisturbed(net, x.device):
        try:
            whole = _frames_of(net(x.clone()))
        except Exception:  # for a wrong number of channels, or because a recurrent layer in a stack returns a tuple
            return
        chunks = x.split([3, 1, x.shape[time_dim] - 4], dim=time_dim)
        found = [*(live(chunk.clone()) for chunk in chunks), *([live.flush()] if live.delay else [])]
        streamed = torch.cat(found, dim=time_dim)
    if streamed.shape != whole.shape or not _close(streamed, whole):
        raise ValueError(
            f"{type(net).__name__} cannot stream: for a random sequence, the outputs of its chunks differ from the "
            "output of the whole sequence"
        )


def _step(module: nn.Module) -> int:
    """The largest number of frames by which a module shifts."""
    stride = getattr(module, "stride", None)  # a convolution has a tuple
    return max(abs(stride) if isinstance(stride, int) else 0, *(abs(frames) for _, frames in _groups(module)), 0)


def _groups(module: nn.Module) -> Sequence[tuple[int, int]]:
    groups = getattr(module, "groups", None)  # a convolution has an int
    return groups if isinstance(groups, (list, tuple)) else []


def _example(net: nn.Module, time_dim: int, frames: int) -> tuple[Tensor, int]:
    """A random sequence with the channels that the net probably expects, and its time dim."""
    modules = list(net.modules())
    widths = (getattr(module, name, None) for module in modules for name in _WIDTHS)
    width = next((width[-1] if isinstance(width, tuple) else width for width in widths if width), None)
    if width is None:  # a shift takes any sufficient number of channels
        groups = [sum(channels for channels, _ in _groups(module)) for module in modules]
        width = max(8, *groups, *(getattr(module, "n_div", None) or 0 for module in modules))
    channel_dim = next((dim for module in modules if isinstance(dim := getattr(module, "channel_dim", None), int)), -1)
    dims = next(n for n in range(3, 99) if _differ(time_dim, channel_dim, n))
    shape = [2] * dims
    shape[time_dim], shape[channel_dim] = frames, int(width)
    values = [*net.parameters(), *net.buffers()]
    like = next((value for value in values if value.is_floating_point()), torch.empty(0))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), device="cpu")
    return x.to(like.device, like.dtype), time_dim


def _differ(time_dim: int, channel_dim: int, dims: int) -> bool:
    """Whether both are valid and different dims of a tensor with ``dims`` dims."""
    exist = all(-dims <= dim < dims for dim in (time_dim, channel_dim))
    return exist and time_dim % dims != channel_dim % dims


@contextmanager
def _undisturbed(net: nn.Module, device: torch.device) -> Iterator[None]:
    modes = [(module, module.training) for module in net.modules() if module.training]
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    devices = [device] if device.type == "cuda" else []
    try:
        with (
            torch.random.fork_rng(devices),
            torch.autocast(device.type, enabled=False),
            torch.no_grad(),
        ):
            for module, _ in modes:
                module.training = False
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def _frames_of(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output[0]


def _close(streamed: Tensor, whole: Tensor) -> bool:
    """Whether both are equal up to the rounding of a net with many layers."""
    tolerance = torch.finfo(whole.dtype).eps ** 0.5
    finite = whole[whole.isfinite()].abs()
    scale = finite.max().item() if len(finite) else 0.0
    return torch.allclose(streamed, whole, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
