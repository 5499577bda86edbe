"""Headers with a wrong length: the recording is read to its end, or rejected."""

import io
import struct

import numpy as np
import pytest
import soundfile

from temporal_shift.ser.audio.reading import measure, read_blocks, read_clip
from temporal_shift.ser.utils.errors import RecipeError

RATE = 16000
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
STARTS_SILENT = np.concatenate([np.zeros(RATE // 4, dtype=np.float32), NOISE])  # its first MP3 frames are small
ID3 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + b"APIC" + b"\xff\xfb" * 126  # a picture that looks like frames
LYRICS = b"LYRICSBEGIN" + b"LYR99999" + b"a" * 99_999 + b"100018LYRICS200"
MP3_FRAME = 576  # samples, at 16 kHz
MP3_SLACK = 3 * MP3_FRAME  # the delay and padding of an encoder, which only the first frame states


def encoded(wave, rate=RATE, **how):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, **how)
    return file.getvalue()


def mp3(mode="VARIABLE", information=True, wave=STARTS_SILENT, rate=RATE):
    """An MP3, with or without its first frame, which states its length."""
    content = encoded(wave, rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    return content if information else content[content.index(content[:2], 32) :]


def mp2(frames):
    """Silence in MPEG 2, layer 2, 32 kbit/s, 16 kHz, mono. A frame has 1152 samples."""
    return (b"\xff\xf5\x48\xc0" + bytes(284)) * frames


def riff(code, sound):
    fmt = struct.pack("<HHIIHHH", code, 1, RATE, 4000, 1, 0, 0)
    body = b"WAVE" + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(sound)) + sound
    return b"RIFF" + struct.pack("<I", len(body)) + body


def resized(format, size):
    """A second of sound. ``size`` maps the right size in bytes to the size that the header states."""
    content = encoded(NOISE, format=format, subtype="PCM_16")
    name, skip, width, order = {
        "WAV": (b"data", 4, 4, "little"),
        "RF64": (b"ds64", 16, 8, "little"),
        "W64": (b"data\xf3\xac\xd3\x11", 16, 8, "little"),
        "AIFF": (b"SSND", 4, 4, "big"),
        "CAF": (b"data\x00\x00", 4, 8, "big"),
        "AU": (b".snd", 8, 4, "big"),
    }[format]
    at = content.index(name) + skip
    right = int.from_bytes(content[at : at + width], order)
    wrong = size(right) % 256**width
    return content[:at] + wrong.to_bytes(width, order) + content[at + width :]


@pytest.fixture
def file(tmp_path):
    def write(content):
        (tmp_path / "a").write_bytes(content)
        return tmp_path / "a"

    return write


def samples(path):
    """The decoded length in samples. Checks that ``measure`` counts as many, and that a clip is silent after them."""
    total = sum(map(len, read_blocks(path, 0.3)))
    assert measure(path).samples == total
    assert np.count_nonzero(read_clip(path, 3.0)[total:]) == 0
    return total


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("before", [b"", ID3])
@pytest.mark.parametrize("after", [b"", b"TAG" + bytes(125), bytes(3000), b"APETAGEX" + bytes(24), LYRICS])
def test_an_mp3_without_a_length_is_read_to_its_end(file, mode, before, after):
    content = before + mp3(mode, information=False) + after
    assert samples(file(content)) == pytest.approx(len(STARTS_SILENT), abs=MP3_SLACK)


def test_an_mp3_with_a_stated_length_has_the_encoded_length(file):
    assert samples(file(ID3 + mp3())) == len(STARTS_SILENT)


@pytest.mark.parametrize(
    "parts", [(mp3(), mp3()), (mp3(), ID3, mp3()), (mp3(information=False), mp3()), (mp3(), mp3(information=False))]
)
def test_concatenated_mp3s_are_read_to_the_end_of_the_last(file, parts):
    assert samples(file(b"".join(parts))) == pytest.approx(2 * len(STARTS_SILENT), abs=2 * MP3_SLACK)


def test_mp2_and_mpeg_in_wav_are_read_to_their_ends(file):
    assert samples(file(mp2(20))) == 20 * 1152
    assert samples(file(riff(0x50, mp2(20)))) == 20 * 1152
    vbr = mp3(information=False)
    assert samples(file(riff(0x55, vbr))) == samples(file(vbr)) > 0.9 * len(STARTS_SILENT)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chained_ogg_is_read_to_the_end_of_its_last_link(file, subtype):
    link = encoded(NOISE, format="OGG", subtype=subtype)
    path = file(link * 3)
    assert samples(path) == 3 * RATE
    blocks = np.concatenate(list(read_blocks(path)))
    np.testing.assert_allclose(blocks[2 * RATE :], read_clip(io.BytesIO(link), 1.0), atol=1e-6)


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("unknown", [lambda right: 0, lambda right: -1])
def test_an_open_size_of_a_streaming_writer_means_the_rest_of_the_file(file, format, unknown):
    assert samples(file(resized(format, unknown))) == RATE


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "CAF", "AU"])
def test_a_header_that_states_less_than_the_file_has_is_an_error(file, format):
    path = file(resized(format, lambda right: right // 2))  # states the number of samples as the number of bytes
    with pytest.raises(RecipeError, match=r"a is ambiguous: .*states (16|15)\d\d\d bytes .* 16\d\d\d more"):
        samples(path)


def test_a_sphere_file_has_the_stated_number_of_samples(file):
    header = b"NIST_1A\n   1024\nsample_count -i %d\nsample_rate -i 16000\nchannel_count -i 1\nsample_n_bytes -i 2\n"
    header += b"sample_byte_format -s2 01\nsample_sig_bits -i 16\nsample_coding -s3 pcm\nend_head\n"
    sound = (NOISE * 32767).astype("<i2").tobytes()
    assert samples(file((header % RATE).ljust(1024) + sound)) == RATE
    for stated, reason in (
        (2 * RATE, r"cut off: .* 2\.00 s, .* 1\.00 s"),
        (RATE // 2, "states 16000 bytes .* 16000 more"),
    ):
        with pytest.raises(RecipeError, match=reason):
            samples(file((header % stated).ljust(1024) + sound))


@pytest.mark.parametrize("format", ["WAV", "AIFF", "AU", "FLAC", "OGG"])
def test_a_tag_in_front_does_not_shorten_the_recording(file, format):
    sound = encoded(NOISE, format=format)
    assert samples(file(ID3 + sound)) == samples(file(sound)) == RATE


@pytest.mark.parametrize("format", ["VOC", "MAT5", "AVR", "XI", "SDS"])
def test_a_format_without_a_checked_length_is_an_error(file, format):
    with pytest.raises(RecipeError, match="a cannot be read: Format not recognised"):
        samples(file(encoded(NOISE, format=format)))


def test_files_of_the_working_folder_have_no_effect(file, tmp_path, monkeypatch):
    sound = mp3()
    (tmp_path / ".AppleDouble").mkdir()  # for a file without a name, libsndfile reads resource forks here and in ._
    (tmp_path / "._").touch()
    monkeypatch.chdir(tmp_path)
    assert samples(file(sound)) == len(STARTS_SILENT)
    with pytest.raises(RecipeError, match="Format not recognised"):
        samples(file(b"some text" * 100))


def test_a_wav_above_4_gib_is_refused(tmp_path):
    content = encoded(NOISE, format="WAV", subtype="PCM_16")
    with (tmp_path / "a").open("wb") as sparse:
        sparse.write(content)  # states 2**32 + 32000 bytes modulo 2**32
        sparse.truncate((1 << 32) + len(content))
    with pytest.raises(RecipeError, match=r"ambiguous: .*states 32000 bytes .* 4294967296 more"):
        read_clip(tmp_path / "a", 1.0)


@pytest.mark.parametrize("stated", [0, 1, RATE // 2, RATE + 1])
def test_a_flac_with_a_wrong_number_of_samples_is_read_to_its_end(file, stated):
    content = bytearray(encoded(NOISE, format="FLAC"))
    content[21] &= 0xF0
    content[22:26] = stated.to_bytes(4, "big")
    assert samples(file(content)) == RATE


def test_other_bytes_after_the_sound_are_ignored(file):
    tag = b"TAG" + bytes(125)
    for format, subtype in (("WAV", "PCM_16"), ("W64", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")):
        assert samples(file(encoded(NOISE, format=format, subtype=subtype) + tag)) == RATE
    comment = b"LIST" + struct.pack("<I", 20_000) + bytes(20_000)
    odd = encoded(NOISE[:-1], format="WAV", subtype="PCM_24")  # libsndfile pads it to an even size
    assert samples(file(encoded(NOISE, format="WAV") + comment)) == RATE
    assert samples(file(encoded(NOISE, format="WAV") + comment[:-9])) == RATE
    assert samples(file(odd + comment)) == samples(file(odd[:-1] + comment)) == RATE - 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(NOISE, format="WAV") * 2, "several recordings"),
        (encoded(NOISE, format="FLAC") * 2, "cut off or damaged"),
        (mp3() + mp3(wave=NOISE, rate=32000), r"changes from 16000 Hz .* 32000 Hz"),
        (
            encoded(NOISE, format="OGG") + encoded(np.stack([NOISE, NOISE], axis=1), format="OGG"),
            r"changes from .* 1 channel to .* 2 channels",
        ),
        (mp3(information=False)[:2000] + bytes(200) + mp3(information=False), "damaged: .* not MPEG frames"),
        (mp3(information=False) + bytes(5000), "damaged: its last 5000 bytes"),
        (mp3(information=False) + LYRICS[:5000], "damaged: its last 5000 bytes"),
        (mp3(information=False)[:-9], "cut off: it ends within a frame"),
        (encoded(NOISE, format="OGG")[:-9], "cut off: it ends within a page"),
        (ID3, "cannot be read"),
        (mp3()[: mp3().index(mp3()[:2], 32)] + b"TAG" + bytes(125), "empty"),
    ],
)
def test_a_recording_that_cannot_be_read_to_its_end_is_an_error(file, content, reason):
    path = file(content)
    with pytest.raises(RecipeError, match=rf"the audio file \S*a (is |must contain one recording, got )?{reason}"):
        samples(path)


def test_an_ogg_with_a_decreasing_time_is_damaged(file):
    content = encoded(NOISE, format="OGG", subtype="VORBIS")
    last = content.rindex(b"OggS")  # the last page states the number of samples, where decoders cut the sound
    with pytest.raises(RecipeError, match="earlier time"):
        samples(file(content[: last + 6] + (100).to_bytes(8, "little") + content[last + 14 :]))


def test_an_ogg_with_a_missing_page_is_damaged(file):
    content = encoded(np.tile(NOISE, 4), format="OGG")
    pages = content.split(b"OggS")[1:]
    assert len(pages) > 5
    with pytest.raises(RecipeError, match="damaged: pages are missing"):
        samples(file(b"".join(b"OggS" + page for page in pages[:3] + pages[4:])))
