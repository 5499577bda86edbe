"""The microphone, through PortAudio."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr

from ..audio.resampling import SAMPLE_RATE
from ..utils.errors import RecipeError, reason_of
from ..utils.table import Table
from .live import BLOCK, Sound


def microphone(device: str | None = None) -> Sound:
    """Record blocks from a device, at 16 kHz.

    Args:
        device: Its number, or a part of its name. Default: the system's.
    Raises:
        RecipeError: If the device does not exist, or sounddevice or PortAudio is missing.
    """
    portaudio = _portaudio()
    chosen = int(device) if device is not None and device.isdecimal() else device
    try:
        info = portaudio.query_devices(chosen, "input")
    except (ValueError, portaudio.PortAudioError) as error:
        if device is None:
            raise RecipeError("the system has no microphone: give a recording with --file") from None
        raise RecipeError(f"--device {device}: {reason_of(error)}; --list-devices lists the devices") from None
    return _recorded(portaudio, info)


def devices_table() -> Table:
    """The microphones of this machine.

    Raises:
        RecipeError: If there is none, or sounddevice or PortAudio is missing.
    """
    found = [info for info in _portaudio().query_devices() if info["max_input_channels"] > 0]
    if not found:
        raise RecipeError("the system has no microphone")
    rows = [
        (f"{info['index']}  {info['name']}", str(info["max_input_channels"]), f"{info['default_samplerate']:g}")
        for info in found
    ]
    return Table(("Device", "Channels", "Rate, Hz"), rows)


def _recorded(portaudio: Any, info: dict[str, Any]) -> Sound:
    # the device's own rate, because conversions in the driver have unknown delay and quality
    rate = info["default_samplerate"]
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    try:
        with portaudio.InputStream(rate, device=info["index"], channels=1, dtype="float32") as stream:
            while True:
                block = stream.read(round(BLOCK * rate))[0][:, 0]
                if rate == SAMPLE_RATE:
                    yield block, 0.0
                else:
                    yield resampler.resample_chunk(np.ascontiguousarray(block)), resampler.delay() / SAMPLE_RATE
    except portaudio.PortAudioError as error:
        raise RecipeError(f"the device {info['name']} cannot be read: {reason_of(error)}") from None


def _portaudio() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError:
        raise RecipeError('the microphone needs sounddevice: pip install "temporal-shift[live]"') from None
    except OSError:
        raise RecipeError(
            "the microphone needs the library PortAudio (the package libportaudio2 on Debian and Ubuntu)"
        ) from None
    return sounddevice
