"""The microphone, through PortAudio."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr

from ..._extras import not_installed
from ..audio.resampling import SAMPLE_RATE
from ..utils.errors import RecipeError, reason_of
from ..utils.table import Table
from .live import BLOCK, Sound

_MIN_RATE, _MAX_RATE = 1000, 1_000_000  # Hz


def microphone(device: str | None = None) -> Sound:
    """Record blocks from a device and resample them to 16 kHz.

    Args:
        device: Number of the device or part of its name. Default: ``None``, the system's default device.
    Returns:
        Blocks of mono samples, and the delay of the resampler for each in seconds.
    Raises:
        RecipeError: If the device does not exist or has no usable input, or if sounddevice or PortAudio is missing;
            while reading, if the device cannot be read or gives samples that are not finite.
    """
    portaudio = _portaudio()
    chosen = int(device) if device is not None and device.isdecimal() else device
    try:
        info = portaudio.query_devices(chosen, "input")
    except (ValueError, OverflowError, portaudio.PortAudioError) as error:
        if device is None:
            raise RecipeError(
                f"the system has no microphone ({reason_of(error)}): pass a recording with --file"
            ) from None
        raise RecipeError(
            f"--device must be an input device, got {device!r}: {reason_of(error)}; --list-devices lists them"
        ) from None
    rate, channels = info["default_samplerate"], info["max_input_channels"]
    if channels < 1:
        raise RecipeError(f"the device {info['name']} must have at least one input channel, got {channels}")
    if not _MIN_RATE <= rate <= _MAX_RATE:
        raise RecipeError(
            f"the device {info['name']} must have a sample rate in [{_MIN_RATE}, {_MAX_RATE}] Hz, got {rate:g}"
        )
    return _recorded(portaudio, info)


def devices_table() -> Table:
    """A table of the microphones of this machine: number and name, number of channels, sample rate in Hz.

    Raises:
        RecipeError: If there is no microphone, the devices cannot be listed, or sounddevice or PortAudio is missing.
    """
    portaudio = _portaudio()
    try:
        found = [info for info in portaudio.query_devices() if info["max_input_channels"] > 0]
    except portaudio.PortAudioError as error:
        raise RecipeError(f"the microphones cannot be listed: {reason_of(error)}") from None
    if not found:
        raise RecipeError("the system has no microphone")
    rows = [
        (f"{info['index']}  {info['name']}", str(info["max_input_channels"]), f"{info['default_samplerate']:g}")
        for info in found
    ]
    return Table(("Device", "Channels", "Rate, Hz"), rows)


def _recorded(portaudio: Any, info: dict[str, Any]) -> Sound:
    # use the device's own rate, because conversion in the driver has unknown delay and quality
    rate = info["default_samplerate"]
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    try:
        with portaudio.InputStream(rate, device=info["index"], channels=1, dtype="float32") as stream:
            while True:
                block = stream.read(round(BLOCK * rate))[0][:, 0]
                if not np.isfinite(block).all():
                    raise ValueError("its samples are not finite")
                if rate == SAMPLE_RATE:
                    yield block, 0.0
                else:
                    yield resampler.resample_chunk(np.ascontiguousarray(block)), resampler.delay() / SAMPLE_RATE
    except (portaudio.PortAudioError, OSError, ValueError, IndexError) as error:
        raise RecipeError(f"the device {info['name']} cannot be read: {reason_of(error)}") from None


def _portaudio() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise RecipeError(not_installed("sounddevice", "live")) from None
    except OSError:
        raise RecipeError(
            "the microphone requires the library PortAudio (the package libportaudio2 on Debian and Ubuntu)"
        ) from None
    return sounddevice
