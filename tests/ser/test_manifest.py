from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser.errors import RecipeError
from temporal_shift.ser.files import atomic_write
from temporal_shift.ser.manifest import Manifest, Utterance, heldout_folds, read_manifest, write_manifest


def utterance(session: int, gender: str, number: int = 0, folder: Path = Path("/corpus")) -> Utterance:
    id = f"s{session}{gender}{number}"
    return Utterance(id, folder / f"{id}.wav", "sad", f"{session}{gender}", f"Session{session}", 1.25)


def manifest_of(*utterances: Utterance) -> Manifest:
    return Manifest(utterances, ("happy", "sad"))


@pytest.fixture
def four_sessions() -> Manifest:
    return manifest_of(*(utterance(session, gender) for session in (3, 1, 4, 2) for gender in "FM"))


def test_a_manifest_survives_the_disk(tmp_path, four_sessions):
    write_manifest(four_sessions, tmp_path / "new" / "manifest.jsonl")
    assert read_manifest(tmp_path / "new" / "manifest.jsonl") == four_sessions


def test_a_manifest_moves_with_the_audio_below_it(tmp_path):
    write_manifest(manifest_of(utterance(1, "F", folder=tmp_path / "here" / "audio")), tmp_path / "here" / "m.jsonl")
    (tmp_path / "here").rename(tmp_path / "there")
    assert read_manifest(tmp_path / "there" / "m.jsonl").utterances[0].path == tmp_path / "there" / "audio" / "s1F0.wav"


def test_each_session_is_tested_once_and_the_next_one_validates(four_sessions):
    folds = heldout_folds(four_sessions)
    sessions = [utterance.session for utterance in four_sessions.utterances]
    assert [fold.name for fold in folds] == ["Session1", "Session2", "Session3", "Session4"]
    assert [{sessions[i] for i in fold.test} for fold in folds] == [{fold.name} for fold in folds]
    validating = [{sessions[i] for i in fold.validation} for fold in folds]
    assert validating == [{"Session2"}, {"Session3"}, {"Session4"}, {"Session1"}]


def test_a_fold_uses_each_utterance_exactly_once_in_file_order(four_sessions):
    for fold in heldout_folds(four_sessions):
        assert sorted(fold.train + fold.validation + fold.test) == list(range(8))
        assert list(fold.train) == sorted(fold.train)


def test_two_sessions_are_too_few_to_hold_any_out():
    with pytest.raises(RecipeError, match=r"^the corpus has 2 sessions: .* need at least 3$"):
        heldout_folds(manifest_of(utterance(1, "F"), utterance(2, "F")))


def test_a_speaker_in_two_parts_is_an_error_that_names_speaker_and_fold():
    known = replace(utterance(3, "F"), speaker="1F")
    with pytest.raises(
        RecipeError, match=r"^the speaker 1F is in both the train and the test part of the fold Session1$"
    ):
        heldout_folds(manifest_of(utterance(1, "F"), utterance(2, "F"), known))


def test_an_id_cannot_occur_twice():
    with pytest.raises(RecipeError, match=r"^the utterance s1F0 occurs twice$"):
        manifest_of(utterance(1, "F"), utterance(1, "F"))


def test_a_label_is_one_of_the_classes():
    with pytest.raises(RecipeError, match=r"has the label 'bored', which is not among happy, sad$"):
        manifest_of(replace(utterance(1, "F"), label="bored"))


def test_a_manifest_without_utterances_is_an_error():
    with pytest.raises(RecipeError, match=r"^the manifest holds no utterance$"):
        manifest_of()


def test_reading_no_manifest_says_so(tmp_path):
    with pytest.raises(RecipeError, match=r"^there is no manifest .*m\.jsonl$"):
        read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"id": "x"}', '{"id": "x", "path": "x.wav", "colour": "red"}'])
def test_a_broken_line_is_named(tmp_path, four_sessions, broken):
    path = tmp_path / "m.jsonl"
    write_manifest(four_sessions, path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], broken, *lines[5:]]))
    with pytest.raises(RecipeError, match=r"^line 5 of the manifest .*m\.jsonl does not hold an utterance$"):
        read_manifest(path)


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt


def test_two_writers_of_one_path_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as slow:
        slow.write(b"slow and ")
        with atomic_write(path) as fast:
            fast.write(b"fast")
        assert path.read_bytes() == b"fast"
        slow.write(b"whole")
    assert path.read_bytes() == b"slow and whole"
