"""From several channels to one: their mean, or one of them; and what the mean does to the sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..config import Channel, check_channel

_CANCELLED = 0.01  # energy of the mean, relative to the channels': 20 dB below them


class Downmix:
    """Takes the mean of the channels, or one of them, and compares the channels block by block.

    Args:
        channel: ``"mean"``, or the number of a channel, counted from 0.
    """

    def __init__(self, channel: Channel = "mean") -> None:
        self.channel = check_channel(channel)
        self.channels = 0
        self._count = 0
        self._sums: npt.NDArray[np.float64] = np.zeros(0)
        self._products: npt.NDArray[np.float64] = np.zeros((0, 0))

    def __call__(self, wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Mix ``(samples, channels)`` to ``(samples,)``.

        Raises:
            ValueError: If there is no such channel.
        """
        if not self.channels:
            self.channels = wave.shape[1]
            self._sums, self._products = np.zeros(self.channels), np.zeros((self.channels, self.channels))
        if self.channel != "mean" and self.channel >= self.channels:
            raise ValueError(f"channel must be mean or in [0, {self.channels - 1}], got {self.channel}")
        if self.channels > 1:
            exact = wave.astype(np.float64)
            self._count += len(wave)
            self._sums += exact.sum(axis=0)
            self._products += exact.T @ exact
        if self.channel != "mean":
            return wave[:, self.channel].copy()
        mean: npt.NDArray[np.float32] = wave.T.mean(axis=0)
        return mean

    def _covariance(self) -> npt.NDArray[np.float64]:
        """Of the channels, without their offsets."""
        return self._products - np.outer(self._sums, self._sums) / max(1, self._count)

    @property
    def correlation(self) -> float | None:
        """The smallest correlation of two channels that have sound; ``None`` if fewer than two have."""
        covariance = self._covariance()
        energies = covariance.diagonal()
        sounding = np.flatnonzero(energies > 1e-9 * max(1, self._count))  # -90 dB
        if len(sounding) < 2:
            return None
        scale = np.sqrt(energies[sounding])
        return float((covariance[np.ix_(sounding, sounding)] / np.outer(scale, scale)).min().clip(-1, 1))

    @property
    def cancels(self) -> bool:
        """Whether the channels have sound and their mean has almost none."""
        covariance = self._covariance()
        parts, mean = covariance.trace() / max(1, self.channels), covariance.sum() / max(1, self.channels) ** 2
        return self.channels > 1 and bool(parts > 1e-9 * self._count and mean < _CANCELLED * parts)

    def warning(self, name: str) -> str | None:
        """A sentence if the mean was taken of channels that cancel each other."""
        if self.channel != "mean" or not self.cancels:
            return None
        return f"the channels of {name} cancel each other in their mean: choose one of its {self.channels} channels"
