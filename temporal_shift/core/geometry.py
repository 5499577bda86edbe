"""The resolved arguments of a shift: which channels move, and by how many frames."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

PADDING_MODES = ("zeros", "replicate", "circular")


class ChannelGroup(NamedTuple):
    """Channels ``start:stop``, which read ``frames`` frames earlier (later if negative)."""

    start: int
    stop: int
    frames: int

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.stop - self.start


class ShiftGeometry(NamedTuple):  # a tuple, because it is a cache key and its hash must be cheap
    """A shift of one tensor: two dims, a padding mode, and groups that cover all channels in order.

    ``ragged`` names the argument with the ends of the sequences: ``"lengths"``, ``"cu_seqlens"``, or ``None`` if every
    sequence has the tensor's length. ``transposed`` marks the transpose of a shift with ``"replicate"`` padding, which
    is not a shift: the frame at the edge gets the sum of the gradients of all frames that read it.
    """

    groups: tuple[ChannelGroup, ...]
    time_dim: int
    channel_dim: int
    padding_mode: str = "zeros"
    ragged: str | None = None
    transposed: bool = False

    @property
    def moved(self) -> tuple[ChannelGroup, ...]:
        """The groups that move."""
        return tuple(group for group in self.groups if group.frames != 0)

    def adjoint(self, cached: bool = True) -> ShiftGeometry:
        """The transpose of the shift, which computes gradients. ``cached=False`` avoids a warning of Dynamo."""
        return _adjoint(self) if cached else _adjoint.__wrapped__(self)

    def behind(self, leading: int) -> ShiftGeometry:
        """The same shift for a tensor with ``leading`` more dims in front."""
        return self._replace(time_dim=self.time_dim + leading, channel_dim=self.channel_dim + leading)

    def of_last_dims(self) -> ShiftGeometry:
        """The same shift for ``(..., L, D)``."""
        return self._replace(time_dim=-2, channel_dim=-1)

    def of_group(self, group: ChannelGroup) -> ShiftGeometry:
        """The shift of a tensor with the channels of one group only."""
        return self._replace(groups=(ChannelGroup(0, group.channels, group.frames),))


@lru_cache(maxsize=1024)
def _adjoint(geometry: ShiftGeometry) -> ShiftGeometry:
    if geometry.padding_mode == "replicate":
        return geometry._replace(transposed=not geometry.transposed)
    return geometry._replace(groups=tuple(group._replace(frames=-group.frames) for group in geometry.groups))


def groups_of_share(channels: int, n_div: int, stride: int, bidirectional: bool) -> tuple[ChannelGroup, ...]:
    """Return a group of one in ``n_div`` channels for each direction, and the remaining channels.

    Raises:
        ValueError: If ``n_div`` is less than the number of directions, or greater than ``channels``.
    """
    min_ = 2 if bidirectional else 1
    kind = "a bidirectional shift" if bidirectional else "a shift"  # the argument has another name in ShiftLSTM
    if channels < min_:
        raise ValueError(f"the number of channels must be at least {min_} for {kind} with n_div, got {channels}")
    if not min_ <= n_div <= channels:
        of_channels = f"{kind} of {_counted(channels)}" if bidirectional else _counted(channels)
        raise ValueError(f"n_div must be in [{min_}, {channels}] for {of_channels}, got {n_div}")
    width = channels // n_div
    frames = (stride, -stride) if bidirectional else (stride,)
    return _covering(channels, ((width, step) for step in frames))


def groups_of_list(channels: int, groups: Iterable[tuple[int, int]]) -> tuple[ChannelGroup, ...]:
    """Return the groups of a list of ``(channels, frames)``, from the first channel on, and the remaining channels.

    Raises:
        ValueError: If a group has a negative number of channels, or the groups need more channels than there are.
    """
    groups = tuple(groups)
    for count, _ in groups:
        if count < 0:
            raise ValueError(f"the channels of a group must be at least 0, got {count} in groups={list(groups)}")
    total = sum(count for count, _ in groups)
    if total > channels:
        raise ValueError(f"groups must have at most {_counted(channels)} in all, got {total} in {list(groups)}")
    return _covering(channels, groups)


def _counted(channels: int) -> str:
    return f"{channels} channel" if channels == 1 else f"{channels} channels"


def _covering(channels: int, groups: Iterable[tuple[int, int]]) -> tuple[ChannelGroup, ...]:
    covering: list[ChannelGroup] = []  # no _replace here: Dynamo of torch 2.6 does not support it
    start = 0
    for count, frames in groups:
        if covering and covering[-1].frames == frames:  # merge neighbours that move by the same number of frames
            covering[-1] = ChannelGroup(covering[-1].start, start + count, frames)
        elif count > 0:
            covering.append(ChannelGroup(start, start + count, frames))
        start += count
    if covering and covering[-1].frames == 0:
        covering[-1] = ChannelGroup(covering[-1].start, channels, 0)
    elif start < channels or not covering:
        covering.append(ChannelGroup(start, channels, 0))
    return tuple(covering)
