"""Streams of nets: a chain of stages, each with its own state."""

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
    """The interface of a part of a stream.

    ``state`` is what the stage remembers between chunks. Another stage of the same net can continue from it. A stage
    may also have ``time_dim``, the dim of the frames, which :func:`stream` compares between the stages of a net.
    """

    state: Any

    @property
    def delay(self) -> int:
        """Delay of the output, in frames."""

    def __call__(self, chunk: Tensor, /) -> Tensor:
        """Take the next frames of the input and return the next frames of the output."""

    def flush(self) -> Tensor | None:
        """End the sequence: return the remaining frames, if any, and reset the state.

        Without remaining frames, it may return ``None`` or an empty tensor.
        """


def stream(net: nn.Module, state: Any = None) -> ChainedStream:
    r"""Create a stream of ``net``, which runs it on a sequence in chunks.

    ::

        input    x0 x1 | x2 x3 x4 | flush()      (two bidirectional Shiftformer layers, stride 1: a delay of two frames)
        output   .     | y0 y1 y2 | y3 y4

    If ``net`` is in eval mode, the concatenated outputs equal the output for the whole sequence up to rounding. Without
    ``state``, this function compares both for a short random sequence, if ``net`` accepts the sequence, is not on the
    meta device, and shifts by at most 1024 frames. The net and the random state do not change.

    Args:
        net: A module with a method ``stream()`` (:class:`~temporal_shift.TemporalShift`,
            :class:`~temporal_shift.ShiftLSTM`, :class:`~temporal_shift.ShiftGRU`,
            :class:`~temporal_shift.ShiftTransformerLayer`), a module that works frame by frame (``nn.Linear``,
            ``nn.LayerNorm`` or ``nn.RMSNorm`` over the channels, ``nn.ReLU``, ``nn.GELU``, ``nn.SiLU``, ``nn.Tanh``,
            ``nn.Sigmoid``, ``nn.Dropout``, ``nn.Identity``), or an ``nn.Sequential`` or ``nn.TransformerEncoder`` of
            these. Subclasses must inherit ``forward`` or define ``stream()``. Hooks that are registered later are
            not checked, and may not run.
        state: The ``state`` of another stream of the same net, to continue from. Default: ``None``, a new sequence.

    Returns:
        A stream. Call it with a chunk, ``(B, l, D)`` with any ``l`` or the layout that ``net`` expects, and call its
        ``flush()`` at the end of the sequence. Its ``delay`` is the number of frames by which the output is late.

    Raises:
        TypeError: If ``net`` is not an ``nn.Module``.
        ValueError: If a part of ``net`` cannot stream, has hooks, or overrides ``forward`` without ``stream``; if the
            time dims of its layers differ, or are -1 in a net of several layers; if the output for the random sequence
            differs between chunks and the whole; or if ``state`` does not have one part for each stage.

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
    if state is None:  # a server may create a stream from a state for each chunk, so this must be fast
        check_against_whole(net, chained(stages_of(net)))
    return live


class ChainedStream:
    """A chain of stages, in which each stage gets the output of the previous stage. :func:`stream` creates a chain.

    Args:
        stages: The stages, first to last.
        time_dim: The dim of the frames in the outputs of the stages.
        state: The ``state`` of another chain of the same stages, to continue from. Default: ``None``, a new sequence.

    Raises:
        ValueError: If ``state`` does not have one part for each stage.

    Attributes:
        state: The states of the stages, a tuple.
        delay: Delay of the output, in frames.

    Example:
        >>> shift = TemporalShift(n_div=2, bidirectional=True)
        >>> live = ChainedStream([shift.stream(), FramewiseStream(nn.ReLU())], time_dim=-2)
        >>> live.delay, live(torch.ones(1, 3, 4)).shape, live.flush().shape
        (1, torch.Size([1, 2, 4]), torch.Size([1, 1, 4]))
    """

    def __init__(self, stages: Sequence[Stage], time_dim: int, state: tuple[Any, ...] | None = None) -> None:
        self.stages = list(stages)
        self.time_dim = time_dim
        if state is not None:
            self.state = state

    def __call__(self, chunk: Tensor) -> Tensor:
        """Take the next frames of the input and return the next frames of the output.

        The chunk has the layout that the net expects, and any number of frames. After an error, the state is unchanged.

        Raises:
            TypeError: As its stages, such as :class:`ShiftStream`.
            ValueError: As its stages, such as :class:`ShiftStream`.
        """
        before = self.state
        try:
            for stage in self.stages:
                chunk = stage(chunk)
        except BaseException:
            self.state = before  # the stages before the one that failed have advanced
            raise
        return chunk

    def flush(self) -> Tensor:
        """End the sequence: return the remaining frames of the output and reset the state.

        Raises:
            ValueError: If ``flush()`` of all stages returns ``None``, as in a net without a shift, or if a shift got
                no chunk (an empty one suffices), so that the shape of a frame is unknown.
        """
        rest: Tensor | None = None
        for stage in self.stages:
            parts = [] if rest is None else [stage(rest)]
            own = stage.flush()
            parts += [] if own is None else [own]
            rest = torch.cat(parts, dim=self.time_dim) if parts else None
        if rest is None:
            raise ValueError("flush() needs a net with a shift: other nets have no remaining frames")
        return rest

    @property
    def state(self) -> tuple[Any, ...]:
        return tuple(stage.state for stage in self.stages)

    @state.setter
    def state(self, states: tuple[Any, ...]) -> None:
        if not isinstance(states, (tuple, list)) or len(states) != len(self.stages):
            kind, length = type(states).__name__, len(self.stages)
            given = f"a {kind} of length {len(states)}" if isinstance(states, (tuple, list)) else kind
            raise ValueError(f"state must be a tuple of length {length} from a stream of the same net, got {given}")
        for stage, state in zip(self.stages, states, strict=True):
            stage.state = state

    @property
    def delay(self) -> int:
        return sum(stage.delay for stage in self.stages)


class FramewiseStream:
    """The stage of a net that computes each frame on its own: it has no state and no delay.

    Args:
        net: A function of a chunk that returns a tensor with the same number of frames.

    Example:
        >>> FramewiseStream(nn.ReLU())(torch.tensor([[[-1.0], [2.0]]]))
        tensor([[[0.],
                 [2.]]])
    """

    delay = 0

    def __init__(self, net: Callable[[Tensor], Tensor]) -> None:
        self._net = net
        self.state = None

    def __call__(self, chunk: Tensor) -> Tensor:
        return self._net(chunk)

    def flush(self) -> None:
        """Return ``None``: no frames remain."""


class RecurrentStream:
    """The stage of a recurrent layer in the forward direction. It has no delay.

    Args:
        step: A function of a chunk and a state (``None`` at first) that returns outputs and a state, like ``nn.LSTM``.
        width: Channels of the output, the size of its last dim.
        time_dim: The dim of the frames.

    Attributes:
        state: The state that ``step`` returned last, or ``None`` before the first frame and after :meth:`flush`.

    Example:
        >>> live = RecurrentStream(nn.LSTM(4, 8, batch_first=True), width=8, time_dim=1)
        >>> live(torch.randn(2, 3, 4)).shape, live(torch.randn(2, 5, 4)).shape
        (torch.Size([2, 3, 8]), torch.Size([2, 5, 8]))
    """

    delay = 0

    def __init__(self, step: Callable[[Tensor, Any], tuple[Tensor, Any]], width: int, time_dim: int) -> None:
        self._step = step
        self._width = width
        self._time_dim = time_dim
        self.state: Any = None

    def __call__(self, chunk: Tensor) -> Tensor:
        if chunk.shape[self._time_dim] == 0:  # torch's recurrent layers reject an empty input
            return chunk.new_empty(*chunk.shape[:-1], self._width)
        output, self.state = self._step(chunk, self.state)
        return output

    def flush(self) -> None:
        """Reset the state and return ``None``: no frames remain."""
        self.state = None


class RunningMean:
    r"""The mean over all frames so far: after ``n`` frames :math:`\frac{1}{n} \sum_{t < n} x_t`.

    With a linear layer after it, each chunk gives a prediction from the frames so far.

    Args:
        time_dim: The dim of the frames, which the mean removes. Default: -2.
        state: The ``state`` of another mean, to continue from. Default: ``None``.

    Raises:
        TypeError: If ``time_dim`` is not an int.
        ValueError: If ``state`` is not a pair of a tensor and an int that is at least 0.

    Attributes:
        state: The sum of the frames and their number, ``(Tensor, int)``, or ``None`` before the first chunk.

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
        """Add frames, ``(..., l, D)`` with any ``l`` or another ``time_dim``, and return the mean in their dtype.

        The mean is ``(..., D)``, without ``time_dim``. It is NaN before the first frame.

        Raises:
            TypeError: If the frames are not a tensor, or neither floating point nor complex.
            ValueError: If they have no ``time_dim``, or their sum differs from the previous one in shape, device or
                dtype. The sum is in float32 or wider.
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
                        f"the sum of frames over time must have the same {name} in every call, "
                        f"{_shown(before, name)}, got {_shown(total, name)}"
                    )
            total, count = self.state[0] + total, self.state[1] + count
        self.state = total, count
        return (total / count if count else torch.full_like(total, torch.nan)).to(frames.dtype)


def _check_state(state: Any) -> None:
    is_pair = isinstance(state, (tuple, list)) and len(state) == 2
    if not is_pair or not isinstance(state[0], Tensor) or not isinstance(state[1], int) or state[1] < 0:
        raise ValueError(f"state must be (sum of frames: Tensor, number of frames: int >= 0), got {_kind(state)}")


def _kind(value: Any) -> str:
    """Describe a value without its elements: a number, the parts of a pair, a length, or the name of a type."""
    if isinstance(value, (tuple, list)):
        return (
            f"({', '.join(map(_kind, value))})"
            if len(value) == 2
            else f"a {type(value).__name__} of length {len(value)}"
        )
    return repr(value) if isinstance(value, (int, float)) else type(value).__name__


def _shown(x: Tensor, name: str) -> object:
    return tuple(x.shape) if name == "shape" else getattr(x, name)


def stages_of(net: nn.Module) -> list[Stage]:
    """The stages of a net, from its own ``stream()`` or its class.

    Raises:
        TypeError: If ``net`` is not an ``nn.Module``.
        ValueError: If a part of ``net`` cannot stream.
    """
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
            f"{type(net).__name__} cannot stream, because it overrides forward: give it a stream() that returns a Stage"
        )
    raise ValueError(
        f"{type(net).__name__} cannot stream, as it may read other frames: the net must consist of layers with a "
        "stream() and of modules that work frame by frame. If it wraps a net, like torch.compile, pass that net"
    )


def chained(stages: Sequence[Stage], state: Any = None) -> ChainedStream:
    """The stages as one stream. Raise a ``ValueError`` if their time dims differ, or are -1 with several stages."""
    dims = {stage.time_dim for stage in stages if hasattr(stage, "time_dim")}
    if len(dims) > 1:
        raise ValueError(f"time_dim must be the same in all layers to stream, got {sorted(dims)}")
    if dims == {-1} and len(stages) > 1:
        raise ValueError("time_dim must not be -1 to stream through a net, which expects channels in the last dim")
    return ChainedStream(stages, dims.pop() if dims else -2, state)
