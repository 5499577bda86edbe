import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from temporal_shift.ser import config
from temporal_shift.ser.audio.reading import read_clip
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.encoders import feature_cache, pretrained
from temporal_shift.ser.encoders.feature_cache import (
    FeatureCache,
    batch_size,
    cached_features,
    feature_inputs,
    key_of,
)
from temporal_shift.ser.encoders.pretrained import load_backbone
from temporal_shift.ser.utils.distributed import World
from temporal_shift.ser.utils.errors import RecipeError

from .small_cache import COUNT, FEATURES, contents, flip_a_byte, manifest_in, utterance


def test_the_cache_contains_the_output_of_the_encoder(manifest, backbone, root):
    cache = cached_features(manifest, backbone, FEATURES, root)
    assert len(cache) == COUNT
    assert cache.shape == (12, 16)
    clips = np.stack([read_clip(utterance.path, 0.25) for utterance in manifest.utterances[128:144]])
    np.testing.assert_array_equal(cache[130], load_backbone(backbone, 0.25).encode(clips)[2].numpy())


def test_all_layers_are_cached_for_a_weighted_sum(manifest, backbone, tmp_path):
    weighted, zeroth, last = (
        cached_features(few(manifest), backbone.model_copy(update={"layer": layer}), FEATURES, tmp_path)
        for layer in ("weighted", 0, "last")
    )
    assert weighted.shape == (4, 12, 16)  # layers, frames, channels; layer 0 is the input of the encoder's blocks
    assert weighted[2].shape == weighted.shape
    np.testing.assert_array_equal(weighted[2][0], zeroth[2])
    np.testing.assert_array_equal(weighted[2][3], last[2])
    averaged = FEATURES.model_copy(update={"average": 5, "dtype": "float16"})
    assert cached_features(
        few(manifest), backbone.model_copy(update={"layer": "weighted"}), averaged, tmp_path
    ).shape == (4, 3, 16)


def test_each_utterance_is_encoded_exactly_once(manifest, backbone, tmp_path, passes):
    cached_features(manifest, backbone, FEATURES, tmp_path)
    assert passes == [16] * 8 + [16, 6]
    cached_features(manifest, backbone, FEATURES, tmp_path)
    assert len(passes) == 10


def test_a_full_cache_does_not_load_the_encoder(manifest, backbone, root, monkeypatch):
    monkeypatch.delattr(pretrained, "PretrainedEncoder")
    assert len(cached_features(manifest, backbone, FEATURES, root)) == COUNT


def test_a_pickled_cache_contains_no_frames(manifest, backbone, root):
    cache = cached_features(manifest, backbone, FEATURES, root)
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert (again.key, again.shape, len(again)) == (cache.key, cache.shape, len(cache))
    np.testing.assert_array_equal(again[130], cache[130])


def test_writing_to_frames_does_not_change_the_cache(manifest, backbone, root):
    cache = cached_features(manifest, backbone, FEATURES, root)
    before = cache[0].copy()
    cache[0][:] = 7
    np.testing.assert_array_equal(cache[0], before)


@pytest.mark.parametrize("index", [COUNT, -1])
def test_an_index_out_of_range_is_an_error(manifest, backbone, root, index):
    with pytest.raises(IndexError, match=rf"index .*\[0, 149\].* {index}$"):
        cached_features(manifest, backbone, FEATURES, root)[index]


def test_frames_are_stored_in_half_precision_and_read_in_single(manifest, backbone, root):
    half = cached_features(manifest, backbone, FEATURES.model_copy(update={"dtype": "float16"}), root)
    full = cached_features(manifest, backbone, FEATURES, root)
    assert half[3].dtype == np.float32
    np.testing.assert_array_equal(half[3], full[3].astype(np.float16).astype(np.float32))
    sizes = [(cache.folder / "frames-00000.npy").stat().st_size - 128 for cache in (half, full)]
    assert sizes == [64 * 12 * 16 * 2, 64 * 12 * 16 * 4]


