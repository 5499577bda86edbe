"""Oversized, invalid and multi-channel files: none of them stops a batch."""

import io
import os
import re
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from temporal_shift.ser.audio.reading import read_blocks, read_clip
from temporal_shift.ser.cli import app
from temporal_shift.ser.inference.predict_files import Answer, Refusal, answer_or_refuse
from temporal_shift.ser.inference.recognizer import Recognizer

from ..small_model import small_model

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)


def wav(rate=16000, channels=1, samples=8000, sound=None, bits=16, code=1):
    width = channels * bits // 8
    sound = bytes(samples * width) if sound is None else sound
    head = struct.pack("<HHIIHH", code, channels, rate, rate * width % 2**32, width % 2**16, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(body)) + body


def vorbis(rate):
    """Half a second of Vorbis with the given rate in its header."""
    file = io.BytesIO()
    soundfile.write(file, NOISE, 16000, format="OGG", subtype="VORBIS")
    content = bytearray(file.getvalue())
    content[40:44] = rate.to_bytes(4, "little")
    page = content[: content.index(b"OggS", 4)]
    page[22:26] = bytes(4)
    content[22:26] = crc(page).to_bytes(4, "little")
    return bytes(content)


def crc(page):
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = (register << 1 ^ (0x04C11DB7 if register >> 31 else 0)) & 0xFFFFFFFF
    return register


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(small_model("wav2vec2"))


@pytest.fixture(scope="module")
def model(recognizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "model"
    recognizer.model.save_pretrained(folder)
    return str(folder)


REFUSED = {
    "slow.wav": (wav(rate=1), r"rate .*\[4000, 768000\] Hz, got 1$"),
    "fast.wav": (wav(rate=2_000_000_000), r"rate .*\[4000, 768000\] Hz, got 2000000000$"),
    "fast.ogg": (vorbis(2**31 - 1), r"rate .*\[4000, 768000\] Hz, got 2147483647$"),
    "many.wav": (wav(channels=100, samples=80), r"at most 64 channels, got 100$"),
    "more.wav": (wav(channels=60_000, samples=1), "cannot be read"),
    "none.wav": (wav(channels=0, sound=NOISE.tobytes()), "cannot be read"),
    "head.wav": (wav()[:20], "cannot be read"),
    "nan.wav": (wav(sound=np.full(8000, np.nan, "f4").tobytes(), bits=32, code=3), "not finite"),
    "scale.wav": (wav(sound=(32768 * NOISE).tobytes(), bits=32, code=3), r"in \[-32, 32\], got a peak of 163\d\d\.\d"),
    "text.wav": (b"some text\n" * 100, "Format not recognised"),
    "zeros.wav": (bytes(1000), "Format not recognised"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_file_is_a_one_line_error(recognizer, tmp_path, name):
    content, reason = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    result = answer_or_refuse(recognizer, str(tmp_path / name))
    assert isinstance(result, Refusal)
    assert name in result.reason
    assert "\n" not in result.reason
    assert re.search(reason, result.reason)


@pytest.mark.parametrize(
    ("code", "bits", "dtype", "scale"),
    [(1, 8, "u1", 128), (1, 24, None, 2**23), (1, 32, "<i4", 2**31), (3, 64, "<f8", 1)],
)
def test_every_width_of_samples_has_a_full_scale_of_1(tmp_path, code, bits, dtype, scale):
    whole = np.round(NOISE.astype(np.float64) * scale) if scale > 1 else NOISE.astype(np.float64)
    if bits == 24:
        sound = whole.astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes()
    else:
        sound = (whole + 128 * (bits == 8)).astype(dtype).tobytes()
    (tmp_path / "a.wav").write_bytes(wav(sound=sound, bits=bits, code=code))
    np.testing.assert_allclose(read_clip(tmp_path / "a.wav", 0.5), NOISE, atol=1 / 128)


def test_subnormal_samples_and_a_large_offset_are_accepted(recognizer, tmp_path):
    for name, wave in (("tiny.wav", np.full(8000, 1e-40)), ("offset.wav", 0.99 + NOISE / 100)):
        soundfile.write(tmp_path / name, wave, 16000, subtype="FLOAT")
        assert isinstance(answer_or_refuse(recognizer, str(tmp_path / name)), Answer)


def test_memory_does_not_grow_with_channels_and_rate(tmp_path):
    with (tmp_path / "a.wav").open("wb") as sparse:
        head = wav(rate=768_000, channels=64, sound=b"")
        length = 768_000 * 64 * 2 // 4
        sparse.write(head[:-4] + struct.pack("<I", length))
        sparse.truncate(len(head) + length)
    tracemalloc.start()
    samples = sum(map(len, read_blocks(tmp_path / "a.wav")))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 4000
    assert peak < 12e6  # bytes; a second of all channels would be 197 million


def test_files_that_are_not_regular_are_refused_immediately(recognizer, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    (tmp_path / "folder.wav").mkdir()
    for name, reason in (
        ("pipe.wav", "it is a pipe, and no data arrived for 0.5 s"),
        ("loop.wav", "Too many levels of symbolic links"),
        ("zero.wav", "must be a regular file or a pipe, got a device"),
        ("folder.wav", "must be a file, got a folder"),
    ):
        assert reason in answer_or_refuse(recognizer, str(tmp_path / name)).reason


def test_running_out_of_memory_on_one_file_does_not_end_a_batch(tmp_path):
    class Limited(Recognizer):
        def probabilities(self, clips):
            if np.abs(clips).max() > 0.9:
                raise MemoryError
            return super().probabilities(clips)

    recognizer = Limited(small_model("wav2vec2"))
    for name, gain in (("first.wav", 1), ("second.wav", 2), ("third.wav", 1)):
        soundfile.write(tmp_path / name, gain * NOISE, 16000, subtype="FLOAT")
    first, second, third = (
        answer_or_refuse(recognizer, str(tmp_path / name)) for name in ("first.wav", "second.wav", "third.wav")
    )
    assert "not enough memory for the audio file" in second.reason
    assert isinstance(first, Answer)
    assert first.probabilities == third.probabilities


def predict(model, *arguments, code=0):
    done = CliRunner().invoke(app, ["ser", "predict", "--model", model, "--format", "csv", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


def test_predict_takes_a_channel_and_warns_of_channels_that_cancel(model, tmp_path):
    soundfile.write(tmp_path / "left.wav", NOISE, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "stereo.wav", np.stack([NOISE, -NOISE], axis=1), 16000, subtype="FLOAT")
    left = predict(model, tmp_path / "left.wav", "--channel", "0")
    stereo = predict(model, tmp_path / "stereo.wav", "--channel", "0")
    assert stereo.stdout.replace("stereo", "left") == left.stdout
    assert (stereo.stderr, left.stderr) == ("", "")
    assert "stereo.wav cancel each other" in predict(model, tmp_path / "stereo.wav").stderr


@pytest.mark.parametrize(
    ("channel", "reason"),
    [
        ("3", r"stereo\.wav .*channel must be mean or in \[0, 1\], got 3"),
        ("-1", "--channel must be"),
        ("left", "--channel must be"),
    ],
)
def test_an_invalid_channel_is_a_one_line_error(model, tmp_path, channel, reason):
    soundfile.write(tmp_path / "stereo.wav", np.stack([NOISE, NOISE], axis=1), 16000)
    done = predict(model, tmp_path / "stereo.wav", f"--channel={channel}", code=2)
    assert len(done.stderr.splitlines()) == 1
    assert re.search(reason, done.stderr)
