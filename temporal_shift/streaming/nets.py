"""Nets on a sequence that arrives in chunks: a chain of stages, each of which remembers what it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..core import arguments
from .checks import check_against_whole, check_streamable, has_stream, inherits_forward

# Modules that compute each frame of the output from the same frame of the input.
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
    """Part of a stream. ``state`` is all that it remembers; another such stage can continue from it."""

    state: Any

    @property
    def delay(self) -> int:
        """Frames that the output is late."""

    def __call__(self, chunk: Tensor, /) -> Tensor:
        """Take the next frames and return the frames that are complete."""

    def flush(self) -> Tensor | None:
        """Return the frames that wait for the future, or ``None`` if a stage never waits, and start again."""


def stream(net: nn.Module, state: Any = None) -> ChainedStream:
    r"""A stream of ``net``, from the beginning of a sequence or from the ``state`` of another stream.

    ::

        input    x0 x1 | x2 x3 x4 | flush()      (two Shiftformer layers, stride 1, both ways: a delay of two frames)
        output   .     | y0 y1 y2 | y3 y4

    The outputs, concatenated, are ``net`` of the whole sequence up to rounding, if ``net`` is in eval mode. A short
    random sequence checks that when a stream is created; the net and the random state stay as they were.

    Args:
        net: A layer that streams (:class:`~temporal_shift.TemporalShift`, :class:`~temporal_shift.ShiftLSTM`,
            :class:`~temporal_shift.ShiftGRU`, :class:`~temporal_shift.ShiftTransformerLayer`), a module that works
            frame by frame (``nn.Linear``, ``nn.LayerNorm``, activations, ``nn.Dropout``), or an ``nn.Sequential`` or
            ``nn.TransformerEncoder`` of these. Subclasses stream if they inherit ``forward``. Hooks that are registered
            later are ignored.
        state: The ``state`` of another stream of the same net, to continue from.

    Raises:
        TypeError: If ``net`` is not an ``nn.Module``.
        ValueError: If a part of ``net`` cannot stream, has hooks or a ``forward`` of its own, or if the random sequence
            gives other frames in chunks than as a whole.

    Example:
        >>> block = ShiftTransformerLayer(32, 4, batch_first=True)
        >>> net = nn.Sequential(block, nn.LayerNorm(32)).eval()
        >>> live = stream(net)
        >>> x = torch.randn(1, 10, 32)
        >>> y = torch.cat([live(x[:, :3]), live(x[:, 3:]), live.flush()], dim=1)
        >>> torch.allclose(y, net(x), atol=1e-5)
        True
    """
    live = chained(stages_of(net), state)
    if state is None:  # else another stream was checked, and a server may create one for each chunk
        check_against_whole(net, chained(stages_of(net)))
    return live


class ChainedStream:
    """A chain of stages: each gets the output of the one before.

    Attributes:
        state: The states of the stages, a tuple.
        delay: Frames that the output is late.
    """

    def __init__(self, stages: Sequence[Stage], time_dim: int, state: tuple[Any, ...] | None = None) -> None:
        self.stages = list(stages)
        self.time_dim = time_dim
        if state is not None:
            self.state = state

    def __call__(self, chunk: Tensor) -> Tensor:
        """Take the next frames and return the frames that are complete.

        Raises:
            TypeError: As :class:`ShiftStream`.
            ValueError: As :class:`ShiftStream`.
        """
        before = self.state
        try:
            for stage in self.stages:
                chunk = stage(chunk)
        except BaseException:
            self.state = before  # a chunk that raises an error must not change the first stages
            raise
        return chunk

    def flush(self) -> Tensor:
        """Return the frames that wait for the future, and start again.

        Raises:
            ValueError: If there was no chunk, not even an empty one: the shape of a frame is unknown.
        """
        rest: Tensor | None = None
        for stage in self.stages:
            parts = [] if rest is None else [stage(rest)]
            own = stage.flush()
            parts += [] if own is None else [own]
            rest = torch.cat(parts, dim=self.time_dim) if parts else None
        if rest is None:
            raise ValueError("flush() needs a net with a shift: in this net no frame waits for another")
        return rest

    @property
    def state(self) -> tuple[Any, ...]:
        return tuple(stage.state for stage in self.stages)

    @state.setter
    def state(self, states: tuple[Any, ...]) -> None:
        if not isinstance(states, (tuple, list)) or len(states) != len(self.stages):
            given = f"{len(states)} parts" if isinstance(states, (tuple, list)) else type(states).__name__
            raise ValueError(f"state must be the state of a stream of this net, {len(self.stages)} parts, got {given}")
        for stage, state in zip(self.stages, states, strict=True):
            stage.state = state

    @property
    def delay(self) -> int:
        return sum(stage.delay for stage in self.stages)


class FramewiseStream:
    """A net that works frame by frame: it remembers nothing, and no frame waits."""

    delay = 0

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        self._net = net
        self.state = None

    def __call__(self, chunk: Tensor) -> Tensor:
        return self._net(chunk)

    def flush(self) -> None:
        """No frame waits."""


class RecurrentStream:
    """A recurrent layer in the forward direction.

    Args:
        step: Maps frames and a state (``None`` at first) to outputs and a state, like an ``nn.LSTM`` or ``nn.GRU``.
        width: Channels of its output.
        time_dim: The dim of the frames.
    """

    delay = 0

    def __init__(self, step: Callable[[Tensor, Any], tuple[Tensor, Any]], width: int, time_dim: int) -> None:
        self._step = step
        self._width = width
        self._time_dim = time_dim
        self.state: Any = None

    def __call__(self, chunk: Tensor) -> Tensor:
        if chunk.shape[self._time_dim] == 0:  # torch's recurrent layers refuse an empty input
            return chunk.new_empty(*chunk.shape[:-1], self._width)
        output, self.state = self._step(chunk, self.state)
        return output

    def flush(self) -> None:
        """No frame waits; the stream starts again."""
        self.state = None


class RunningMean:
    r"""The mean over all frames so far: after ``n`` frames :math:`\frac{1}{n} \sum_{t < n} x_t`.

    With a linear layer after it, each chunk gives a prediction, and the last chunk that of the whole sequence.

    Args:
        time_dim: The dim of the frames, which the mean reduces. Default: -2.
        state: The ``state`` of another mean, to continue from.

    Raises:
        TypeError: If ``time_dim`` is not an int.
        ValueError: If ``state`` is not the state of a mean.

    Attributes:
        state: The sum of the frames and their number, or ``None`` before the first chunk.

    Example:
        >>> mean = RunningMean()
        >>> mean(torch.tensor([[[1.0], [3.0]]])), mean(torch.tensor([[[8.0]]]))
        (tensor([[2.]]), tensor([[4.]]))
    """

    def __init__(self, time_dim: int = -2, state: tuple[Tensor, int] | None = None) -> None:
        arguments.check_whole("time_dim", time_dim)
        if state is not None:
            _check_state(state)
        self.time_dim = time_dim
        self.state = state

    def __call__(self, frames: Tensor) -> Tensor:
        """Add frames and return the mean, in their dtype. It is NaN before the first frame.

        Raises:
            TypeError: If the frames are not a tensor, or neither floating point nor complex.
            ValueError: If they have no ``time_dim``, or differ from those before in shape, in device, or in the
                dtype of their sum, which is float32 at least.
        """
        if not isinstance(frames, Tensor):
            raise TypeError(f"frames must be a torch.Tensor, got {type(frames).__name__}")
        if not (frames.is_floating_point() or frames.is_complex()):
            raise TypeError(f"frames must be floating point or complex, got {frames.dtype}")
        if not -frames.dim() <= self.time_dim < frames.dim():
            raise ValueError(f"time_dim must be a dim of the frames {tuple(frames.shape)}, got {self.time_dim}")
        total = frames.sum(self.time_dim, dtype=torch.promote_types(frames.dtype, torch.float32))
        count = frames.shape[self.time_dim]
        if self.state is not None:
            before = self.state[0]
            for name in ("shape", "dtype", "device"):
                if getattr(before, name) != getattr(total, name):
                    raise ValueError(
                        f"frames must have the {name} of those before, summed over time {_shown(before, name)}, got "
                        f"{_shown(total, name)}"
                    )
            total, count = self.state[0] + total, self.state[1] + count
        self.state = total, count
        return (total / count if count else torch.full_like(total, torch.nan)).to(frames.dtype)


def _check_state(state: Any) -> None:
    is_pair = isinstance(state, (tuple, list)) and len(state) == 2
    if not is_pair or not isinstance(state[0], Tensor) or not isinstance(state[1], int) or state[1] < 0:
        raise ValueError(f"state must be a sum of frames, a torch.Tensor, and their number, got {state!r}")


def _shown(x: Tensor, name: str) -> object:
    return tuple(x.shape) if name == "shape" else getattr(x, name)


def stages_of(net: nn.Module) -> list[Stage]:
    """The stages of a net. Raises a ``ValueError`` if a part of it cannot stream."""
    check_streamable(net)
    if has_stream(net):
        own = net.stream()  # type: ignore[operator]
        return own.stages if isinstance(own, ChainedStream) else [own]
    if isinstance(net, nn.Sequential) and inherits_forward(net, nn.Sequential):
        return [stage for module in net for stage in stages_of(module)]
    if isinstance(net, nn.TransformerEncoder) and inherits_forward(net, nn.TransformerEncoder):
        modules = [*net.layers, *([] if net.norm is None else [net.norm])]
        return [stage for module in modules for stage in stages_of(module)]
    framewise = any(inherits_forward(net, kind) for kind in _FRAMEWISE)
    if framewise and len(getattr(net, "normalized_shape", [1])) == 1:
        return [FramewiseStream(net)]
    if isinstance(net, (nn.Sequential, nn.TransformerEncoder, *_FRAMEWISE)) and not framewise:
        raise ValueError(
            f"{type(net).__name__} cannot stream with a forward of its own, which may read other frames: give it a "
            "stream() that returns a Stage"
        )
    raise ValueError(
        f"{type(net).__name__} cannot stream, as it may read other frames: the net must consist of layers with a "
        "stream() and of modules that work frame by frame. If it wraps a net, as torch.compile does, pass that net"
    )


def chained(stages: Sequence[Stage], state: Any = None) -> ChainedStream:
    """The stages as one stream. Raises a ``ValueError`` if their time dims differ."""
    dims = {stage.time_dim for stage in stages if hasattr(stage, "time_dim")}
    if len(dims) > 1:
        raise ValueError(f"time_dim must be the same in all layers to stream, got {sorted(dims)}")
    if dims == {-1} and len(stages) > 1:
        raise ValueError("time_dim must not be -1 to stream through a net, which works on the last dim of each frame")
    return ChainedStream(stages, dims.pop() if dims else -2, state)
