"""Functions on the folder of feature caches, and ``temporal-shift ser cache``."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import HubertConfig, HubertModel
from typer.testing import CliRunner

from temporal_shift.ser import config
from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.encoders import cache_maintenance
from temporal_shift.ser.encoders.feature_cache import cached_features, key_of
from temporal_shift.ser.utils.errors import RecipeError

from ..tiny import TINY

COUNT = 70  # a full shard of 64 utterances and one of 6
FEATURES = config.Features(clip_seconds=0.1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with two caches of a corpus: the last layer in float32, and all layers, averaged and in float16."""
    root = tmp_path_factory.mktemp("caches")
    folder = tmp_path_factory.mktemp("hubert")
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(folder)
    path = folder / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 1600), 16000)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = Manifest(
        tuple(
            Utterance(f"u{k}", path, "sad", "1F", "Session1", 0.0, 0.1, 1600, 16000, sha256, "") for k in range(COUNT)
        ),
        ("sad",),
    )
    cached_features(manifest, config.Backbone(name=str(folder)), FEATURES, root)
    weighted = config.Backbone(name=str(folder), layer="weighted")
    cached_features(manifest, weighted, config.Features(clip_seconds=0.1, average=2, dtype="float16"), root)
    return root


@pytest.fixture
def root(made, tmp_path) -> Path:
    """A copy of the two caches, which tests may damage or delete."""
    return shutil.copytree(made, tmp_path / "features")


def command(*arguments: object):
    return CliRunner().invoke(app, ["ser", "cache", *map(str, arguments)])


def by_layer(root: Path) -> dict[str, cache_maintenance.CacheEntry]:
    return {entry.inputs["backbone"]["layer"]: entry for entry in cache_maintenance.entries(root)}


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def snapshot(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_caches_of_a_folder_are_listed_by_name(root):
    found = list(cache_maintenance.entries(root))
    assert [entry.folder for entry in found] == sorted(root.iterdir())
    assert all(entry.name == key_of(entry.inputs)[:16] for entry in found)
    assert [(entry.utterances, entry.present, len(entry.files)) for entry in found] == [(COUNT, 2, 2)] * 2


@pytest.mark.parametrize("name", ["features", "none"])
def test_a_missing_folder_and_one_without_caches_have_no_entries(tmp_path, name):
    (tmp_path / "features" / "results").mkdir(parents=True)
    assert list(cache_maintenance.entries(tmp_path / name)) == []


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"backbone": 3}', '{"utterances": []}', "\udcff"])
def test_a_folder_that_is_not_a_cache_is_skipped(root, content):
    for name in ("0123456789abcdef", "photographs"):
        (root / name).mkdir()
        (root / name / "key.json").write_bytes(content.encode(errors="surrogateescape"))
    assert len(list(cache_maintenance.entries(root))) == 2


def test_a_folder_with_another_name_than_its_key_is_skipped(root):
    entry = next(cache_maintenance.entries(root))
    entry.folder.rename(root / ("0" * 16))
    assert len(list(cache_maintenance.entries(root))) == 1


def test_a_local_encoder_is_shown_by_its_model_and_weights_and_a_hub_name_by_its_revision(root):
    entry = by_layer(root)["last"]
    digest = entry.inputs["backbone"]["files"]["model.safetensors"]
    assert entry.backbone == f"hubert {digest[:12]}"
    hub = {"name": "facebook/hubert-base-ls960", "revision": "dba3bb02fda4248b6e082697eee756de8fe8aa8a"}
    assert cache_maintenance.CacheEntry(root, {"backbone": hub}).backbone == "facebook/hubert-base-ls960 @ dba3bb02fda4"


def test_a_cache_is_found_by_the_beginning_of_its_name(root):
    entry = by_layer(root)["weighted"]
    assert cache_maintenance.find(root, entry.name) == cache_maintenance.find(root, entry.name[:6]) == entry


def test_a_name_that_matches_no_or_two_caches_is_an_error_that_lists_them(root, tmp_path):
    names = ", ".join(entry.name for entry in cache_maintenance.entries(root))
    for given in ("xyz", ""):
        with pytest.raises(RecipeError, match=rf"name .*{root} \({names}\), got {given!r}$"):
            cache_maintenance.find(root, given)
    with pytest.raises(RecipeError, match=r"name .*\(none\), got 'a'$"):
        cache_maintenance.find(tmp_path / "empty", "a")


def test_the_broken_files_of_a_cache_are_found(root):
    entry, other = by_layer(root)["last"], by_layer(root)["weighted"]
    assert entry.broken() == []
    flip_a_byte(entry.files[0])
    entry.files[1].unlink()
    assert entry.broken() == entry.files
    assert (entry.present, other.broken()) == (1, [])


