"""The stream of a shift. Its outputs equal the shift of the whole sequence bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core import arguments
from ..core.geometry import ShiftGeometry


class ShiftStream:
    r"""A temporal shift of a sequence in chunks. :meth:`.TemporalShift.stream` creates one.

    Let :math:`y = \text{shift}(x)` be the shift of the whole sequence. After :math:`n` frames of ``x`` the stream has
    returned the first :math:`n - d` frames of ``y``, if any. The delay :math:`d` is how far the shift reads into the
    future: ``abs(stride)`` frames if ``bidirectional`` or ``stride < 0``, otherwise 0; with ``groups``, the most frames
    by which a group reads later. :meth:`flush` returns the rest.

    ::

        input    x0 x1 | x2 x3 x4 | flush()      (stride 1, bidirectional: a delay of one frame)
        output   y0    | y1 y2 y3 | y4

    The concatenated outputs equal ``y`` bit for bit, for chunks of any length, including 0.

    Args:
        n_div: As in :func:`temporal_shift.temporal_shift`, like the other arguments up to ``channel_dim``. Default: 8.
        state: The ``state`` of another stream of the same shift, to continue from. Default: ``None``, a new sequence.

    Attributes:
        state: The last frames of the input that the stream still needs (at first, padding), in the layout of the
            chunks, or ``None`` before the first chunk and after :meth:`flush`. It can be saved and passed to another
            stream of the same shift.
        delay: Delay of the output, in frames.

    Raises:
        TypeError: If an argument has the wrong type; for ``state``, when called.
        ValueError: If ``padding_mode`` is ``"circular"``, or as :func:`temporal_shift.temporal_shift`.

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
        n_div: int | None = None,
        stride: int | None = None,
        bidirectional: bool | None = None,
        padding_mode: str = "zeros",
        groups: Sequence[tuple[int, int]] | None = None,
        time_dim: int = -2,
        channel_dim: int = -1,
        state: Tensor | None = None,
    ) -> None:
        arguments.check_layer(
            None,
            n_div,
            stride,
            bidirectional,
            padding_mode=padding_mode,
            groups=groups,
            time_dim=time_dim,
            channel_dim=channel_dim,
        )
        if padding_mode == "circular":
            raise ValueError(
                "padding_mode must be 'zeros' or 'replicate' to stream, got 'circular', which reads the other end of "
                "the sequence"
            )
        self._arguments = (n_div, stride, bidirectional, padding_mode, groups, None, time_dim, channel_dim)
        self.time_dim = time_dim
        self.state = state

    def __call__(self, chunk: Tensor) -> Tensor:
        """Take the next frames of the input and return the next frames of the output.

        The chunk is ``(..., l, D)``, or has the layout given by ``time_dim`` and ``channel_dim``, for any ``l``.

        Raises:
            TypeError: As :func:`temporal_shift.temporal_shift`, and if the state is not a tensor.
            ValueError: As :func:`temporal_shift.temporal_shift`, and if the chunk and the state differ in dtype, device
                or shape (except the number of frames), or if the state has too few or too many frames.
        """
        geometry = arguments.resolve(chunk, *self._arguments)
        state = None if self.state is None else _checked(self.state, chunk, geometry)
        if state is None or state.shape[geometry.time_dim] == 0:  # no frame so far, or none is needed
            state = _padding(chunk, 0, _reach(geometry)[0], geometry)
        y, self.state = _advanced(state, chunk, geometry)
        return y

    def flush(self) -> Tensor:
        """End the sequence: return the remaining frames of the output, with padding as their future, and reset.

        Raises:
            ValueError: If there was no chunk (an empty one suffices), so that the shape of a frame is unknown.
        """
        if self.state is None:
            raise ValueError("flush() must come after the first chunk, which may be empty")
        state, self.state = self.state, None
        geometry = arguments.resolve(state, *self._arguments)
        padding = _padding(state, state.shape[geometry.time_dim] - 1, _reach(geometry)[1], geometry)
        return _advanced(state, padding, geometry)[0]

    @property
    def delay(self) -> int:
        _, stride, bidirectional, _, groups, *_ = self._arguments
        if groups is not None:
            return max([0, *(-frames for channels, frames in groups if channels)])
        stride = 1 if stride is None else stride
        return abs(stride) if bidirectional else max(0, -stride)


def _checked(state: Tensor, chunk: Tensor, geometry: ShiftGeometry) -> Tensor:
    """Return ``state`` if it fits the chunk, else raise an error."""

    def kind(x: Tensor) -> tuple[object, ...]:
        return (*(size for dim, size in enumerate(x.shape) if dim != geometry.time_dim), x.dtype, x.device)

    if not isinstance(state, Tensor):
        raise TypeError(f"state must be a torch.Tensor from another stream, got {type(state).__name__}")
    if state.dim() != chunk.dim() or kind(state) != kind(chunk):
        raise ValueError(
            "chunk must have the dtype, the device and, except for the frames, the shape of the state "
            f"({state.dtype}, {state.device}, {tuple(state.shape)}), got {chunk.dtype}, {chunk.device}, "
            f"{tuple(chunk.shape)}"
        )
    past, future = _reach(geometry)
    minimum = 0 if geometry.padding_mode == "replicate" else past
    if not minimum <= state.shape[geometry.time_dim] <= past + future:
        raise ValueError(
            f"state must have a number of frames in [{minimum}, {past + future}] for this shift, got "
            f"{state.shape[geometry.time_dim]}"
        )
    return state


def _advanced(state: Tensor, chunk: Tensor, geometry: ShiftGeometry) -> tuple[Tensor, Tensor]:
    """The next frames of the output, and the state after this chunk.

    A state contains the past frames that the next output reads, then the frames without a complete output.
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
    return torch.cat(parts, dim=geometry.channel_dim), rest.clone()  # a view would keep the whole chunk alive


def _reach(geometry: ShiftGeometry) -> tuple[int, int]:
    """How many frames the shift reads back and ahead."""
    frames = [group.frames for group in geometry.groups]
    return max(0, *frames), max(0, *(-step for step in frames))


def _padding(x: Tensor, edge: int, frames: int, geometry: ShiftGeometry) -> Tensor:
    """Padding beside the frame ``edge`` of ``x``: zeros, or copies of that frame (none if ``x`` has no frame)."""
    time = geometry.time_dim
    if geometry.padding_mode == "replicate" and x.shape[time] == 0:
        return x
    shape = [frames if dim == time else size for dim, size in enumerate(x.shape)]
    return x.new_zeros(shape) if geometry.padding_mode == "zeros" else x.narrow(time, edge, 1).expand(shape)
