"""RAVDESS, CREMA-D and EmoDB in their published layouts, and properties of every reader."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import PUBLISHED, READERS, read_corpus
from temporal_shift.ser.corpora.manifest import Manifest, write_manifest
from temporal_shift.ser.training.folds import Kind, make_folds
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import (
    CREMAD,
    EMODB,
    RAVDESS,
    noise,
    write,
    write_cremad,
    write_emobox_emodb,
    write_emodb,
    write_folder,
    write_ravdess,
    write_table,
)
from ..tiny import write_noise_corpus
from .test_prepare import list_folders_reversed, list_folders_shuffled

EMOTIONS = {
    "ravdess": dict(enumerate(("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"), 1)),
    "cremad": {"ANG": "angry", "DIS": "disgust", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"},
    "emodb": {
        "W": "angry",
        "L": "bored",
        "E": "disgust",
        "A": "fearful",
        "F": "happy",
        "T": "sad",
        "N": "neutral",
    },
}


def labels_of(manifest: Manifest) -> Counter[str]:
    return Counter(utterance.label for utterance in manifest.utterances)


def groups_of(manifest: Manifest) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for utterance in manifest.utterances:
        found.setdefault(utterance.session, set()).add(utterance.speaker)
    return found


def reading_error(**corpus: object) -> str:
    with pytest.raises(RecipeError) as raised:
        read_corpus(config.Corpus(**corpus))
    return str(raised.value)


@pytest.fixture(scope="module")
def ravdess(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ravdess")
    write_ravdess(root)
    return root


@pytest.fixture(scope="module")
def emodb(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("emodb")
    write_emodb(root)
    return root


def test_ravdess_has_24_speakers_and_eight_classes(ravdess):
    manifest = read_corpus(config.Corpus(reader="ravdess", path=ravdess))
    assert len(manifest.utterances) == 1440
    assert labels_of(manifest) == {EMOTIONS["ravdess"][code]: count for code, count in RAVDESS.items()}
    assert manifest.labels == tuple(EMOTIONS["ravdess"].values())
    assert {u.speaker for u in manifest.utterances} == {f"Actor_{number:02d}" for number in range(1, 25)}
    first = next(u for u in manifest.utterances if u.id == "03-01-05-01-02-01-12")
    assert (first.label, first.speaker) == ("angry", "Actor_12")
    assert first.path == ravdess / "Actor_12" / "03-01-05-01-02-01-12.wav"
    assert first.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert (first.start, first.end, first.seconds) == (0.0, 0.01, 0.01)
    assert PUBLISHED["ravdess"].differences(manifest) == []


def test_the_groups_of_ravdess_are_balanced_in_utterances_and_gender(ravdess):
    groups = groups_of(read_corpus(config.Corpus(reader="ravdess", path=ravdess)))
    assert sorted(groups) == ["Group1", "Group2", "Group3", "Group4", "Group5"]
    assert sorted(map(len, groups.values())) == [4, 5, 5, 5, 5]
    for members in groups.values():
        women = sum(int(name[-2:]) % 2 == 0 for name in members)
        assert 2 <= women <= 3
        assert 2 <= len(members) - women <= 3


def test_both_layouts_of_ravdess_are_read_and_duplicates_are_skipped(tmp_path):
    write_ravdess(tmp_path / "Audio_Speech_Actors_01-24", (1, 2))
    shutil.copytree(tmp_path / "Audio_Speech_Actors_01-24", tmp_path, dirs_exist_ok=True)
    once = read_corpus(config.Corpus(reader="ravdess", path=tmp_path))
    inside = read_corpus(config.Corpus(reader="ravdess", path=tmp_path / "Audio_Speech_Actors_01-24"))
    assert [u.id for u in once.utterances] == [u.id for u in inside.utterances]
    assert len(once.utterances) == 120


def test_different_files_with_the_same_name_are_named(tmp_path):
    write_ravdess(tmp_path, (1, 2))
    name = "03-01-02-01-01-01-01.wav"
    other = write(tmp_path / "again" / name, noise(99))
    assert reading_error(reader="ravdess", path=tmp_path) == (
        f"the files {tmp_path}/Actor_01/{name} and {other} have the same name but differ: keep one"
    )


def test_crema_d_has_7442_clips_of_91_actors_in_six_emotions(tmp_path):
    write_cremad(tmp_path)
    manifest = read_corpus(config.Corpus(reader="cremad", path=tmp_path))
    assert len(manifest.utterances) == 7442
    assert labels_of(manifest) == {EMOTIONS["cremad"][code]: count for code, count in CREMAD.items()}
    assert manifest.labels == tuple(EMOTIONS["cremad"].values())
    assert {u.speaker for u in manifest.utterances} == {str(number) for number in range(1001, 1092)}
    assert PUBLISHED["cremad"].differences(manifest) == []
    sizes = Counter(u.session for u in manifest.utterances)
    assert max(sizes.values()) - min(sizes.values()) <= 82  # the number of utterances of one actor


def test_crema_d_is_read_with_its_old_file_name_and_from_the_audio_folder(tmp_path):
    write_cremad(tmp_path, (1039, 1040), whole=False)
    (tmp_path / "AudioWAV/1040_ITH_SAD_XX.wav").rename(tmp_path / "AudioWAV/1040_ITH_SAD_X.wav")
    manifest = read_corpus(config.Corpus(reader="cremad", path=tmp_path / "AudioWAV"))
    assert len(manifest.utterances) == 2 * 82
    assert next(u for u in manifest.utterances if u.id == "1040_ITH_SAD_X").label == "sad"


def test_emodb_has_535_utterances_of_ten_speakers_in_seven_emotions(emodb):
    manifest = read_corpus(config.Corpus(reader="emodb", path=emodb))
    assert len(manifest.utterances) == 535
    assert labels_of(manifest) == {EMOTIONS["emodb"][letter]: count for letter, count in EMODB.items()}
    assert manifest.labels == tuple(EMOTIONS["emodb"].values())
    assert len({u.speaker for u in manifest.utterances}) == 10
    assert next(u for u in manifest.utterances if u.id == "03a01Fa").label == "happy"
    assert PUBLISHED["emodb"].differences(manifest) == []
    assert read_corpus(config.Corpus(reader="emodb", path=emodb / "wav")) == manifest


def test_each_group_of_emodb_has_a_woman_and_a_man(emodb):
    men = {"03", "10", "11", "12", "15"}
    for members in groups_of(read_corpus(config.Corpus(reader="emodb", path=emodb))).values():
        assert len(members & men) == len(members - men) == 1


def test_missing_utterances_of_a_published_corpus_are_reported(tmp_path):
    write_emodb(tmp_path, {**EMODB, "F": 70, "T": 0})
    assert PUBLISHED["emodb"].differences(read_corpus(config.Corpus(reader="emodb", path=tmp_path))) == [
        "the corpus has 472 utterances, the published corpus 535",
        "the corpus has 70 happy utterances, the published corpus 71",
        "the corpus has 0 sad utterances, the published corpus 62",
    ]


def test_files_with_other_names_and_damaged_files_are_in_one_message(tmp_path):
    write_emodb(tmp_path, {"W": 10, "T": 3})
    strange = write(tmp_path / "wav" / "03a01.wav")
    broken = write(tmp_path / "wav" / "03a01Ta.wav", b"not audio")
    empty = write(tmp_path / "wav" / "08a01Ta.wav", noise(samples=0))
    pointer = write(
        tmp_path / "wav" / "09a01Ta.wav", b"version https://git-lfs.github.com/spec/v1\noid sha256:27\nsize 82260\n"
    )
    assert reading_error(reader="emodb", path=tmp_path).split("\n") == [
        "4 problems:",
        f"the file {strange} is not named like 03a01Fa.wav",
        f"the audio file {broken} cannot be read: Format not recognised",
        f"the audio file {empty} is empty",
        f"{pointer} is a git-lfs pointer, not audio: fetch the file with 'git lfs pull'",
    ]


@pytest.mark.parametrize(
    ("reader", "example"),
    [("ravdess", "03-01-05-01-02-01-12.wav"), ("cremad", "1001_DFA_ANG_XX.wav"), ("emodb", "03a01Fa.wav")],
)
def test_the_wrong_folder_is_an_error_that_names_the_expected_files(tmp_path, reader, example):
    assert reading_error(reader=reader, path=tmp_path) == (
        f"the corpus folder {tmp_path} contains no recordings named like {example}"
    )
    assert reading_error(reader=reader, path=tmp_path / "gone") == f"there is no corpus folder {tmp_path}/gone"


def test_names_with_digits_of_another_script_are_an_error(tmp_path):
    write(tmp_path / "wav" / "03a01Wa.wav")
    odd = write(tmp_path / "wav" / "٠٣a01Fa.wav")
    assert f"the file {odd} is not named like 03a01Fa.wav" in reading_error(reader="emodb", path=tmp_path)


def test_a_corpus_with_only_songs_is_an_error(tmp_path):
    write(tmp_path / "Actor_01" / "03-02-05-01-01-01-01.wav")
    assert (
        reading_error(reader="ravdess", path=tmp_path)
        == f"{tmp_path} contains no speech that can be read by the reader ravdess"
    )


def test_an_unknown_code_is_an_error(tmp_path):
    write_emodb(tmp_path, {"W": 10, "T": 3, "X": 2, "Y": 1})
    assert reading_error(reader="emodb", path=tmp_path) == (
        "the label map lacks 'X' (2 utterances), 'Y' (1 utterance): give each a class, or null to leave it out"
    )


def test_the_users_map_names_codes_or_classes_and_leaves_out_what_is_null(tmp_path):
    write_emodb(tmp_path, {"W": 10, "T": 5, "F": 4, "N": 3})
    given = {"sad": "low", "W": "high", "happy": "high", "N": None}
    manifest = read_corpus(config.Corpus(reader="emodb", path=tmp_path, label_map=given))
    assert manifest.labels == ("low", "high")
    assert labels_of(manifest) == {"low": 5, "high": 14}


def test_the_users_map_must_contain_every_class_that_occurs(tmp_path):
    write_emodb(tmp_path, {"W": 10, "T": 5, "F": 4})
    assert reading_error(reader="emodb", path=tmp_path, label_map={"angry": "angry"}) == (
        "the label map lacks 'F', happy (4 utterances), 'T', sad (5 utterances): "
        "give each a class, or null to leave it out"
    )


def test_the_users_map_of_iemocap_can_use_other_emotions(tmp_path):
    from ..iemocap_tree import write_dialog

    write_dialog(tmp_path, 1, "Ses01F_impro01", ("neu", "hap", "exc", "ang", "sad", "fru", "xxx", "sur"))
    given = {"happy": "happy", "exc": "excited", "angry": "angry", "sad": "sad", "neu": "neutral", "fru": "angry"}
    manifest = read_corpus(config.Corpus(path=tmp_path, label_map=given))
    assert manifest.labels == ("happy", "excited", "angry", "sad", "neutral")
    assert labels_of(manifest) == {"happy": 1, "excited": 1, "angry": 2, "sad": 1, "neutral": 1}


def test_the_number_of_groups_can_be_up_to_the_number_of_speakers(emodb):
    manifest = read_corpus(config.Corpus(reader="emodb", path=emodb, groups=10))
    assert all(len(members) == 1 for members in groups_of(manifest).values())
    assert sorted(groups_of(manifest))[-1] == "Group10"
    assert reading_error(reader="emodb", path=emodb, groups=11) == (
        "groups must be at most the number of speakers, 10, got 11"
    )


def write_small(reader: str, root: Path) -> config.Corpus:
    """A small corpus of a reader, with enough speakers for all protocols."""
    match reader:
        case "iemocap":
            write_noise_corpus(root, 4)
        case "ravdess":
            write_ravdess(root, range(1, 6))
        case "cremad":
            write_cremad(root, range(1001, 1006), whole=False)
        case "emodb":
            write_emodb(root, {"W": 20, "N": 20})
        case "emobox":
            return config.Corpus(reader="emobox", path=write_emobox_emodb(root))
        case "table":
            return config.Corpus(reader="table", path=write_table(root))
        case "folder":
            write_folder(root)
        case "manifest":
            write_emodb(root, {"W": 20, "N": 20})
            write_manifest(read_corpus(config.Corpus(reader="emodb", path=root)), root / "manifest.jsonl")
            return config.Corpus(reader="manifest", path=root / "manifest.jsonl")
    return config.Corpus(reader=reader, path=root)


@pytest.mark.parametrize("reader", READERS)
def test_no_speaker_is_in_two_parts_of_a_fold_for_any_reader(tmp_path, reader):
    manifest = read_corpus(write_small(reader, tmp_path))
    first, last = manifest.utterances[0], manifest.utterances[-1]
    leaking = Manifest((*manifest.utterances[:-1], replace(last, speaker=first.speaker)), manifest.labels)
    for kind in get_args(Kind):
        for fold in make_folds(manifest, kind):
            train, validation, test = (
                {manifest.utterances[i].speaker for i in part} for part in (fold.train, fold.validation, fold.test)
            )
            assert len(train | validation | test) == len(train) + len(validation) + len(test)
            assert train
            assert test
        name = first.speaker if kind == "speaker" else first.session
        with pytest.raises(RecipeError, match=rf"train and test .*{name}.*{first.speaker}"):
            make_folds(leaking, kind)


@pytest.mark.parametrize("reader", READERS)
def test_the_manifest_of_any_reader_does_not_depend_on_the_order_of_the_files(tmp_path, monkeypatch, reader):
    corpus = write_small(reader, tmp_path / "corpus")
    before = read_corpus(corpus)
    for list_otherwise in (list_folders_reversed, list_folders_shuffled):
        with monkeypatch.context() as patch:
            list_otherwise(patch)
            assert read_corpus(corpus) == before
