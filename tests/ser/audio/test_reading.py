import io
import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from temporal_shift.ser.audio.reading import measure, read_blocks, read_clip
from temporal_shift.ser.utils.errors import RecipeError


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)


def test_a_clip_is_the_first_seconds_of_a_longer_recording(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    clip = read_clip(tmp_path / "a.wav", 0.25)
    assert clip.dtype == np.float32
    np.testing.assert_array_equal(clip, noise[:4000])


def test_a_short_recording_is_padded_with_zeros_at_the_end(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    clip = read_clip(tmp_path / "a.wav", 0.6)
    np.testing.assert_array_equal(clip[:8000], noise)
    np.testing.assert_array_equal(clip[8000:], np.zeros(1600))


def test_channels_are_averaged(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", np.stack([noise, np.zeros_like(noise)], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_clip(tmp_path / "a.wav", 0.5), noise / 2)


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_a_resampled_clip_is_the_start_of_the_resampled_recording(tmp_path, rate):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, rate).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    whole = soxr.resample(wave, rate, 16000)
    np.testing.assert_allclose(read_clip(tmp_path / "a.wav", 0.5), whole[:8000], atol=1e-5)


def length(path):
    found = measure(path)
    return found.samples, found.sample_rate


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_the_usual_formats_are_read(tmp_path, noise, extension):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, noise, 16000)
    assert read_clip(path, 0.5).shape == (8000,)
    assert length(path) == (8000, 16000)


def test_a_long_recording_is_not_read_beyond_the_clip(tmp_path, noise, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    asked = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, frames, **kw: asked.append(frames) or read(self, frames, **kw)
    )
    read_clip(tmp_path / "a.wav", 0.1)
    assert sum(asked) == 1600


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 2), (44100, 1)])
def test_the_samples_of_each_channel_are_counted(tmp_path, noise, rate, channels):
    soundfile.write(tmp_path / "a.wav", np.stack([noise] * channels, axis=1), rate)
    assert length(tmp_path / "a.wav") == (8000, rate)


def whole(source, seconds=1.0):
    return np.concatenate([*read_blocks(source, seconds), np.zeros(0, dtype=np.float32)])


@pytest.mark.parametrize(
    ("rate", "channels", "seconds"),
    [(8000, 1, 0.01), (16000, 8, 0.13), (16000, 1, 60.0), (22050, 2, 1.0), (96000, 1, 0.13), (192000, 8, 0.01)],
)
def test_the_blocks_of_a_recording_start_with_its_clip(tmp_path, rate, channels, seconds):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (rate // 2, channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    blocks = list(read_blocks(tmp_path / "a.wav", seconds))
    assert all(block.dtype == np.float32 for block in blocks)
    assert max(map(len, blocks)) <= (seconds + 0.1) * 16000
    heard = np.concatenate(blocks)
    assert len(heard) == 8000
    np.testing.assert_allclose(read_clip(tmp_path / "a.wav", 0.3), heard[:4800], atol=1e-6)


@given(
    rate=st.sampled_from([8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000]),
    channels=st.integers(1, 8),
    samples=st.integers(1, 30_000),
    seconds=st.floats(0.005, 2.0),
)
def test_blocks_of_any_size_equal_the_whole_resampled_recording(rate, channels, samples, seconds):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="FLOAT")
    file.seek(0)
    heard, at_once = whole(file, seconds), soxr.resample(wave.mean(axis=1), rate, 16000)
    assert abs(len(heard) - samples * 16000 / rate) <= 1
    np.testing.assert_allclose(heard, at_once, atol=1e-4)


@pytest.mark.parametrize("extension", ["flac", "ogg", "mp3", "aiff"])
def test_blocks_of_compressed_audio_equal_the_whole_recording(tmp_path, noise, extension):
    soundfile.write(tmp_path / f"a.{extension}", noise, 16000)
    assert np.array_equal(whole(tmp_path / f"a.{extension}", 0.1), read_clip(tmp_path / f"a.{extension}", 0.5))


