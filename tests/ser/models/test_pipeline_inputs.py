"""Inputs of the pipeline and the recognizer: scaled by their type, or refused."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from transformers import pipeline

from temporal_shift.ser.inference.recognizer import Recognizer

from ..small_model import SECONDS, small_model

SAMPLES = round(16000 * SECONDS)

# multiples of 1/128, exact in every type
NOISE = np.round(128 * np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLES)).astype(np.float32) / 128
STEREO = np.stack([NOISE, np.roll(NOISE, 100)])


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(small_model())


@pytest.fixture(scope="module")
def classify(recognizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    recognizer.model.save_pretrained(folder)
    classify = pipeline("audio-classification", model=str(folder), device="cpu")

    def scores(sound):
        by_label = {each["label"]: each["score"] for each in classify(sound)}
        return [by_label[label] for label in recognizer.labels]

    return scores


def same_in_other_types():
    for kind in (np.float16, np.float64):
        yield NOISE.astype(kind)
    yield np.round(NOISE * 128).astype(np.int8)
    yield np.round(NOISE * 128 + 128).astype(np.uint8)
    yield np.round(NOISE.astype(np.float64) * 2**15).astype(np.int16)
    yield np.round(NOISE.astype(np.float64) * 2**31).astype(np.int32)
    yield torch.from_numpy(NOISE).bfloat16()
    yield torch.from_numpy(np.round(NOISE * 2**15).astype(np.int16))
    yield NOISE[::-1][::-1]


def test_samples_are_scaled_by_their_type(recognizer, classify):
    expected = recognizer.probabilities(NOISE[None])[0]
    for sound in same_in_other_types():
        np.testing.assert_allclose(classify(sound), expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(recognizer.probabilities(sound[None])[0], expected, rtol=0, atol=1e-6)
        (window,) = recognizer.windows([sound[:3000], sound[3000:]])
        np.testing.assert_allclose(window.probabilities, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("key", ["array", "raw"])
@pytest.mark.parametrize("rate", [16000, 16000.0, np.int64(16000)])
def test_a_dictionary_has_an_array_and_its_rate(classify, key, rate):
    assert classify({key: STEREO, "sampling_rate": rate, "path": None}) == classify(STEREO.mean(axis=0))


def test_a_torchcodec_decoder_is_accepted(classify):
    samples = SimpleNamespace(data=torch.from_numpy(STEREO), sample_rate=16000)
    assert classify(SimpleNamespace(get_all_samples=lambda: samples)) == classify(STEREO.mean(axis=0))


@pytest.mark.parametrize(
    ("sound", "error", "reason"),
    [
        (STEREO.T, ValueError, rf"\(channels, samples\).*\({SAMPLES}, 2\)"),
        ({"array": STEREO.T, "sampling_rate": 44100}, ValueError, rf"\(channels, samples\).*\({SAMPLES}, 2\)"),
        (NOISE[None, None], ValueError, r"\(channels, samples\).*\(1, 1, "),
        (NOISE[:0], ValueError, r"\(samples,\).*\(0,\)"),
        (np.append(NOISE, np.nan), ValueError, "not finite"),
        (np.append(NOISE, -np.inf), ValueError, "not finite"),
        (NOISE * 2**15, ValueError, r"\[-32, 32\], got a peak of 16\d\d\d.*32768"),
        ((NOISE * 2**15).astype(np.int64), TypeError, "8, 16 or 32 bits, got int64"),
        (NOISE.astype(complex), TypeError, "got complex128"),
        (NOISE > 0, TypeError, "got bool"),
        ([0.25, 0.5], TypeError, "array or a tensor .* got float"),
        (None, TypeError, "array or a tensor .* got NoneType"),
        ({"array": NOISE}, ValueError, r"sampling_rate, got \['array'\]"),
        ({"sampling_rate": 16000, "array": None}, ValueError, "keys array .* got"),
        ({"sampling_rate": 16000, "array": [0.25, 0.5]}, TypeError, "array or a tensor .* got list"),
        *(
            ({"array": NOISE, "sampling_rate": rate}, ValueError, r"sampling_rate must be .*\[4000, 768000\].* got")
            for rate in (0, -16000, 16000.5, "16000", None, True, float("nan"), 2**31 - 1, 1)
        ),
    ],
)
def test_invalid_and_ambiguous_inputs_are_refused(classify, sound, error, reason):
    with pytest.raises(error, match=reason):
        classify(sound)


def test_the_recognizer_accepts_only_mono_samples(recognizer):
    for blocks, reason in (
        ([STEREO], r"\(samples,\), got \(2, "),
        ([np.append(NOISE, np.nan)], "not finite"),
        ([NOISE * 2**15], r"\[-32, 32\]"),
    ):
        with pytest.raises(ValueError, match=rf"block.* .*{reason}"):
            list(recognizer.windows(blocks))
        with pytest.raises(ValueError, match=rf"block.* .*{reason}"):
            list(recognizer.latest(blocks))
    with pytest.raises(TypeError, match=r"blocks must be an array or a tensor .* got float32"):
        list(recognizer.windows(NOISE))


def test_channels_that_cancel_are_a_warning_that_names_the_sound(classify, tmp_path):
    opposite = np.stack([NOISE, -NOISE])
    soundfile.write(tmp_path / "opposite.wav", opposite.T, 16000)
    file = io.BytesIO()
    soundfile.write(file, opposite.T, 16000, format="WAV")
    for sound, name in (
        (str(tmp_path / "opposite.wav"), "opposite.wav"),
        (file.getvalue(), "recording"),
        (opposite, "recording"),
    ):
        with pytest.warns(UserWarning, match=rf"channels of .*{name} cancel each other .* 2 channels"):
            classify(sound)
