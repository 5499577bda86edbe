"""The reader of EmoBox's metadata, which is irregular."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.readers import emobox
from temporal_shift.ser.training.folds import make_folds

from ..corpus_trees import emobox_line, write, write_emobox, write_emobox_emodb, write_emobox_emovo
from .test_readers import groups_of, labels_of, reading_error

INSTEAD = "use folds: speakers, which keeps all utterances of a speaker in one group"


SPEAKERS = {
    "ased-f2-01-02-02-30": "30",
    "cafe-01-S-1-1": "01",
    "casia-246-wangzhe-sad": "wangzhe",
    "cremad-1052-WSI-ANG-XX": "1052",
    "emodb-03a02Wb": "03",
    "emovdb-jenie-Neutral-0226": "jenie",
    "emovo-gio-f2-b2": "f2",
    "enterface-s42_di_4.avi": "s42",
    "esd-0018-001749": "0018",
    "iemocap-Ses01F_impro04_M000": "Ses01M",
    "iemocap-Ses01M_script01_1_F004": "Ses01F",
    "jlcorpus-male2-concerned-9a-1": "male2",
    "mead-M027-sad-level-1-018": "M027",
    "polish-m3.a_nie_4": "m3",
    "ravdess-03-01-07-02-02-02-11": "11",
    "savee-JE-su07": "JE",
    "shemo-M06W01": "M06",
    "subesco-M_03_ILIAS_S_10_HAPPY_4": "M_03",
    "tess-OAF-tip-happy": "OA",
    "urdu-SM20_F8_N012": "SM20",
}


def test_the_speaker_is_in_the_key_of_each_dataset(tmp_path):
    assert {key.split("-")[0] for key in SPEAKERS} == set(emobox.speaker_patterns())
    for key, speaker in SPEAKERS.items():
        dataset = key.split("-")[0]
        write(tmp_path / key / "downloads" / "x.wav")
        folder = write_emobox(tmp_path / key, dataset, [emobox_line(key, dataset, "downloads/x.wav", "sad")], [])
        (only,) = read_corpus(config.Corpus(reader="emobox", path=folder)).utterances
        assert (only.id, only.speaker, only.label) == (key, speaker, "sad")


def test_emodbs_label_neutral_matches_Neutral_in_its_map_and_older_files_are_not_read(tmp_path):  # noqa: N802
    manifest = read_corpus(config.Corpus(reader="emobox", path=write_emobox_emodb(tmp_path)))
    assert len(manifest.utterances) == 70
    assert manifest.labels == ("Angry", "Boredom", "Disgust", "Fear", "Happy", "Neutral", "Sad")
    assert set(labels_of(manifest).values()) == {10}
    assert Counter(len(members) for members in groups_of(manifest).values()) == {2: 5}
    assert manifest.utterances[0].path.is_relative_to(tmp_path / "downloads" / "emodb" / "wav")


def test_emovos_map_has_another_name_and_its_published_folds_are_its_actors(tmp_path):
    folder = write_emobox_emovo(tmp_path)
    manifest = read_corpus(config.Corpus(reader="emobox", path=folder, folds="published"))
    assert manifest.labels == ("Neutral", "Disgust", "Happy", "Fear", "Angry", "Surprise", "Sad")
    actors = ("f1", "f2", "f3", "m1", "m2", "m3")
    assert groups_of(manifest) == {f"fold_{number}": {actor} for number, actor in enumerate(actors, start=1)}
    assert [fold.name for fold in make_folds(manifest, "last")] == [f"fold_{number}" for number in range(1, 7)]
    by_speakers = read_corpus(config.Corpus(reader="emobox", path=folder))
    assert set(groups_of(by_speakers)) == {f"Group{number}" for number in range(1, 6)}


def test_published_folds_with_test_speakers_in_training_are_an_error(tmp_path):
    folder = write_emobox_emodb(tmp_path)
    assert reading_error(reader="emobox", path=folder, folds="published") == (
        "the published fold_1 of emodb has the speaker 03 and 9 more in both its train and its test part: " + INSTEAD
    )


def small(root, folds, keys=("savee-DC-a01", "savee-JE-a01", "savee-JK-a01", "savee-KL-a01")):
    lines = []
    for key in keys:
        wav = f"downloads/savee/{key}.wav"
        write(root / wav)
        lines.append(emobox_line(key, "savee", wav, "a"))
    return write_emobox(root, "savee", lines, folds)


def test_published_folds_with_test_speakers_in_validation_are_an_error(tmp_path):
    folder = small(
        tmp_path,
        [{"train": [0], "valid": [1, 2], "test": [4]}],
        ("savee-DC-a01", "savee-JE-a01", "savee-JK-a01", "savee-KL-a01", "savee-JE-a02"),
    )
    assert reading_error(reader="emobox", path=folder, folds="published") == (
        "the published fold_1 of savee has the speaker JE in both its valid and its test part: " + INSTEAD
    )


def test_published_folds_that_do_not_test_every_utterance_once_are_an_error(tmp_path):
    one = small(tmp_path / "one", [{"train": [0, 1], "valid": [2], "test": [3]}])
    assert reading_error(reader="emobox", path=one, folds="published") == (
        f"the published folds of savee do not test 3 of 4 utterances, such as savee-DC-a01: {INSTEAD}"
    )
    twice = small(tmp_path / "twice", [{"train": [0, 1], "test": [2, 3]}, {"train": [2, 1], "test": [0, 3]}])
    assert reading_error(reader="emobox", path=twice, folds="published") == (
        f"the published folds of savee test savee-KL-a01 twice, in fold_1 and fold_2: {INSTEAD}"
    )
    assert reading_error(reader="emobox", path=small(tmp_path / "none", []), folds="published") == (
        f"the published folds of savee do not test 4 of 4 utterances, such as savee-DC-a01: {INSTEAD}"
    )


def test_without_the_list_of_all_utterances_a_folds_parts_are_read(tmp_path):
    folder = small(tmp_path, [{"train": [0, 1], "test": [2, 3]}, {"train": [2, 3], "test": [0, 1]}])
    whole = read_corpus(config.Corpus(reader="emobox", path=folder))
    (folder / "savee.jsonl").unlink()
    assert read_corpus(config.Corpus(reader="emobox", path=folder)) == whole
    assert set(groups_of(read_corpus(config.Corpus(reader="emobox", path=folder, folds="published")))) == {
        "fold_1",
        "fold_2",
    }


def test_the_audio_can_be_in_another_folder(tmp_path):
    folder = small(tmp_path / "EmoBox", [])
    (tmp_path / "EmoBox" / "downloads").rename(tmp_path / "downloads")
    manifest = read_corpus(config.Corpus(reader="emobox", path=folder, audio=tmp_path))
    assert manifest.utterances[0].path == tmp_path / "downloads" / "savee" / "savee-DC-a01.wav"


def test_all_problems_of_a_dataset_are_in_one_message_by_line(tmp_path):
    folder = small(tmp_path, [])
    path = folder / "savee.jsonl"
    lines = path.read_text().splitlines()
    lines[1] = "{"
    lines[2] = json.dumps({**json.loads(lines[2]), "key": "savee-01"})
    path.write_text("\n".join([*lines, lines[0], json.dumps({"key": "savee-DC-a09"})]))
    missing = tmp_path / "downloads" / "savee" / "savee-KL-a01.wav"
    missing.unlink()
    assert reading_error(reader="emobox", path=folder).split("\n") == [
        "5 problems:",
        f"{path}, line 2: must be a JSON object, got '{{'",
        f"{path}, line 3: the key must match 'savee-([A-Z]{{2}})-', got 'savee-01'",
        f"{path}, line 6: 'key', 'wav' and 'emo' must be non-empty strings, got 'savee-DC-a09', None, None",
        f"{path}, line 5: the utterance savee-DC-a01 already occurs in {path}, line 1",
        f"{path}, line 4: there is no audio file {missing}",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"sad": "Sad", "sad": "Angry"}', "the key 'sad' occurs twice"),
        ('{"sad": "Sad", "SAD": "Angry"}', "labels must not look alike, got 'sad' and 'SAD'"),
        ('{"sad": "Sad", "ang": "sad"}', "classes must not look alike, got 'Sad' and 'sad'"),
        ('{"sad": NaN}', "must contain a class for each label"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_an_ambiguous_map_of_a_dataset_is_an_error(tmp_path, content, problem):
    folder = write_emobox(tmp_path, "emodb", [emobox_line("emodb-03a01Wa", "emodb", "x.wav", "sad")], [])
    write(tmp_path / "x.wav")
    (folder / "label_map.json").write_text(content)
    assert problem in reading_error(reader="emobox", path=folder)


def test_a_dataset_without_speakers_in_its_keys_is_an_error(tmp_path):
    (tmp_path / "data" / "meld").mkdir(parents=True)
    said = reading_error(reader="emobox", path=tmp_path / "data" / "meld")
    assert re.search(rf"\(ased, .*, urdu\), got {tmp_path}/data/meld", said)
    (tmp_path / "data" / "savee").mkdir()
    assert reading_error(reader="emobox", path=tmp_path / "data" / "savee") == (
        f"{tmp_path}/data/savee must contain utterances in savee.jsonl or fold_1/savee_test_fold_1.jsonl, got none"
    )


def test_an_invalid_map_and_labels_without_a_class_are_errors(tmp_path):
    folder = small(tmp_path, [])
    (folder / "label_map.json").write_text("{")
    assert reading_error(reader="emobox", path=folder).startswith(f"{folder}/label_map.json cannot be read as JSON: ")
    (folder / "label_map.json").write_text('{"a": 1}')
    expected = f"{folder}/label_map.json must contain a class for each label, got 1 for 'a'"
    assert reading_error(reader="emobox", path=folder) == expected
    (folder / "label_map.json").write_text('{"su": "Surprise"}')
    assert reading_error(reader="emobox", path=folder) == (
        "the label map lacks 'a' (4 utterances): give each a class, or null to leave it out"
    )