def test_a_long_recording_is_never_in_memory_as_a_whole(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(600 * 44100, dtype=np.int16), 44100)
    tracemalloc.start()
    samples = sum(len(block) for block in read_blocks(tmp_path / "a.wav"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert samples == 600 * 16000
    assert peak < 2e6  # bytes; the whole recording needs more


READERS = (lambda path: read_clip(path, 1.0), measure, whole)


def assert_refused(path, sentence, readers=READERS):
    for read in readers:
        with pytest.raises(RecipeError, match=sentence):
            read(path)


def wav(samples: int, said: int | None = None, riff: int | None = None, more: bytes = b"") -> bytes:
    """A WAV at 16 kHz, 16 bits, with the given sizes of the sound and of the file in its header."""
    sound = bytes(2 * samples) if samples else b""
    said = len(sound) if said is None else said
    riff = 36 + len(sound) + len(more) if riff is None else riff
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", said
    )
    return head + sound + more


def test_an_unreadable_file_is_an_error_with_path_and_reason(tmp_path):
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "nothing.wav").touch()
    assert_refused(tmp_path / "gone.wav", r"no audio file .*gone\.wav")
    assert_refused(tmp_path / "text.wav", r"text\.wav cannot be read: Format not recognised")
    assert_refused(tmp_path / "nothing.wav", r"nothing\.wav cannot be read: .*0 bytes")
    assert_refused(tmp_path, "cannot be read: Is a directory")
    assert_refused(tmp_path / "a\0.wav", "cannot be read: embedded null byte")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read every file")
def test_audio_without_read_permission_is_an_error(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    (tmp_path / "a.wav").chmod(0)
    assert_refused(tmp_path / "a.wav", r"a\.wav cannot be read: Permission denied")


@pytest.mark.parametrize("name", [b"\xff.wav", b"two\nlines.wav", b"a.raw", b"a", b"sound.mp3"])
def test_the_format_does_not_depend_on_the_file_name(tmp_path, noise, name):
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(wav(800))
    assert length(path) == (800, 16000)
    assert len(whole(path)) == 800


def test_empty_audio_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    (tmp_path / "only_info.wav").write_bytes(wav(0, more=struct.pack("<4sI4s", b"LIST", 4, b"INFO")))
    assert_refused(tmp_path / "a.wav", r"a\.wav is empty")
    assert_refused(tmp_path / "only_info.wav", r"only_info\.wav is empty")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_audio_that_is_not_finite_is_an_error(tmp_path, noise, bad):
    noise[100] = bad
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    for read in (read_clip, whole):
        with pytest.raises(RecipeError, match=r"a\.wav contains samples that are not finite"):
            read(tmp_path / "a.wav", 0.5)
    with pytest.raises(RecipeError, match="not finite"):
        whole(tmp_path / "a.wav", 0.001)


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "IMA_ADPCM")),
        *((format, "PCM_16") for format in ("WAVEX", "RF64", "W64", "AIFF", "AU")),
    ],
)
def test_audio_shorter_than_its_header_states_is_cut_off(tmp_path, format, subtype):
    path = tmp_path / "a"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 40_000), 16000, format=format, subtype=subtype)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert_refused(path, r"a is cut off: .* 2\.5\d s, .* 1\.2\d s")


@pytest.mark.parametrize(
    ("extension", "how"),
    [
        ("flac", " or damaged: flac decoder lost sync"),
        ("mp3", ": it ends within a frame"),
        ("ogg", ": it ends within a page"),
    ],
)
def test_compressed_audio_that_ends_early_is_cut_off(tmp_path, extension, how):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert_refused(path, rf"a\.{extension} is cut off{how}")


def test_a_clip_before_the_cut_is_read(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", np.tile(noise, 10), 16000)
    (tmp_path / "a.flac").write_bytes((tmp_path / "a.flac").read_bytes()[:100_000])
    np.testing.assert_allclose(read_clip(tmp_path / "a.flac", 0.5), noise, atol=1e-4)


@pytest.mark.parametrize(
    ("said", "riff"),
    [(0, 0), (0, 36), (0, 8), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, 0)],
)
def test_a_wav_that_was_a_stream_is_read_to_its_end(tmp_path, said, riff):
    (tmp_path / "stream.wav").write_bytes(wav(800, said, riff))
    (tmp_path / "plain.wav").write_bytes(wav(800))
    for read in READERS:
        np.testing.assert_array_equal(read(tmp_path / "stream.wav"), read(tmp_path / "plain.wav"))


def test_a_stream_of_flac_is_read_to_its_end(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", noise, 16000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # number of samples; 0 means unknown
    (tmp_path / "a.flac").write_bytes(content)
    assert length(tmp_path / "a.flac") == (8000, 16000)
    assert len(whole(tmp_path / "a.flac")) == 8000
    assert len(read_clip(tmp_path / "a.flac", 1.0)) == 16000


def test_a_header_that_counts_itself_as_sound_is_accepted(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(800, said=2 * 800 + 44))
    assert length(tmp_path / "a.wav") == (800, 16000)
    assert len(whole(tmp_path / "a.wav")) == 800


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_like_a_file(tmp_path):
    from threading import Thread

    os.mkfifo(tmp_path / "pipe")
    writer = Thread(target=(tmp_path / "pipe").write_bytes, args=(wav(800, 0xFFFFFFFF, 0xFFFFFFFF),))
    writer.start()
    assert len(whole(tmp_path / "pipe")) == 800
    writer.join()