def test_neighbouring_frames_are_averaged_and_the_last_group_can_be_shorter(manifest, backbone, root):
    plain = cached_features(manifest, backbone, FEATURES, root)
    fives = cached_features(manifest, backbone, FEATURES.model_copy(update={"average": 5}), root)
    assert fives.shape == (3, 16)
    expected = [plain[7][0:5].mean(0), plain[7][5:10].mean(0), plain[7][10:12].mean(0)]
    np.testing.assert_allclose(fives[7], expected, rtol=1e-5, atol=1e-6)


class Stopped(BaseException):
    """Simulates a stopped process."""


def test_a_stopped_run_encodes_the_missing_files_and_gives_the_same_bytes(manifest, backbone, whole, tmp_path, passes):
    def stop_in_the_second_shard(done: int, total: int) -> None:
        if done >= 96:
            raise Stopped

    with pytest.raises(Stopped):
        cached_features(manifest, backbone, FEATURES, tmp_path / "stopped", stop_in_the_second_shard)
    assert passes == [16] * 6
    passes.clear()
    resumed = cached_features(manifest, backbone, FEATURES, tmp_path / "stopped")
    assert passes == [16] * 4 + [16, 6]
    assert contents(resumed.folder) == contents(whole / resumed.key[:16])


def test_each_file_has_a_checksum_file_in_the_format_of_sha256sum(whole):
    (folder,) = whole.iterdir()
    names = [f"frames-{number:05d}" for number in range(3)]
    files = {"key.json", *(f"{name}.npy" for name in names), *(f"{name}.sha256" for name in names)}
    assert {path.name for path in folder.iterdir()} == files
    for name in names:
        digest = hashlib.sha256((folder / f"{name}.npy").read_bytes()).hexdigest()
        assert (folder / f"{name}.sha256").read_text() == f"{digest}  {name}.npy\n"


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_checks_a_cache(root):
    (folder,) = root.iterdir()
    check = ["sh", "-c", "sha256sum --check --quiet *.sha256"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    flip_a_byte(folder / "frames-00001.npy")
    found = subprocess.run(check, cwd=folder, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stdout == "frames-00001.npy: FAILED\n"


def test_a_batch_is_a_power_of_two_with_at_most_forty_seconds_or_one_clip():
    for seconds in (0.05, 0.25, 2.5, 4.9, 7.5, 13.4, 30.0, 100.0):
        size = batch_size(seconds)
        assert size in (1, 2, 4, 8, 16)  # divisors of the 64 utterances of a file
        assert size * seconds <= 40 or size == 1
        assert size == 16 or 2 * size * seconds > 40  # the largest batch within the limit


def test_memory_holds_the_clips_of_one_forward_pass(manifest, backbone, tmp_path, monkeypatch):
    waiting, most = 0, 0
    read, encode = feature_cache.read_clip, pretrained.PretrainedEncoder.encode

    def reading(path, seconds, channel):
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        return read(path, seconds, channel=channel)

    def encoding(self, clips):
        nonlocal waiting
        assert len(clips) == waiting
        waiting = 0
        return encode(self, clips)

    monkeypatch.setattr(feature_cache, "read_clip", reading)
    monkeypatch.setattr(pretrained.PretrainedEncoder, "encode", encoding)
    cached_features(manifest, backbone, FEATURES, tmp_path)
    assert most == 16


@pytest.fixture
def together(monkeypatch):
    """A function that encodes with two threads, which simulate two processes of one experiment.

    It returns the caches by rank, and ``("rank <rank>", <shard>)`` for each written shard, sorted.
    """
    barrier, loading = threading.Barrier(2, timeout=60), threading.Lock()
    monkeypatch.setattr(World, "wait", lambda world: barrier.wait())
    load, write = pretrained.load_backbone, feature_cache.atomic_write
    encoded: list[tuple[str, str]] = []

    def load_one_by_one(*arguments):  # transformers holds global state while it loads
        with loading:
            return load(*arguments)

    def record(path):
        if path.suffix == ".npy":
            encoded.append((threading.current_thread().name, path.stem))
        return write(path)

    monkeypatch.setattr(pretrained, "load_backbone", load_one_by_one)
    monkeypatch.setattr(feature_cache, "atomic_write", record)

    def run(manifest, backbone, root):
        caches: dict[int, FeatureCache] = {}

        def work(rank):
            try:
                caches[rank] = cached_features(manifest, backbone, FEATURES, root, world=World(rank, 2))
            except BaseException:
                barrier.abort()  # otherwise the other thread would wait for this one
                raise

        threads = [threading.Thread(target=work, args=(rank,), name=f"rank {rank}") for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return caches, sorted(encoded)

    return run


def test_two_processes_encode_disjoint_shards(manifest, backbone, whole, tmp_path, together):
    caches, encoded = together(manifest, backbone, tmp_path)
    assert encoded == [("rank 0", "frames-00000"), ("rank 0", "frames-00002"), ("rank 1", "frames-00001")]
    assert contents(caches[0].folder) == contents(whole / caches[0].key[:16])
    assert len(caches[1]) == COUNT
    np.testing.assert_array_equal(caches[0][70], caches[1][70])


def test_two_processes_divide_the_missing_shards(manifest, backbone, whole, root, together):
    (folder,) = root.iterdir()
    (folder / "frames-00000.npy").unlink()
    flip_a_byte(folder / "frames-00002.npy")
    caches, encoded = together(manifest, backbone, root)
    assert encoded == [("rank 0", "frames-00000"), ("rank 1", "frames-00002")]
    assert contents(caches[1].folder) == contents(whole / caches[0].key[:16])


def test_two_processes_do_not_encode_existing_shards(manifest, backbone, root, together):
    caches, encoded = together(manifest, backbone, root)
    assert (len(caches), encoded) == (2, [])


def test_temporary_files_are_deleted_after_an_hour(manifest, backbone, whole, root):
    (folder,) = root.iterdir()
    (folder / "frames-00002.npy").unlink()
    old, young = folder / ".frames-00002.npy.0123.tmp", folder / ".frames-00002.npy.4567.tmp"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - 4000,) * 2)
    cached_features(manifest, backbone, FEATURES, root)
    assert contents(folder) == {**contents(whole / folder.name), young.name: b"half"}


def test_progress_counts_utterances_from_the_cached_ones_to_all(manifest, backbone, root):
    seen: list[tuple[int, int]] = []
    cache = cached_features(manifest, backbone, FEATURES, root)
    (cache.folder / "frames-00001.npy").unlink()
    cached_features(manifest, backbone, FEATURES, root, lambda done, total: seen.append((done, total)))
    assert seen == [(86, 150), (102, 150), (118, 150), (134, 150), (150, 150)]


def test_a_moved_corpus_and_a_moved_encoder_find_their_cache(manifest, backbone, root, tmp_path, passes):
    first = cached_features(manifest, backbone, FEATURES, root)
    audio = shutil.copytree(manifest.utterances[0].path.parent, tmp_path / "audio")
    encoder = config.Backbone(name=str(shutil.copytree(backbone.name, tmp_path / "encoder")))
    second = cached_features(manifest_in(audio), encoder, FEATURES, root)
    assert (second.key, second.folder, passes) == (first.key, first.folder, [])


def few(manifest: Manifest, *changes: Utterance) -> Manifest:
    return replace(manifest, utterances=(*changes, *manifest.utterances[len(changes) : 4]))


@pytest.mark.parametrize(
    "change",
    [
        {"features": {"clip_seconds": 0.2}},
        {"features": {"average": 2}},
        {"features": {"dtype": "float16"}},
        {"backbone": {"layer": 1}},
        {"backbone": {"normalize": True}},
    ],
    ids=str,
)
def test_each_setting_changes_the_key(manifest, backbone, tmp_path, change):
    before = cached_features(few(manifest), backbone, FEATURES, tmp_path)
    after = cached_features(
        few(manifest),
        backbone.model_copy(update=change.get("backbone", {})),
        FEATURES.model_copy(update=change.get("features", {})),
        tmp_path,
    )
    assert after.key != before.key
    assert after.folder != before.folder


def test_ids_order_and_audio_are_part_of_the_key_and_labels_are_not(manifest, backbone, tmp_path):
    first, second = manifest.utterances[:2]
    renamed, other_audio = replace(first, id="new"), utterance("u0", manifest.utterances[9].path)
    manifests = [few(manifest), few(manifest, renamed), few(manifest, other_audio), few(manifest, second, first)]
    keys = {cached_features(each, backbone, FEATURES, tmp_path).key for each in manifests}
    assert len(keys) == 4
    relabelled = replace(first, label="happy")
    assert cached_features(few(manifest, relabelled), backbone, FEATURES, tmp_path).key in keys


def test_key_json_contains_everything_that_determines_the_features(manifest, backbone, tmp_path):
    cache = cached_features(few(manifest), backbone, FEATURES, tmp_path)
    inputs = json.loads((cache.folder / "key.json").read_text())
    assert inputs == feature_inputs(few(manifest), backbone, FEATURES)
    assert cache.folder == tmp_path / cache.key[:16]
    assert key_of(inputs) == cache.key
    assert inputs["features"] == {"clip_seconds": 0.25, "average": 1, "dtype": "float32"}
    assert inputs["backbone"]["model_type"] == "hubert"
    assert inputs["utterances"] == [[each.id, each.sha256] for each in manifest.utterances[:4]]


def test_features_that_are_not_finite_are_an_error_that_names_the_utterance(manifest, backbone, tmp_path, monkeypatch):
    huge = torch.zeros(4, 12, 16)
    huge[2, 3, 4] = 70_000.0  # beyond the range of float16
    monkeypatch.setattr(pretrained.PretrainedEncoder, "encode", lambda self, clips: huge)
    half = FEATURES.model_copy(update={"dtype": "float16"})
    with pytest.raises(RecipeError, match=r"^the features of u2 \(.*2\.wav\) must be finite in float16, got NaN"):
        cached_features(few(manifest), backbone, half, tmp_path)


def test_missing_audio_is_an_error_that_names_the_file(manifest, backbone, tmp_path):
    gone = few(manifest, replace(manifest.utterances[0], path=tmp_path / "gone.wav"))
    with pytest.raises(RecipeError, match=r"^there is no audio file .*gone\.wav$"):
        cached_features(gone, backbone, FEATURES, tmp_path)


def test_audio_that_cannot_be_read_is_an_error_that_names_the_file(manifest, backbone, tmp_path):
    (tmp_path / "folder.wav").mkdir()
    locked = few(manifest, replace(manifest.utterances[0], path=tmp_path / "folder.wav"))
    with pytest.raises(RecipeError, match=r"^the audio file .*folder\.wav cannot be read: Is a directory$"):
        cached_features(locked, backbone, FEATURES, tmp_path)


def test_audio_that_changed_since_the_manifest_was_made_is_an_error_that_names_both_sums(manifest, backbone, tmp_path):
    first, other = manifest.utterances[0], manifest.utterances[9]
    with pytest.raises(RecipeError) as error:
        cached_features(few(manifest, replace(first, path=other.path)), backbone, FEATURES, tmp_path)
    assert str(error.value) == (
        f"the audio file {other.path} does not match the manifest: its SHA-256 begins with "
        f"{other.sha256[:12]}, not {first.sha256[:12]}"
    )
    assert list(tmp_path.iterdir()) == []


def test_audio_that_changes_while_it_is_encoded_is_an_error_and_is_never_cached(manifest, backbone, tmp_path):
    copies = []
    for each in manifest.utterances[:70]:
        copies.append(replace(each, path=tmp_path / each.path.name))
        copies[-1].path.write_bytes(each.path.read_bytes())
    last = copies[-1].path

    def edit(done: int, total: int) -> None:
        last.write_bytes(manifest.utterances[80].path.read_bytes())

    root = tmp_path / "cache"
    with pytest.raises(RecipeError, match=rf"^the audio file {last} does not match the manifest"):
        cached_features(Manifest(tuple(copies), manifest.labels), backbone, FEATURES, root, edit)
    assert [path.name for path in root.rglob("*.npy")] == ["frames-00000.npy"]  # not the shard with the edited file
    last.write_bytes(manifest.utterances[69].path.read_bytes())
    assert len(cached_features(Manifest(tuple(copies), manifest.labels), backbone, FEATURES, root)) == 70


def test_reading_features_needs_no_transformers_to_be_imported():
    modules = "temporal_shift.ser.encoders.feature_cache, temporal_shift.ser.corpora"
    code = f"import sys, {modules}; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
