"""What moves where: the arguments of a shift, resolved once into groups of channels."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels ``start:stop`` read ``frames`` earlier (later where negative)."""

    start: int
    stop: int
    frames: int

    @property
    def channels(self) -> int:
        return self.stop - self.start

    def adjoint(self) -> ChannelGroup:
        return replace(self, frames=-self.frames)


@dataclass(frozen=True, slots=True)
class ShiftGeometry:
    """A shift of one tensor: its two dims, and groups that cover all of its channels in order."""

    groups: tuple[ChannelGroup, ...]
    time_dim: int
    channel_dim: int

    @classmethod
    def of(
        cls, channels: int, n_div: int, stride: int, bidirectional: bool, *, time_dim: int, channel_dim: int
    ) -> ShiftGeometry:
        """Resolve ``n_div``, ``stride`` and ``bidirectional`` for a tensor of so many channels.

        Raises:
            ValueError: If ``n_div`` leaves no channel to move, or less than a group for each direction.
        """
        least = 2 if bidirectional else 1
        if not least <= n_div <= channels:
            raise ValueError(_wrong_n_div(n_div, channels, bidirectional))
        width = channels // n_div
        frames = (stride, -stride) if bidirectional else (stride,)
        groups = [ChannelGroup(i * width, (i + 1) * width, step) for i, step in enumerate(frames)]
        moved = len(frames) * width
        if moved < channels:
            groups.append(ChannelGroup(moved, channels, 0))
        return cls(tuple(groups), time_dim, channel_dim)

    def adjoint(self) -> ShiftGeometry:
        """The shift that carries gradients: with zeros around a sequence, the same one the other way."""
        return replace(self, groups=tuple(group.adjoint() for group in self.groups))


def _wrong_n_div(n_div: int, channels: int, bidirectional: bool) -> str:
    if n_div > channels:
        return f"n_div={n_div} moves none of the {channels} channels: it must be at most {channels}"
    if bidirectional and n_div == 1:
        return "n_div=1 leaves no channel for the second direction: with bidirectional=True it must be at least 2"
    return f"n_div={n_div} is no share of the {channels} channels: it must be at least {2 if bidirectional else 1}"
