"""A whole model that runs chunk by chunk, with local and other encoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_shift.ser.inference.speech_stream import Locality, SpeechStream, locality_of

from ..small_model import local_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=[1, 3, 8])
def model(request):
    return local_model(average=request.param)


@pytest.fixture(scope="module")
def stream(model) -> SpeechStream:
    return SpeechStream.of(model)


@given(
    chunks=st.lists(
        st.one_of(st.integers(0, 700), st.sampled_from([0, 1, 319, 320, 321, 5000])), min_size=1, max_size=12
    ),
    more=st.integers(325, 4000),
)
@settings(max_examples=25)
def test_the_stream_ends_with_the_output_of_the_whole_recording(model, stream, chunks, more):
    wave = noise(sum(chunks) + more)
    for chunk in np.split(wave, np.cumsum(chunks)):
        stream(chunk)
    np.testing.assert_allclose(stream.flush(), offline(model, wave), atol=1e-5, rtol=0)


def test_the_output_depends_on_the_recording(model):
    quiet, loud = (offline(model, volume * noise(16000)) for volume in (0.01, 1.0))
    assert np.abs(quiet - loud).max() > 0.01  # otherwise the equality in other tests proves nothing


def test_feeding_single_samples_gives_the_output_of_the_whole_recording(model, stream):
    wave = noise(2000)
    for sample in wave:
        stream(sample[None])
    np.testing.assert_allclose(stream.flush(), offline(model, wave), atol=1e-5, rtol=0)


def test_flush_starts_a_new_recording(model, stream):
    for samples in (3000, 325):
        stream(noise(samples))
        np.testing.assert_allclose(stream.flush(), offline(model, noise(samples)), atol=1e-5, rtol=0)


def test_a_recording_too_short_for_a_frame_has_no_output(stream):
    assert stream.flush() is None
    assert stream(noise(324)) is None
    assert stream.flush() is None


def test_the_stream_keeps_no_more_samples_than_it_needs():
    model, encoded = local_model(), []
    stream = SpeechStream.of(model)
    model.backbone.register_forward_pre_hook(lambda module, waves: encoded.append(waves[0].shape[1]))
    for _ in range(50):
        stream(noise(4000))
    assert max(encoded) <= 320 * (4 + 5 + 1) + 4000


def test_with_a_window_only_the_last_frames_count():
    model = local_model()
    stream = SpeechStream.of(model, window=0.5)
    for samples in np.split(noise(32000), 100):
        stream(samples)
    shift = model.classifier
    with torch.inference_mode():
        encoded = shift.encoder(model.backbone(torch.from_numpy(noise(32000))[None]))
        last = shift.head(encoded[:, -25:].mean(dim=1))[0].numpy()
    np.testing.assert_allclose(stream.flush(), last, atol=1e-5, rtol=0)


def test_the_context_is_measured():
    # the positional convolution reads 4 frames before and 3 after; a frame spans 325 samples, so 2 hops: 3 + 2
    assert locality_of(local_model().backbone) == Locality(hop=320, past=4, future=5, min_samples=325)
    assert locality_of(local_model(average=3).backbone) == Locality(hop=960, past=2, future=3, min_samples=325)


@pytest.mark.parametrize("kind", [{"layer": 1}, {"layer": "last"}, {"layer": "weighted"}, {"norm": "group"}])
def test_an_encoder_that_sees_the_whole_clip_is_not_local(kind):
    assert locality_of(local_model(**kind).backbone) is None


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ({"layer": "last"}, r"its encoder \(wav2vec2, layer last\) has no known context of at most 3 s"),
        ({"normalize": True}, "normalize=True normalises each clip"),
        ({"shifted": False}, r"placement must be 'replace'.*'inplace'"),
        ({"blocks": "lstm"}, "cannot stream"),
    ],
)
def test_a_model_that_cannot_stream_is_an_error_with_the_reason(kind, sentence):
    with pytest.raises(ValueError, match=sentence):
        SpeechStream.of(local_model(**kind))


def noise(samples: int) -> np.ndarray:
    return (np.random.default_rng(samples).normal(size=samples) / 4).astype(np.float32)


def offline(model, wave: np.ndarray) -> np.ndarray:
    """The logits of encoder and classifier for the whole recording."""
    with torch.inference_mode():
        return model.classifier(model.backbone(torch.from_numpy(wave)[None])).logits[0].numpy()
