"""The command ``temporal-shift ser live``, with a recording or a microphone."""

from __future__ import annotations

import itertools
import json
import re
import sys
import types

import numpy as np
import pytest
import soundfile
import soxr
from typer.testing import CliRunner

from temporal_shift.ser.cli import app
from temporal_shift.ser.inference import live
from temporal_shift.ser.inference.microphone import microphone
from temporal_shift.ser.utils.errors import RecipeError

from ..small_model import LABELS, local_model
from .test_speech_stream import noise

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The models ``windows`` and ``streaming``, and a recording of 1.2 s."""
    folder = tmp_path_factory.mktemp("live")
    local_model("last").save_pretrained(folder / "windows")
    local_model().save_pretrained(folder / "streaming")
    soundfile.write(folder / "said.wav", noise(19200), 16000, subtype="FLOAT")
    return folder


@pytest.fixture
def typed(monkeypatch, tmp_path, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["ser", "live", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    return run


def test_a_recording_is_printed_as_lines(typed, folder):
    lines = typed("--model", folder / "windows", "--file", folder / "said.wav").splitlines()
    assert lines[0].startswith("windows, in windows of 0.5 s, because")
    heard = [float(line.split()[0]) for line in lines[1:-1]]
    assert heard[0] >= 0.5
    assert heard == sorted(set(heard))
    assert heard[-1] == 1.2
    assert all(name in lines[1] for name in (*LABELS, "latency", "RTF", " skipped"))
    assert re.match(
        r"\d updates of 1\.2 s, \d skipped; latency median \d+ ms, 95 % below \d+ ms; RTF median ", lines[-1]
    )


def test_a_recording_is_printed_as_json(typed, folder):
    printed = typed("--model", folder / "streaming", "--file", folder / "said.wav", "--format", "json", "--hop", "0.3")
    begin, *updates, end = map(json.loads, printed.splitlines())
    assert (begin["event"], begin["model"], begin["labels"]) == ("begin", "streaming", list(LABELS))
    assert begin["way"].startswith("streaming")
    assert updates[-1]["heard_s"] == 1.2
    assert all(update["label"] == max(update["probabilities"], key=update["probabilities"].get) for update in updates)
    assert all(update["latency_s"] > 0 and update["rtf"] > 0 for update in updates)
    assert (end["event"], end["updates"], end["heard_s"]) == ("end", len(updates), 1.2)


def test_silence_has_a_remark(typed, folder):
    soundfile.write("silent.wav", np.zeros(3200), 16000)
    printed = typed("--model", folder / "streaming", "--file", "silent.wav", "--format", "json")
    assert json.loads(printed.splitlines()[1])["remark"] == "no speech found"
    printed = typed("--model", folder / "windows", "--file", "silent.wav")
    assert re.search(r" s  \w+  \[no speech found\]  \(", printed)


def test_the_command_stops_after_the_given_seconds(typed, folder):
    lines = typed("--model", folder / "windows", "--file", folder / "said.wav", "--seconds", 0.7).splitlines()
    assert lines[-2].split()[0] == "0.70"


def test_ctrl_c_ends_the_command_with_the_summary(typed, folder, monkeypatch):
    def interrupted(*arguments):
        yield live.Update(0.5, (0.25,) * 4, -20.0, 0.01, 0.02, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "updates", interrupted)
    lines = typed("--model", folder / "windows", "--file", folder / "said.wav").splitlines()
    assert lines[-1].startswith("1 update of 0.5 s, 0 skipped; latency median 10 ms")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--file", "gone.wav"), "there is no audio file gone.wav"),
        (("--file", "nan.wav"), "the audio file nan.wav contains samples that are not finite"),
        (("--hop", "0"), "--hop must be in [0.02, 60] seconds, got 0"),
        (("--hop", "nan"), "--hop must be in [0.02, 60] seconds, got nan"),
        (("--file", "silent.wav", "--revision", "v1"), "revision must not be given with a model folder, got 'v1'"),
        (("--seconds", "-1"), "--seconds must be above 0 and finite, got -1"),
        (("--seconds", "inf"), "--seconds must be above 0 and finite, got inf"),
        (("--file", "nan.wav", "--device", "1"), "--file and --device are mutually exclusive, got nan.wav and 1"),
    ],
)
def test_a_wrong_source_or_option_is_a_one_line_error(typed, folder, options, sentence):
    soundfile.write("nan.wav", np.full(16000, np.nan, dtype=np.float32), 16000, subtype="FLOAT")
    soundfile.write("silent.wav", np.zeros(3200), 16000)
    assert f"error: {sentence}\n" in typed("--model", folder / "windows", *options, code=2)


def test_without_a_clone_a_model_must_be_named(typed):
    assert re.match(r"error: examples/real-speech/models/Shiftformer .*--model\n$", typed(code=2))


class FakeStream:
    """A device that records a slow sine."""

    def __init__(self, rate: float, *, device: int, channels: int, dtype: str) -> None:
        assert (device, channels, dtype) == (3, 1, "float32")
        self.rate, self.heard = rate, 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass

    def read(self, samples: int):
        self.heard += samples
        return np.sin(np.arange(self.heard - samples, self.heard, dtype=np.float32) / 30)[:, None], False


HEADSET = {"index": 3, "name": "Headset", "max_input_channels": 2, "default_samplerate": 48000.0}


@pytest.fixture
def devices(monkeypatch):
    """A fake sounddevice with one microphone at 48 kHz, which has the number 3."""

    class PortAudioError(Exception):
        pass

    def query_devices(device=None, kind=None):
        if kind is None:
            return [HEADSET, {**HEADSET, "name": "Speaker", "max_input_channels": 0}]
        if device not in (None, 3, "head"):
            raise ValueError(f"No input device matching {device!r}")
        return HEADSET

    fake = types.SimpleNamespace(PortAudioError=PortAudioError, query_devices=query_devices, InputStream=FakeStream)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


@pytest.mark.parametrize("device", [None, "3", "head"])
def test_a_microphone_of_another_rate_is_resampled_as_one_stream(devices, device):
    blocks, late = zip(*itertools.islice(microphone(device), 20), strict=True)
    heard = np.concatenate(blocks)
    sine = np.sin(np.arange(48000, dtype=np.float32) / 30)
    np.testing.assert_allclose(heard, soxr.resample(sine, 48000, 16000)[: len(heard)], atol=1e-4)
    assert len(heard) / 16000 + late[-1] == pytest.approx(1.0, abs=1e-3)  # the rest is still in the resampler


def test_the_microphone_is_recorded(typed, folder, devices):
    printed = typed("--model", folder / "windows", "--seconds", "0.6", "--format", "json")
    assert json.loads(printed.splitlines()[-2])["heard_s"] == 0.6


def test_the_devices_are_listed(typed, devices):
    printed = typed("--list-devices")
    assert "3  Headset" in printed
    assert "48000" in printed
    assert "Speaker" not in printed


def test_a_missing_microphone_is_a_one_line_error(typed, devices):
    unknown = typed("--model", "any", "--device", "foot", code=2)
    assert re.match(
        r"error: --device must be an input device, got 'foot': No input device matching 'foot'; --list-devices ",
        unknown,
    )

    def none(device=None, kind=None):
        if kind is None:
            return []
        raise devices.PortAudioError("Error querying device -1")

    devices.query_devices = none
    assert re.match(r"error: .*no microphone.*--file\n$", typed("--model", "any", code=2))
    assert re.match(r"error: .*no microphone\n$", typed("--list-devices", code=2))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"max_input_channels": 0}, "the device Headset must have at least one input channel, got 0"),
        ({"default_samplerate": 0.0}, r"the device Headset must have a sample rate in \[1000, 1000000\] Hz, got 0"),
        ({"default_samplerate": float("nan")}, r"the device Headset must have a sample rate in .* Hz, got nan"),
        (
            {"open": "Invalid sample rate [PaErrorCode -9997]"},
            "the device Headset cannot be read: Invalid sample rate ",
        ),
        ({"read": "Device unavailable [PaErrorCode -9985]"}, "the device Headset cannot be read: Device unavailable "),
        ({"columns": 0}, "the device Headset cannot be read: "),
        ({"value": float("nan")}, "the device Headset cannot be read: its samples are not finite"),
    ],
)
def test_a_device_that_cannot_be_read_or_vanishes_is_a_one_line_error(typed, folder, devices, broken, sentence):
    class Broken(FakeStream):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            if "open" in broken:
                raise devices.PortAudioError(broken["open"])

        def read(self, samples):
            block, overflowed = super().read(samples)
            if "read" in broken and self.heard > 24000:
                raise devices.PortAudioError(broken["read"])
            return block[:, : broken.get("columns", 1)] + broken.get("value", 0.0), overflowed

    devices.InputStream = Broken
    devices.query_devices = lambda device=None, kind=None: {**HEADSET, **broken}
    lines = typed("--model", folder / "windows", code=2).splitlines()
    assert re.match(f"error: {sentence}", lines[-1])
    assert sum("error" in line for line in lines) == 1


def test_a_source_that_stops_sending_is_an_error(monkeypatch):
    monkeypatch.setattr(live, "SOUND_TIMEOUT", 0.05)
    with pytest.raises(RecipeError, match=r"no sound has arrived for 0\.05 s"):
        live.Inbox(10).take(1)


def test_missing_sounddevice_or_portaudio_is_an_error_that_names_what_to_install(typed, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    missing = typed("--model", "any", code=2)
    assert re.fullmatch(r'error: sounddevice is not installed: pip install .*\[live\]"\n', missing)

    class NoLibrary:
        def find_spec(self, name, path=None, target=None):
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.setattr(sys, "meta_path", [NoLibrary(), *sys.meta_path])
    assert re.match(r"error: .*PortAudio .*libportaudio2.*\n$", typed("--list-devices", code=2))
