"""Mix the channels of a recording to one, and detect channels that cancel each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..config import Channel, check_channel

_CANCELLED = 0.01  # maximum energy of the mean / average energy of a channel: -20 dB
_SILENT = 1e-9  # maximum variance of the samples of a silent channel: -90 dB


class Downmix:
    """Averages the channels of a recording or selects one, block by block, and compares the channels.

    Args:
        channel: ``"mean"`` (default), or the number of a channel, counted from 0.

    Attributes:
        channel: As the argument; a number is an int.
        channels: Number of channels; 0 before the first block.
        correlation: The lowest correlation of two channels with sound, in the blocks so far; ``None`` if fewer than two
            have sound.
        cancels: Whether the channels have sound, but their mean is more than 20 dB quieter than an average channel.

    Raises:
        ValueError: If ``channel`` is something else.
    """

    def __init__(self, channel: Channel = "mean") -> None:
        self.channel = check_channel(channel)
        self.channels = 0
        self._count = 0
        self._sums: npt.NDArray[np.float64] = np.zeros(0)
        self._products: npt.NDArray[np.float64] = np.zeros((0, 0))

    def __call__(self, wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Mix a block, ``(samples, channels)``, to ``(samples,)``. All blocks must have the same number of channels.

        Raises:
            ValueError: If the recording does not have the selected channel.
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
        """Covariance of the channels, times the number of samples."""
        return self._products - np.outer(self._sums, self._sums) / max(1, self._count)

    @property
    def correlation(self) -> float | None:
        covariance = self._covariance()
        energies = covariance.diagonal()
        sounding = np.flatnonzero(energies > _SILENT * max(1, self._count))
        if len(sounding) < 2:
            return None
        scale = np.sqrt(energies[sounding])
        return float((covariance[np.ix_(sounding, sounding)] / np.outer(scale, scale)).min().clip(-1, 1))

    @property
    def cancels(self) -> bool:
        covariance = self._covariance()
        parts, mean = covariance.trace() / max(1, self.channels), covariance.sum() / max(1, self.channels) ** 2
        return self.channels > 1 and bool(parts > _SILENT * self._count and mean < _CANCELLED * parts)

    def warning(self, name: str) -> str | None:
        """Return a sentence if the channels were averaged and cancel each other, else ``None``.

        Args:
            name: The recording, for the sentence.
        """
        if self.channel != "mean" or not self.cancels:
            return None
        return f"the channels of {name} cancel each other in their mean: choose one of its {self.channels} channels"
