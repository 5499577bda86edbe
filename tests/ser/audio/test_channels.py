"""Recordings with several channels: mixing, selection and warnings."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from transformers import HubertConfig, HubertModel

from temporal_shift.ser import config
from temporal_shift.ser.audio.reading import measure, read_blocks, read_clip
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.caveats import corpus_caveats
from temporal_shift.ser.corpora.description import describe, findings, overview
from temporal_shift.ser.corpora.manifest import read_manifest, write_manifest
from temporal_shift.ser.encoders.feature_cache import cached_features
from temporal_shift.ser.training.datasets import Clips
from temporal_shift.ser.utils.errors import RecipeError

from ..small_run import small_run
from ..tiny import TINY

NOISE = np.random.default_rng(0).uniform(-0.4, 0.4, 8000).astype(np.float32)
SOUNDS = {
    "same": (NOISE, NOISE),
    "delayed": (NOISE, np.roll(NOISE, 20)),  # as in EMOVO; the mean of the channels is comb-filtered
    "opposite": (NOISE, -0.98 * NOISE),
    "half": (NOISE, np.zeros_like(NOISE)),
    "offset": (NOISE + 0.5, np.roll(NOISE, 20) + 0.5),
}
FEATURES = config.Features(clip_seconds=0.5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A table of stereo recordings, one for each entry of ``SOUNDS``."""
    folder = tmp_path_factory.mktemp("stereo")
    for name, channels in SOUNDS.items():
        soundfile.write(folder / f"{name}.wav", np.stack(channels, axis=1), 16000, subtype="FLOAT")
    rows = [f"{name}.wav,{'happy' if number % 2 else 'sad'},s{number}" for number, name in enumerate(SOUNDS)]
    (folder / "table.csv").write_text("\n".join(["path,label,speaker", *rows]))
    return folder / "table.csv"


def table(corpus, **options):
    return config.Corpus(reader="table", path=corpus, **options)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_selected_channel_equals_that_channel_at_any_rate(corpus, channel):
    path = corpus.parent / "delayed.wav"
    np.testing.assert_array_equal(read_clip(path, 0.5, channel=channel), SOUNDS["delayed"][channel])
    blocks = np.concatenate(list(read_blocks(path, 0.1, 8000, channel=channel)))
    np.testing.assert_allclose(blocks[:3000], read_clip(path, 0.5, 8000, channel=channel)[:3000], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "correlation", "cancels"),
    [("same", 1, False), ("delayed", 0, False), ("opposite", -1, True), ("half", None, False), ("offset", 0, False)],
)
def test_channels_are_compared_while_a_recording_is_measured(corpus, name, correlation, cancels):
    found = measure(corpus.parent / f"{name}.wav")
    assert (found.channels, found.cancels) == (2, cancels)
    assert found.correlation == (None if correlation is None else pytest.approx(correlation, abs=0.05))


@pytest.mark.parametrize(
    ("value", "expected"), [("mean", "mean"), (0, 0), ("1", 1), (-1, None), ("left", None), (True, None), (0.5, None)]
)
def test_the_channel_of_a_corpus_is_the_mean_or_a_number(tmp_path, value, expected):
    if expected is None:
        with pytest.raises(RecipeError, match=rf"channel must be mean or an integer, counted from 0, got {value!r}"):
            config.Corpus.checked(reader="table", path=tmp_path, channel=value)
    else:
        assert config.Corpus.checked(reader="table", path=tmp_path, channel=value).channel == expected


def test_a_channel_that_a_recording_lacks_is_an_error(corpus, tmp_path):
    with pytest.raises(RecipeError, match=r"channel must be mean or in \[0, 1\] for .*same\.wav, got 3"):
        read_corpus(table(corpus, channel=3))
    with pytest.raises(RecipeError, match=r"channel must be mean or in \[0, 1\], got 3"):
        read_clip(corpus.parent / "same.wav", 0.5, channel=3)


def test_a_manifest_stores_channel_properties_and_old_manifests_are_read(corpus, tmp_path):
    manifest = read_corpus(table(corpus))
    write_manifest(manifest, tmp_path / "new.jsonl")
    assert read_manifest(tmp_path / "new.jsonl", manifest.labels) == manifest
    lines = (tmp_path / "new.jsonl").read_text().splitlines()
    (tmp_path / "old.jsonl").write_text("\n".join(line.partition(', "channels"')[0] + "}" for line in lines))
    old = read_manifest(tmp_path / "old.jsonl", manifest.labels)
    assert {each.channels for each in old.utterances} == {None}
    assert [each.id for each in old.utterances] == [each.id for each in manifest.utterances]


def test_describe_counts_channels_and_names_recordings_that_the_mean_distorts(corpus):
    manifest = read_corpus(table(corpus))
    found = describe(manifest)
    assert ("with 2 channels", "5") in overview(found).rows
    cancelled, apart = findings(found)[-2:]
    assert "opposite.wav" in cancelled
    assert "2 recordings" in apart
    assert "delayed.wav" in apart or "offset.wav" in apart
    assert corpus_caveats(manifest)[-2:] == [cancelled, apart]
    assert "comb" not in " ".join(corpus_caveats(read_corpus(table(corpus, channel=0))))


def test_features_of_different_channels_never_mix(corpus, tmp_path):
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(tmp_path / "encoder")
    backbone = config.Backbone(name=str(tmp_path / "encoder"))
    caches = {}
    for channel in ("mean", 0, 1):
        manifest = read_corpus(table(corpus, channel=channel))
        caches[channel] = cached_features(manifest, backbone, FEATURES, tmp_path / "cache")
    assert len({cache.key for cache in caches.values()}) == 3
    index = [each.path.stem for each in manifest.utterances].index("delayed")
    frames = [cache[index] for cache in caches.values()]
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(frames, 2))


def test_fine_tuning_reads_the_channel_of_the_corpus(corpus, tmp_path):
    manifest = read_corpus(table(corpus, channel=1))
    run = small_run(tmp_path)
    clips = Clips(replace(run, manifest=manifest, experiment=run.experiment.model_copy(update={"features": FEATURES})))
    index = [each.path.stem for each in manifest.utterances].index("delayed")
    np.testing.assert_array_equal(clips(index)["input_values"].numpy(), SOUNDS["delayed"][1])
