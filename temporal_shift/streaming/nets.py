"""Whole nets chunk by chunk: shifts that remember a few frames, and between them what needs no other frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

# Each frame of their output is made of the same frame of the input.
_FRAMEWISE = (
    nn.Linear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Identity,
    nn.Dropout,
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Sigmoid,
)


class Stage(Protocol):
    """What can be fed chunks: ``state`` is all that it remembers, and may be given to another such stage."""

    state: Any

    @property
    def delay(self) -> int:
        """How many frames the output is late."""

    def __call__(self, chunk: Tensor, /) -> Tensor:
        """Feed frames, and take those that are complete."""

    def flush(self) -> Tensor | None:
        """Give the frames that waited for the future, if there can be any, and begin anew."""


def stream(net: nn.Module, state: Any = None) -> ChainedStream:
    r"""``net`` on a sequence that comes in chunks, from its beginning or from the ``state`` of such a stream.

    ::

        fed      x0 x1 | x2 x3 x4 | flush()      (two Shiftformer layers, stride 1, both ways: a delay of two frames)
        given    .     | y0 y1 y2 | y3 y4

    The chunks, one after another, are ``net`` of the whole sequence up to rounding, if ``net`` is in eval mode.

    Args:
        net: A layer that streams (:class:`~temporal_shift.TemporalShift`, :class:`~temporal_shift.ShiftLSTM`,
            :class:`~temporal_shift.ShiftGRU`, :class:`~temporal_shift.ShiftTransformerLayer`), a module that looks at
            each frame alone (``nn.Linear``, ``nn.LayerNorm``, activations, ``nn.Dropout``), or an ``nn.Sequential`` or
            ``nn.TransformerEncoder`` of such.
        state: What the ``state`` of another stream of the same net was, which then goes on here.

    Raises:
        ValueError: If a part of ``net`` cannot stream; the message says which and why.

    Example:
        >>> block = ShiftTransformerLayer(32, 4, batch_first=True)
        >>> net = nn.Sequential(block, nn.LayerNorm(32)).eval()
        >>> live = stream(net)
        >>> x = torch.randn(1, 10, 32)
        >>> y = torch.cat([live(x[:, :3]), live(x[:, 3:]), live.flush()], dim=1)
        >>> torch.allclose(y, net(x), atol=1e-5)
        True
    """
    return chained(stages_of(net), state)


class ChainedStream:
    """Stages one after another, each fed what the one before gives.

    Attributes:
        state: The states of the stages, a tuple.
        delay: How many frames the output is late.
    """

    def __init__(self, stages: Sequence[Stage], time_dim: int, state: tuple[Any, ...] | None = None) -> None:
        self.stages = list(stages)
        self.time_dim = time_dim
        if state is not None:
            self.state = state

    def __call__(self, chunk: Tensor) -> Tensor:
        """Feed frames, and take those that are complete.

        Raises:
            TypeError: As :class:`ShiftStream`.
            ValueError: As :class:`ShiftStream`.
        """
        before = self.state
        try:
            for stage in self.stages:
                chunk = stage(chunk)
        except BaseException:
            self.state = before  # so that a chunk that was refused has not been fed to the first stages
            raise
        return chunk

    def flush(self) -> Tensor:
        """Give the frames that waited for the future, and begin anew.

        Raises:
            ValueError: If no chunk was fed, not even an empty one: then nothing is known of the frames' shape.
        """
        rest: Tensor | None = None
        for stage in self.stages:
            parts = [] if rest is None else [stage(rest)]
            own = stage.flush()
            parts += [] if own is None else [own]
            rest = torch.cat(parts, dim=self.time_dim) if parts else None
        if rest is None:
            raise ValueError("flush() of a net without a shift: no frame of it waits for another")
        return rest

    @property
    def state(self) -> tuple[Any, ...]:
        return tuple(stage.state for stage in self.stages)

    @state.setter
    def state(self, states: tuple[Any, ...]) -> None:
        if not isinstance(states, (tuple, list)) or len(states) != len(self.stages):
            given = f"{len(states)} parts" if isinstance(states, (tuple, list)) else type(states).__name__
            raise ValueError(
                f"state of {given} is not of this stream: it must be a tuple of {len(self.stages)}, the state of such "
                "a stream"
            )
        for stage, state in zip(self.stages, states, strict=True):
            stage.state = state

    @property
    def delay(self) -> int:
        return sum(stage.delay for stage in self.stages)


class FramewiseStream:
    """A net that looks at each frame alone: it remembers nothing, and nothing waits."""

    delay = 0

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        self._net = net
        self.state = None

    def __call__(self, chunk: Tensor) -> Tensor:
        return self._net(chunk)

    def flush(self) -> None:
        """Nothing waits."""


class RecurrentStream:
    """A recurrent layer that runs forward in time.

    Args:
        step: From frames and a state (``None`` at first) to outputs and a state: an ``nn.LSTM`` or ``nn.GRU``.
        width: The channels of its output.
        time_dim: The dim of the frames.
    """

    delay = 0

    def __init__(self, step: Callable[[Tensor, Any], tuple[Tensor, Any]], width: int, time_dim: int) -> None:
        self._step = step
        self._width = width
        self._time_dim = time_dim
        self.state: Any = None

    def __call__(self, chunk: Tensor) -> Tensor:
        if chunk.shape[self._time_dim] == 0:  # which torch's recurrent layers do not take
            return chunk.new_empty(*chunk.shape[:-1], self._width)
        output, self.state = self._step(chunk, self.state)
        return output

    def flush(self) -> None:
        """Nothing waits; the stream begins anew."""
        self.state = None


class RunningMean:
    r"""The mean over all frames so far: after ``n`` frames :math:`\frac{1}{n} \sum_{t < n} x_t`.

    With a linear layer behind it, it makes a prediction at each chunk, and after the last one that of the whole
    sequence.

    Args:
        time_dim: The dim of the frames, which the mean does not have. Default: -2.

    Attributes:
        state: The sum of the frames and their number, or ``None`` before the first chunk.

    Example:
        >>> mean = RunningMean()
        >>> mean(torch.tensor([[[1.0], [3.0]]])), mean(torch.tensor([[[8.0]]]))
        (tensor([[2.]]), tensor([[4.]]))
    """

    def __init__(self, time_dim: int = -2, state: tuple[Tensor, int] | None = None) -> None:
        self.time_dim = time_dim
        self.state = state

    def __call__(self, frames: Tensor) -> Tensor:
        """Take frames into account; before the first one, the mean is not a number.

        Raises:
            ValueError: If they differ from those before in anything but their number.
        """
        total = frames.sum(self.time_dim, dtype=torch.promote_types(frames.dtype, torch.float32))
        count = frames.shape[self.time_dim]
        if self.state is not None:
            if self.state[0].shape != total.shape:
                raise ValueError(
                    f"frames of shape {tuple(frames.shape)} do not follow those whose sum has shape "
                    f"{tuple(self.state[0].shape)}: they must differ in frames only"
                )
            total, count = self.state[0] + total, self.state[1] + count
        self.state = total, count
        return (total / count if count else torch.full_like(total, torch.nan)).to(frames.dtype)


def stages_of(net: nn.Module) -> list[Stage]:
    """The stages of a net, a ``ValueError`` if one of them is not known to stream."""
    refuse_surgery(net)
    if isinstance(net, nn.Sequential):
        return [stage for module in net for stage in stages_of(module)]
    if isinstance(net, nn.TransformerEncoder):
        modules = [*net.layers, *([] if net.norm is None else [net.norm])]
        return [stage for module in modules for stage in stages_of(module)]
    if callable(getattr(net, "stream", None)):
        own = net.stream()  # type: ignore[operator]
        return own.stages if isinstance(own, ChainedStream) else [own]
    if isinstance(net, _FRAMEWISE) and len(getattr(net, "normalized_shape", [1])) == 1:
        return [FramewiseStream(net)]
    raise ValueError(
        f"{type(net).__name__} cannot stream: it may look at other frames; it must be a layer with a stream() or one "
        "that looks at each frame alone"
    )


def refuse_surgery(net: nn.Module) -> None:
    """A ``ValueError`` if surgery has put a shift into a part of ``net``: a stream calls no hooks."""
    for name, module in net.named_modules():
        hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        if any(getattr(hook, "mixes_frames", False) for hook in hooks):
            where = f" ({name})" if name else ""
            raise ValueError(
                f"{type(module).__name__}{where} cannot stream with the shift that add_temporal_shift put into it: use "
                "layers that have a shift, or put a TemporalShift before the module"
            )


def chained(stages: Sequence[Stage], state: Any = None) -> ChainedStream:
    """The stages as one, a ``ValueError`` if they do not agree on where the frames are."""
    dims = {stage.time_dim for stage in stages if hasattr(stage, "time_dim")}
    if len(dims) > 1:
        raise ValueError(f"layers with the frames in different dims {sorted(dims)} cannot stream after one another")
    if dims == {-1} and len(stages) > 1:
        raise ValueError("frames in the last dim cannot stream through a net that looks at the last dim of each frame")
    return ChainedStream(stages, dims.pop() if dims else -2, state)
