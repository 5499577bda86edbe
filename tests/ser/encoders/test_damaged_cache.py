"""Damaged caches, and machines with a wrong clock or few file descriptors."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from temporal_shift.ser.encoders.feature_cache import cached_features, verified_shape
from temporal_shift.ser.utils.errors import RecipeError

from ..faults import file_limit, file_size_limit
from .small_cache import FEATURES, contents, flip_a_byte, sum_of


def resum(path: Path) -> None:
    """Write the checksum of the file's current content to its checksum file."""
    sum_of(path).write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")


def lose_the_sum(path: Path) -> None:
    sum_of(path).unlink()


def empty_the_sum(path: Path) -> None:
    sum_of(path).write_text("")


def take_the_sum_of_another(path: Path) -> None:
    sum_of(path).write_text(f"{hashlib.sha256(b'').hexdigest()}  {path.name}\n")


def name_another_in_the_sum(path: Path) -> None:
    sum_of(path).write_text(sum_of(path).read_text().replace("frames", "framed"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lose_a_row(path: Path) -> None:
    np.save(path, np.load(path)[1:])
    resum(path)


def lose_a_frame(path: Path) -> None:
    np.save(path, np.load(path)[:, 1:])
    resum(path)


def change_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float64))
    resum(path)


HARMS = [
    *(Path.unlink, truncate, empty, lose_a_row, lose_a_frame, change_type, flip_a_byte),
    *(lose_the_sum, empty_the_sum, take_the_sum_of_another, name_another_in_the_sum),
]


@pytest.mark.parametrize(("harm", "number"), list(zip(HARMS, itertools.cycle((0, 2)))))
def test_a_damaged_file_is_encoded_again(manifest, backbone, whole, root, passes, harm, number):
    lost = {0: [16] * 4, 2: [16, 6]}[number]  # the number of clips in each forward pass
    cache = cached_features(manifest, backbone, FEATURES, root)
    harm(cache.folder / f"frames-{number:05d}.npy")
    again = cached_features(manifest, backbone, FEATURES, root)
    assert passes == lost
    assert contents(again.folder) == contents(whole / cache.key[:16])


def test_two_free_file_descriptors_are_enough_for_a_cache_of_any_size(manifest, backbone, whole):
    with file_limit(2):
        cache = cached_features(manifest, backbone, FEATURES, whole)
        rows = [cache[index] for index in (0, 70, 149)]
    expected = [np.load(cache.folder / f"frames-{shard:05d}.npy")[row] for shard, row in ((0, 0), (1, 6), (2, 21))]
    np.testing.assert_array_equal(rows, expected)


def test_four_free_file_descriptors_are_enough_to_encode(manifest, backbone, whole, root):
    (folder,) = root.iterdir()
    (folder / "frames-00002.npy").unlink()
    with file_limit(4):
        cached_features(manifest, backbone, FEATURES, root)
    assert contents(folder) == contents(whole / folder.name)


@pytest.mark.parametrize("harm", [truncate, empty, Path.unlink])
def test_a_file_truncated_in_use_is_an_error(manifest, backbone, root, harm):
    cache = cached_features(manifest, backbone, FEATURES, root)
    harm(cache.folder / "frames-00002.npy")
    with pytest.raises(RecipeError, match=r"^the cached features .*frames-00002\.npy (have changed|cannot be read)"):
        cache[149]
    assert cache[0].shape == (12, 16)


def test_a_clock_that_was_set_back_has_no_effect(manifest, backbone, whole, root, passes):
    (folder,) = root.iterdir()
    leftover = folder / ".frames-00002.npy.0123.tmp"
    leftover.write_bytes(b"half")
    for path in folder.iterdir():
        os.utime(path, (time.time() + 1e6,) * 2)
    cached_features(manifest, backbone, FEATURES, root)
    assert passes == []
    (folder / "frames-00002.npy").unlink()
    cached_features(manifest, backbone, FEATURES, root)
    assert contents(folder) == {**contents(whole / folder.name), leftover.name: b"half"}


@pytest.mark.parametrize("damage", [b"", b"{", b"[" * 9999, b"\xff\xfe", b"{}"])
def test_a_damaged_description_is_written_again(manifest, backbone, whole, root, damage):
    (folder,) = root.iterdir()
    (folder / "key.json").write_bytes(damage)
    cached_features(manifest, backbone, FEATURES, root)
    assert contents(folder) == contents(whole / folder.name)


FLIPS = sorted({*range(0, 140, 3), *range(128, 50_000, 4999), -1})  # positions in the header, and in the frames


def test_flipped_bits_and_truncations_are_detected(root):
    (folder,) = root.iterdir()
    path = folder / "frames-00001.npy"
    for file in (path, sum_of(path)):
        content = file.read_bytes()
        assert verified_shape(path) == ((64, 12, 16), "float32")
        for place in (place for place in FLIPS if place < len(content)):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place:][1:])
            assert verified_shape(path) is None, f"byte {place} of {file.name}"
        for length in (0, 1, 10, 63, 64, 100, len(content) // 2, len(content) - 1):
            file.write_bytes(content[:length] if length < len(content) - 1 or file == path else content[:64])
            assert verified_shape(path) is None, f"{file.name} cut to {length} bytes"
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["frames-00000.npy", "frames-00002.sha256", "key.json"])
def test_a_folder_where_a_file_should_be_is_an_error_that_names_it(manifest, backbone, root, name):
    (folder,) = root.iterdir()
    path = folder / name
    path.unlink()
    (path / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=re.escape(path.name)):
        cached_features(manifest, backbone, FEATURES, root)
    assert not list(folder.glob("*.tmp"))
    assert not list(folder.glob(".*"))


def test_a_full_disk_leaves_no_partial_file_and_the_next_run_continues(manifest, backbone, whole, tmp_path):
    # a full shard is 49 kB, the last one 17 kB
    with file_size_limit(40_000), pytest.raises(OSError, match=r"frames-00000\.npy"):
        cached_features(manifest, backbone, FEATURES, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert [path.name for path in folder.iterdir()] == ["key.json"]
    cached_features(manifest, backbone, FEATURES, tmp_path)
    assert contents(folder) == contents(whole / folder.name)
