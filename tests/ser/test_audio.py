import numpy as np
import pytest
import soundfile
import soxr

from temporal_shift.ser.audio import read_clip, read_header
from temporal_shift.ser.errors import RecipeError


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


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_the_usual_formats_are_read(tmp_path, noise, extension):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, noise, 16000)
    assert read_clip(path, 0.5).shape == (8000,)
    assert read_header(path) == (8000, 16000)


def test_a_long_recording_is_not_read_beyond_the_clip(tmp_path, noise, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    asked = []
    read = soundfile.SoundFile.read
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, frames, **kw: asked.append(frames) or read(self, frames, **kw)
    )
    read_clip(tmp_path / "a.wav", 0.1)
    assert asked == [1600]


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (8000, 2), (44100, 1)])
def test_the_header_tells_the_samples_of_each_channel_and_their_rate(tmp_path, noise, rate, channels):
    soundfile.write(tmp_path / "a.wav", np.stack([noise] * channels, axis=1), rate)
    assert read_header(tmp_path / "a.wav") == (8000, rate)
    assert read_header(tmp_path / "a.wav") == (8000, rate)


def test_the_header_is_all_that_is_read_of_it(tmp_path, noise, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    monkeypatch.delattr(soundfile.SoundFile, "read")
    assert read_header(tmp_path / "a.wav") == (8000, 16000)


READERS = [lambda path: read_clip(path, 1.0), read_header]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_audio_is_a_sentence_with_path_and_reason(tmp_path, read):
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(RecipeError, match=r"^there is no audio file .*gone\.wav$"):
        read(tmp_path / "gone.wav")
    with pytest.raises(RecipeError, match=r"^the audio file .*text\.wav cannot be read: Format not recognised$"):
        read(tmp_path / "text.wav")


@pytest.mark.parametrize("read", READERS)
def test_empty_audio_is_an_error(tmp_path, read):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(RecipeError, match=r"^the audio file .*a\.wav is empty$"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_audio_that_is_not_finite_is_an_error(tmp_path, noise, bad):
    noise[100] = bad
    soundfile.write(tmp_path / "a.wav", noise, 16000, subtype="FLOAT")
    with pytest.raises(RecipeError, match=r"^the audio file .*a\.wav holds samples that are not finite$"):
        read_clip(tmp_path / "a.wav", 0.5)