def test_a_removed_cache_is_gone_and_the_others_stay(root):
    entry, other = by_layer(root).values()
    cache_maintenance.remove(entry)
    assert [path.name for path in root.iterdir()] == [other.name]
    assert other.broken() == []


def test_an_interrupted_removal_leaves_no_valid_cache(root, monkeypatch):
    def kill(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", kill)
    entry, other = by_layer(root).values()
    with pytest.raises(KeyboardInterrupt):
        cache_maintenance.remove(entry)
    assert [left.name for left in cache_maintenance.entries(root)] == [other.name]


def test_ls_shows_a_line_for_each_cache(root):
    before = snapshot(root)
    done = command("ls", "--cache", root)
    assert (done.exit_code, done.stderr) == (0, "")
    header, _, *lines = cache_maintenance.caches_table(root).markdown().splitlines()
    assert header == "| Name | backbone | layer | clip | utterances | files | size |"
    assert len(lines) == 2
    table = {row[2]: row for row in cache_maintenance.caches_table(root).rows}
    last, weighted = by_layer(root)["last"], by_layer(root)["weighted"]
    assert table["last"] == (last.name, last.backbone, "last", "0.1 s float32", "70", "2/2", size_of(last))
    assert table["weighted"] == (
        *(weighted.name, weighted.backbone, "weighted", "0.1 s float16", "70", "2/2", size_of(weighted)),
    )
    for entry in (last, weighted):
        assert entry.name[:6] in done.stdout
    assert snapshot(root) == before


def size_of(entry: cache_maintenance.CacheEntry) -> str:
    return f"{sum(path.stat().st_size for path in entry.folder.iterdir()) / 1e6:.1f} MB"


def test_ls_counts_existing_files(root):
    entry = by_layer(root)["last"]
    entry.files[0].unlink()
    assert {row[0]: row[5] for row in cache_maintenance.caches_table(root).rows}[entry.name] == "1/2"


def test_ls_of_a_missing_folder_is_an_error_and_of_an_empty_one_an_empty_table(tmp_path, monkeypatch):
    missing = command("ls", "--cache", tmp_path / "none")
    assert missing.exit_code == 2
    assert "none" in missing.stderr
    monkeypatch.chdir(tmp_path)  # where the default folder does not exist
    assert (command("ls").exit_code, command("verify").exit_code) == (0, 0)
    empty = command("ls", "--cache", tmp_path)
    assert (empty.exit_code, empty.stdout.startswith("Name")) == (0, True)


def test_verify_reports_intact_caches(root):
    done = command("verify", "--cache", root)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "all files are intact\n", "")


def test_verify_names_every_file_that_is_missing_or_broken_and_exits_with_1(root):
    last, weighted = by_layer(root)["last"], by_layer(root)["weighted"]
    flip_a_byte(last.files[1])
    weighted.files[0].unlink()
    before = snapshot(root)
    done = command("verify", "--cache", root)
    assert done.exit_code == 1
    assert sorted(done.stdout.splitlines()) == sorted(
        [f"missing or damaged: {last.files[1]}", f"missing or damaged: {weighted.files[0]}"]
    )
    assert done.stderr == ""
    assert snapshot(root) == before


def test_verify_of_one_cache_checks_only_that_one(root):
    last, weighted = by_layer(root)["last"], by_layer(root)["weighted"]
    flip_a_byte(last.files[1])
    assert command("verify", weighted.name[:8], "--cache", root).exit_code == 0
    done = command("verify", last.name, "--cache", root)
    assert (done.exit_code, done.stdout) == (1, f"missing or damaged: {last.files[1]}\n")


def test_rm_deletes_one_cache_and_prints_its_size(root):
    last, weighted = by_layer(root)["last"], by_layer(root)["weighted"]
    size = size_of(last)
    done = command("rm", last.name[:8], "--cache", root)
    assert (done.exit_code, done.stdout) == (0, f"deleted {last.folder} ({size})\n")
    assert [path.name for path in root.iterdir()] == [weighted.name]


@pytest.mark.parametrize("verb", ["rm", "verify"])
def test_an_unknown_name_is_one_line_and_exit_code_2(root, verb):
    before = snapshot(root)
    done = command(verb, "xyz", "--cache", root)
    assert done.exit_code == 2
    names = ", ".join(entry.name for entry in cache_maintenance.entries(root))
    assert re.search(rf"name .*{root} \({names}\), got 'xyz'\n$", done.stderr)
    assert snapshot(root) == before


def test_rm_of_an_empty_name_deletes_nothing(root):
    before = snapshot(root)
    done = command("rm", "", "--cache", root)
    assert done.exit_code == 2
    assert "must not be empty" in done.stderr
    assert snapshot(root) == before


def test_rm_needs_a_name(root):
    before = snapshot(root)
    assert command("rm", "--cache", root).exit_code == 2
    assert snapshot(root) == before
