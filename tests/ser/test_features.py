import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import HubertConfig, HubertModel

from temporal_shift.ser import backbones, config
from temporal_shift.ser.audio import read_clip
from temporal_shift.ser.backbones import load_backbone
from temporal_shift.ser.errors import RecipeError
from temporal_shift.ser.features import cached_features
from temporal_shift.ser.manifest import Manifest, Utterance

from .tiny import TINY

COUNT = 150  # two whole shards of 64 and one of 22
LABELS = ("sad", "happy")
FEATURES = config.Features(clip_seconds=0.25)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory) -> config.Backbone:
    folder = tmp_path_factory.mktemp("hubert")
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(folder)
    return config.Backbone(name=str(folder))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        soundfile.write(folder / f"{number}.wav", generator.uniform(-0.5, 0.5, 3000 + 10 * number), 16000)
    return manifest_in(folder)


def manifest_in(folder: Path) -> Manifest:
    return Manifest(
        tuple(Utterance(f"u{k}", folder / f"{k}.wav", "sad", "1F", "Session1", 0.2) for k in range(COUNT)), LABELS
    )


@pytest.fixture(scope="module")
def whole(manifest, backbone, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    cached_features(manifest, backbone, FEATURES, root)
    return root


@pytest.fixture
def root(whole, tmp_path) -> Path:
    """A folder with the whole cache in it, to use or to harm."""
    return shutil.copytree(whole, tmp_path / "root")


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """The batch sizes of the backbone's forward passes, as they happen."""
    sizes: list[int] = []
    call = backbones.Backbone.__call__

    def counted(self, clips):
        sizes.append(len(clips))
        return call(self, clips)

    monkeypatch.setattr(backbones.Backbone, "__call__", counted)
    return sizes


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_cache_holds_what_the_backbone_gives(manifest, backbone, root):
    cache = cached_features(manifest, backbone, FEATURES, root)
    assert len(cache) == COUNT
    assert cache.shape == (12, 16)
    clips = np.stack([read_clip(utterance.path, 0.25) for utterance in manifest.utterances[128:144]])
    np.testing.assert_array_equal(cache[130], load_backbone(backbone, 0.25)(clips)[2].numpy())


def test_each_utterance_is_encoded_exactly_once(manifest, backbone, tmp_path, passes):
    cached_features(manifest, backbone, FEATURES, tmp_path)
    assert passes == [16] * 8 + [16, 6]
    cached_features(manifest, backbone, FEATURES, tmp_path)
    assert len(passes) == 10


def test_a_full_cache_does_not_load_the_backbone(manifest, backbone, root, monkeypatch):
    monkeypatch.delattr(backbones, "Backbone")
    assert len(cached_features(manifest, backbone, FEATURES, root)) == COUNT


def test_a_cache_sent_to_another_process_is_mapped_there_not_copied(manifest, backbone, root):
    cache = cached_features(manifest, backbone, FEATURES, root)
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert (again.key, again.shape, len(again)) == (cache.key, cache.shape, len(cache))
    np.testing.assert_array_equal(again[130], cache[130])


def test_writing_to_what_was_read_leaves_the_cache_alone(manifest, backbone, root):
    cache = cached_features(manifest, backbone, FEATURES, root)
    before = cache[0].copy()
    cache[0][:] = 7
    np.testing.assert_array_equal(cache[0], before)


@pytest.mark.parametrize("index", [COUNT, -1])
def test_an_index_out_of_range_is_an_error(manifest, backbone, root, index):
    with pytest.raises(IndexError, match=rf"^the cache holds utterances 0 to 149, not {index}$"):
        cached_features(manifest, backbone, FEATURES, root)[index]


def test_half_precision_is_kept_on_disk_and_read_as_single(manifest, backbone, root):
    half = cached_features(manifest, backbone, FEATURES.model_copy(update={"dtype": "float16"}), root)
    full = cached_features(manifest, backbone, FEATURES, root)
    assert half[3].dtype == np.float32
    np.testing.assert_array_equal(half[3], full[3].astype(np.float16).astype(np.float32))
    sizes = [(cache.folder / "frames-00000.npy").stat().st_size - 128 for cache in (half, full)]
    assert sizes == [64 * 12 * 16 * 2, 64 * 12 * 16 * 4]


def test_averaging_takes_neighbours_and_the_tail_averages_what_there_is(manifest, backbone, root):
    plain = cached_features(manifest, backbone, FEATURES, root)
    fives = cached_features(manifest, backbone, FEATURES.model_copy(update={"average": 5}), root)
    assert fives.shape == (3, 16)
    expected = [plain[7][0:5].mean(0), plain[7][5:10].mean(0), plain[7][10:12].mean(0)]
    np.testing.assert_allclose(fives[7], expected, rtol=1e-5, atol=1e-6)


class Stopped(BaseException):
    """As if the process had been stopped."""


def test_a_stopped_run_resumes_with_what_is_missing_and_ends_with_the_same_bytes(
    manifest, backbone, whole, tmp_path, passes
):
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


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lose_a_row(path: Path) -> None:
    np.save(path, np.load(path)[1:])


def lose_a_frame(path: Path) -> None:
    np.save(path, np.load(path)[:, 1:])


def change_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))


