"""The shift chunk by chunk, equal to the shift of the whole sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core import arguments
from ..core.geometry import ShiftGeometry


class ShiftStream:
    r"""A temporal shift that is fed a sequence in chunks; :meth:`.TemporalShift.stream` makes one.

    With :math:`y = \text{shift}(x)` of the whole sequence and :math:`n` frames fed, it has given the first
    :math:`n - d` frames of ``y``, where the delay :math:`d` is how far the shift reads into the future: 0 for one
    direction, ``stride`` for both. :meth:`flush` gives the rest.

    ::

        fed      x0 x1 | x2 x3 x4 | flush()      (stride 1, both ways: a delay of one frame)
        given    y0    | y1 y2 y3 | y4

    The chunks, one after another, are ``y`` bit for bit, whatever their lengths; a chunk may have no frame.

    Attributes:
        state: All that the stream remembers, of the chunks' layout: the last frames, as far back as the shift reads,
            and those that wait for the future. ``None`` before the first chunk. It may be saved, sent elsewhere, and
            given to another stream of the same shift, which then goes on.
        delay: How many frames the output is late.

    Example:
        >>> stream = TemporalShift(n_div=2, bidirectional=True).stream()
        >>> x = torch.arange(8.0).reshape(1, 4, 2)
        >>> y = torch.cat([stream(x[:, :1]), stream(x[:, 1:]), stream.flush()], dim=1)
        >>> torch.equal(y, temporal_shift(x, n_div=2, bidirectional=True))
        True
    """

    def __init__(
        self,
        *,
        n_div: int = 8,
        stride: int = 1,
        bidirectional: bool = False,
        padding_mode: str = "zeros",
        groups: list[tuple[int, int]] | None = None,
        time_dim: int = -2,
        channel_dim: int = -1,
        state: Tensor | None = None,
    ) -> None:
        if padding_mode == "circular":
            raise ValueError(
                'padding_mode="circular" cannot stream: the first frame reads the last one; it must be "zeros" or '
                '"replicate"'
            )
        self._arguments = (n_div, stride, bidirectional, padding_mode, groups, None, time_dim, channel_dim)
        self.time_dim = time_dim
        self.state = state

    def __call__(self, chunk: Tensor) -> Tensor:
        """Feed frames, ``(..., l, D)`` of any ``l``, and take those that are complete.

        Raises:
            TypeError: As :func:`temporal_shift.temporal_shift`.
            ValueError: As :func:`temporal_shift.temporal_shift`, and if the chunk differs from those before in
                anything but its length.
        """
        geometry = self._geometry(chunk)
        state = _state_before(chunk, geometry) if self.state is None else _checked(self.state, chunk, geometry)
        if state.shape[geometry.time_dim] == 0 and chunk.shape[geometry.time_dim] > 0:
            state = _repeated(chunk, 0, _reach(geometry)[0], geometry.time_dim)
        y, self.state = _advanced(state, chunk, geometry)
        return y

    def flush(self) -> Tensor:
        """Give the frames that waited for the future, which is padding now, and begin anew.

        Raises:
            ValueError: If no chunk was fed, not even an empty one: then nothing is known of the frames' shape.
        """
        if self.state is None:
            raise ValueError("flush() came before the first chunk: at least one, if empty, must be fed to the stream")
        state, self.state = self.state, None
        geometry = self._geometry(state)
        time, future = geometry.time_dim, _reach(geometry)[1]
        if geometry.padding_mode == "replicate" and state.shape[time] > 0:
            padding = _repeated(state, state.shape[time] - 1, future, time)
        else:
            padding = _zeros(state, future, time)
        return _advanced(state, padding, geometry)[0]

    @property
    def delay(self) -> int:
        _, stride, bidirectional, _, groups, *_ = self._arguments
        if groups is None:
            return abs(stride) if bidirectional else max(0, -stride)
        return max([0, *(-frames for channels, frames in groups if channels)])

    def _geometry(self, x: Tensor) -> ShiftGeometry:
        return arguments.resolve(x, *self._arguments)


def _checked(state: Tensor, chunk: Tensor, geometry: ShiftGeometry) -> Tensor:
    """The state, if the chunk can follow it."""

    def kind(x: Tensor) -> tuple[object, ...]:
        return (*(size for dim, size in enumerate(x.shape) if dim != geometry.time_dim), x.dtype, x.device)

    if not isinstance(state, Tensor):
        raise TypeError(f"state must be a torch.Tensor, the state of a stream, not {type(state).__name__}")
    if state.dim() != chunk.dim() or kind(state) != kind(chunk):
        raise ValueError(
            f"chunk of shape {tuple(chunk.shape)}, {chunk.dtype} on {chunk.device} does not follow a state of shape "
            f"{tuple(state.shape)}, {state.dtype} on {state.device}: they must differ in frames only"
        )
    past, future = _reach(geometry)
    least = 0 if geometry.padding_mode == "replicate" else past
    if not least <= state.shape[geometry.time_dim] <= past + future:
        raise ValueError(
            f"state of {state.shape[geometry.time_dim]} frames is not of this shift: it must have {least} to "
            f"{past + future}"
        )
    return state


def _advanced(state: Tensor, chunk: Tensor, geometry: ShiftGeometry) -> tuple[Tensor, Tensor]:
    """The frames that are complete with this chunk, and the state after it.

    A state holds the frames that the next output reads back to, then those whose own output waits.
    """
    time = geometry.time_dim
    past, future = _reach(geometry)
    frames = torch.cat([state, chunk], dim=time)
    complete = max(frames.shape[time] - past - future, 0)
    parts = [
        frames.narrow(geometry.channel_dim, group.start, group.channels).narrow(
            time, past - group.frames if complete else 0, complete
        )
        for group in geometry.groups
    ]
    rest = frames.narrow(time, complete, frames.shape[time] - complete)
    return torch.cat(parts, dim=geometry.channel_dim), rest.clone()  # no view: it would keep the whole chunk alive


def _state_before(chunk: Tensor, geometry: ShiftGeometry) -> Tensor:
    """Zeros before the first frame; nothing where padding repeats a frame that is yet to come."""
    past = _reach(geometry)[0] if geometry.padding_mode == "zeros" else 0
    return _zeros(chunk, past, geometry.time_dim)


def _reach(geometry: ShiftGeometry) -> tuple[int, int]:
    """How many frames the shift reads back and ahead."""
    frames = [group.frames for group in geometry.groups]
    return max(0, *frames), max(0, *(-step for step in frames))


def _zeros(like: Tensor, frames: int, time: int) -> Tensor:
    return like.new_zeros([frames if dim == time else size for dim, size in enumerate(like.shape)])


def _repeated(x: Tensor, frame: int, times: int, time: int) -> Tensor:
    return x.narrow(time, frame, 1).expand([times if dim == time else size for dim, size in enumerate(x.shape)])
