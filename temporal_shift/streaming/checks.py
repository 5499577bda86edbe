"""What would make a stream return other frames than its net, checked when the stream is created."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..core import torch_private

_MAX_STEP = 1024  # frames; a stream keeps as many in memory as its shift moves
_WIDTHS = ("in_features", "input_size", "normalized_shape")  # attributes of modules with the channels of their input


def inherits_forward(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether ``module`` computes the ``forward`` of ``kind``: it is no subclass with another one.

    A parametrization gives a module a subclass that inherits ``forward``.
    """
    of_module = type(module)
    return (
        issubclass(of_module, kind)
        and of_module.forward is kind.forward
        and of_module.__call__ is nn.Module.__call__
        and "forward" not in vars(module)
    )


def check_streamable(net: nn.Module) -> None:
    """Raise a ``ValueError`` if ``net`` has a hook, or a ``forward`` that its ``stream`` does not know."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, got {net!r}")
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
            f"{type(net).__name__} cannot stream with a forward of its own, which the stream() that it inherits does "
            "not know: define stream() too"
        )


def has_stream(module: nn.Module) -> bool:
    """Whether the module has a method ``stream``, not a submodule of that name or the method of a module in it."""
    return _depth(module, "stream") < math.inf and callable(module.stream)


def _depth(module: nn.Module, name: str) -> float:
    """How far up the base classes ``name`` is defined; -1 if the object itself has it, infinity if none has."""
    owners = [vars(module), *map(vars, type(module).__mro__)]
    return next((depth for depth, names in enumerate(owners) if name in names), math.inf) - 1


def check_against_whole(net: nn.Module, live: Any) -> None:
    """Raise a ``ValueError`` if a short random sequence in chunks does not give what it gives as a whole.

    ``live`` is a new stream of ``net``. The net runs in eval mode, without autograd and autocast; its training mode,
    its buffers and the random state are restored. Nothing is checked if the net has no values (on the meta device), if
    it shifts by more than 1024 frames, or if it does not take the sequence, because its number of channels is unknown.
    """
    if max(map(_step, net.modules())) > _MAX_STEP:
        return
    x, time_dim = _example(net, live.time_dim, live.delay + 7)
    if x.is_meta:
        return
    with _undisturbed(net, x.device):
        try:
            whole = _frames_of(net(x.clone()))
        except Exception:  # another number of channels, or a recurrent layer inside a stack, which returns a state too
            return
        chunks = x.split([3, 1, x.shape[time_dim] - 4], dim=time_dim)
        found = [*(live(chunk.clone()) for chunk in chunks), *([live.flush()] if live.delay else [])]
        streamed = torch.cat(found, dim=time_dim)
    if streamed.shape != whole.shape or not _close(streamed, whole):
        raise ValueError(
            f"{type(net).__name__} cannot stream: a random sequence in chunks gives other frames than as a whole"
        )


def _step(module: nn.Module) -> int:
    """The frames that a module shifts."""
    stride = getattr(module, "stride", None)  # of a convolution it is a tuple
    return max(abs(stride) if isinstance(stride, int) else 0, *(abs(frames) for _, frames in _groups(module)), 0)


def _groups(module: nn.Module) -> Sequence[tuple[int, int]]:
    groups = getattr(module, "groups", None)  # of a convolution it is an int
    return groups if isinstance(groups, (list, tuple)) else []


def _example(net: nn.Module, time_dim: int, frames: int) -> tuple[Tensor, int]:
    """A random sequence that the net is likely to take, and its time dim."""
    modules = list(net.modules())
    widths = (getattr(module, name, None) for module in modules for name in _WIDTHS)
    width = next((width[-1] if isinstance(width, tuple) else width for width in widths if width), None)
    if width is None:  # shifts take any number of channels that is large enough
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
    """Whether both are dims of a tensor with ``dims`` dims, and not the same."""
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
    """Whether both are equal up to rounding, of which a net of many layers has more than one operation."""
    tolerance = torch.finfo(whole.dtype).eps ** 0.5
    finite = whole[whole.isfinite()].abs()
    scale = finite.max().item() if len(finite) else 0.0
    return torch.allclose(streamed, whole, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