@pytest.mark.parametrize("harm", [Path.unlink, truncate, empty, lose_a_row, lose_a_frame, change_type])
@pytest.mark.parametrize(("number", "lost"), [(0, [16] * 4), (2, [16, 6])])
def test_a_harmed_shard_is_noticed_and_encoded_again(manifest, backbone, whole, root, passes, harm, number, lost):
    cache = cached_features(manifest, backbone, FEATURES, root)
    harm(cache.folder / f"frames-{number:05d}.npy")
    again = cached_features(manifest, backbone, FEATURES, root)
    assert passes == lost
    assert contents(again.folder) == contents(whole / cache.key[:16])


def test_progress_counts_utterances_from_what_is_there_to_all(manifest, backbone, root):
    seen: list[tuple[int, int]] = []
    cache = cached_features(manifest, backbone, FEATURES, root)
    (cache.folder / "frames-00001.npy").unlink()
    cached_features(manifest, backbone, FEATURES, root, lambda done, total: seen.append((done, total)))
    assert seen == [(86, 150), (102, 150), (118, 150), (134, 150), (150, 150)]


def test_a_moved_corpus_and_a_moved_backbone_find_their_cache(manifest, backbone, root, tmp_path, passes):
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
def test_each_setting_has_a_key_of_its_own(manifest, backbone, tmp_path, change):
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
    renamed, other_audio = replace(first, id="new"), replace(first, path=manifest.utterances[9].path)
    manifests = [few(manifest), few(manifest, renamed), few(manifest, other_audio), few(manifest, second, first)]
    keys = {cached_features(each, backbone, FEATURES, tmp_path).key for each in manifests}
    assert len(keys) == 4
    relabelled = replace(first, label="happy")
    assert cached_features(few(manifest, relabelled), backbone, FEATURES, tmp_path).key in keys


def test_the_folder_says_what_it_holds(manifest, backbone, tmp_path):
    cache = cached_features(few(manifest), backbone, FEATURES, tmp_path)
    inputs = json.loads((cache.folder / "key.json").read_text())
    assert cache.folder == tmp_path / cache.key[:16]
    assert inputs["features"] == {"clip_seconds": 0.25, "average": 1, "dtype": "float32"}
    assert inputs["backbone"]["model_type"] == "hubert"
    assert [id for id, _ in inputs["utterances"]] == ["u0", "u1", "u2", "u3"]


def test_features_that_are_not_finite_are_an_error_that_names_the_utterance(manifest, backbone, tmp_path, monkeypatch):
    huge = torch.zeros(4, 12, 16)
    huge[2, 3, 4] = 70_000.0  # more than float16 holds
    monkeypatch.setattr(backbones.Backbone, "__call__", lambda self, clips: huge)
    monkeypatch.setattr(backbones.Backbone, "__init__", lambda self, *args: None)
    monkeypatch.setattr(backbones.Backbone, "frames", 12, raising=False)
    monkeypatch.setattr(backbones.Backbone, "hidden_size", 16, raising=False)
    half = FEATURES.model_copy(update={"dtype": "float16"})
    with pytest.raises(RecipeError, match=r"^the features of u2 \(.*2\.wav\) are not finite in float16$"):
        cached_features(few(manifest), backbone, half, tmp_path)


def test_missing_audio_is_an_error_that_names_the_file(manifest, backbone, tmp_path):
    gone = few(manifest, replace(manifest.utterances[0], path=tmp_path / "gone.wav"))
    with pytest.raises(RecipeError, match=r"^there is no audio file .*gone\.wav$"):
        cached_features(gone, backbone, FEATURES, tmp_path)


def test_reading_features_needs_no_transformers_to_be_imported():
    code = (
        "import sys, temporal_shift.ser.features, temporal_shift.ser.corpora; sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
