import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.readers.iemocap import read_iemocap
from temporal_shift.ser.utils.errors import RecipeError

from ..iemocap_tree import write_dialog

EMOTIONS = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx", "sur", "oth")


@pytest.fixture
def corpus(tmp_path) -> Path:
    for session in (2, 1):
        write_dialog(tmp_path, session, f"Ses0{session}M_script01_1b", EMOTIONS)
        write_dialog(tmp_path, session, f"Ses0{session}F_impro01", EMOTIONS)
    folder = tmp_path / "Session1/sentences/wav/Ses01F_impro01"
    replace_audio(folder / "Ses01F_impro01_M000.wav", ".flac", 1600)
    replace_audio(folder / "Ses01F_impro01_F001.wav", ".ogg", 2400)
    (tmp_path / "Documentation").mkdir()
    return tmp_path


def replace_audio(path: Path, extension: str, samples: int) -> None:
    path.unlink()
    soundfile.write(path.with_suffix(extension), np.zeros(samples), 16000)


def test_the_four_classes_are_read_in_sorted_order(corpus):
    manifest = read_iemocap(corpus)
    assert manifest.labels == ("happy", "angry", "sad", "neutral")
    assert len(manifest.utterances) == 4 * 5
    assert [utterance.id for utterance in manifest.utterances[:6]] == [
        "Ses01F_impro01_F000",
        "Ses01F_impro01_F001",
        "Ses01F_impro01_F002",
        "Ses01F_impro01_M000",
        "Ses01F_impro01_M001",
        "Ses01M_script01_1b_F000",
    ]
    sessions = [utterance.session for utterance in manifest.utterances]
    assert sessions == ["Session1"] * 10 + ["Session2"] * 10


def test_excited_counts_as_happy_and_other_emotions_are_left_out(corpus):
    first_dialog = {utterance.id[-4:]: utterance.label for utterance in read_iemocap(corpus).utterances[:5]}
    assert first_dialog == {"F000": "neutral", "M000": "happy", "F001": "happy", "M001": "angry", "F002": "sad"}


def test_the_speaker_comes_from_the_utterance_and_not_from_the_dialog(corpus):
    by_id = {utterance.id: utterance.speaker for utterance in read_iemocap(corpus).utterances}
    assert by_id["Ses01F_impro01_M001"] == "Ses01M"
    assert by_id["Ses02M_script01_1b_F000"] == "Ses02F"
    assert set(by_id.values()) == {"Ses01F", "Ses01M", "Ses02F", "Ses02M"}


def test_paths_are_absolute_and_durations_come_from_the_files(corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    ogg, flac = (read_iemocap(Path()).utterances[index] for index in (1, 3))
    assert ogg.path == corpus / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F001.ogg"
    assert (ogg.samples, ogg.sample_rate, ogg.seconds) == (2400, 16000, 0.15)
    assert flac.path == corpus / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.flac"
    assert (flac.samples, flac.sample_rate, flac.seconds) == (1600, 16000, 0.1)


def test_an_utterance_has_its_start_and_end_in_the_dialog(corpus):
    by_id = {utterance.id: (utterance.start, utterance.end) for utterance in read_iemocap(corpus).utterances}
    assert by_id["Ses01F_impro01_F000"] == (0.2901, 0.7901)
    assert by_id["Ses02M_script01_1b_M001"] == (3.2901, 3.7901)


def test_the_style_comes_from_the_name_of_the_dialog(corpus):
    write_dialog(corpus, 1, "Ses01F_dinner01", ("sad",))
    styles = {(utterance.id[5:-5], utterance.style) for utterance in read_iemocap(corpus).utterances}
    assert styles == {("F_impro01", "improvised"), ("M_script01_1b", "scripted"), ("F_dinner01", "")}


def test_the_sha256_matches_the_file(corpus):
    for utterance in read_iemocap(corpus).utterances:
        assert utterance.sha256 == hashlib.sha256(utterance.path.read_bytes()).hexdigest()


def test_the_experiment_names_the_reader(corpus):
    assert read_corpus(config.Corpus(reader="iemocap", path=corpus)) == read_iemocap(corpus)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match=r"^there is no corpus folder .*/gone$"):
        read_iemocap(tmp_path / "gone")


def test_the_wrong_folder_is_an_error(tmp_path):
    with pytest.raises(
        RecipeError, match=r"must contain Session1, Session2, \.\.\., got none: is it the IEMOCAP folder itself\?$"
    ):
        read_iemocap(tmp_path)


def test_a_session_without_its_label_folder_is_named(corpus):
    shutil.rmtree(corpus / "Session2" / "dialog")
    with pytest.raises(RecipeError, match=r"Session2/dialog/EmoEvaluation, where the labels of Session2 should be$"):
        read_iemocap(corpus)


def test_sessions_without_labels_are_an_error(tmp_path):
    write_dialog(tmp_path, 1, "Ses01F_impro01", ("fru",))
    with pytest.raises(RecipeError, match=r"EmoEvaluation/Ses\*\.txt .*happy, angry, sad, neutral, got none$"):
        read_iemocap(tmp_path)


def reading_error(corpus: Path) -> str:
    with pytest.raises(RecipeError) as raised:
        read_iemocap(corpus)
    return str(raised.value)


def relabel(path: Path, number: int, line: str) -> None:
    """Replace line ``number`` of a label file."""
    lines = path.read_text(encoding="latin-1").split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines), encoding="latin-1")


def test_a_labelled_utterance_without_audio_is_named(corpus):
    audio = corpus / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M000.wav"
    audio.unlink()
    assert reading_error(corpus) == (
        f"{corpus}/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt, line 9: "
        f"the utterance Ses02F_impro01_M000 is labelled but has no audio file {audio} (or .flac, .ogg)"
    )


def test_an_utterance_with_two_audio_files_is_named(corpus):
    folder = corpus / "Session2/sentences/wav/Ses02F_impro01"
    soundfile.write(folder / "Ses02F_impro01_M000.flac", np.zeros(800), 16000)
    assert reading_error(corpus) == (
        f"{corpus}/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt, line 9: the utterance Ses02F_impro01_M000 "
        f"must have one audio file, got {folder}/Ses02F_impro01_M000.wav and Ses02F_impro01_M000.flac: keep one"
    )


def test_audio_that_cannot_be_read_is_named(corpus):
    audio = corpus / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M000.wav"
    audio.write_text("not audio")
    assert reading_error(corpus) == (
        f"{corpus}/Session2/dialog/EmoEvaluation/Ses02F_impro01.txt, line 9: "
        f"the audio file {audio} cannot be read: Format not recognised"
    )


def test_audio_without_a_sample_is_named(corpus):
    audio = corpus / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M000.wav"
    soundfile.write(audio, np.zeros(0), 16000)
    assert reading_error(corpus).endswith(f"Ses02F_impro01.txt, line 9: the audio file {audio} is empty")


@pytest.mark.parametrize(
    "line",
    [
        "[6.2 - 8.2] Ses01F_impro01_M000 neu [2.5, 2.5, 2.5]",
        "[6.2 - ]\tSes01F_impro01_M000\tneu\t[2.5, 2.5, 2.5]",
        "[6.2 - 8.2\tSes01F_impro01_M000\tneu\t[2.5, 2.5, 2.5]",
        "[6.2 - 8.2]\tSes01F_impro01_X000\tneu\t[2.5, 2.5, 2.5]",
        "[6.2 - 8.2]\tSes01F_impro01_M000\t\t[2.5, 2.5, 2.5]",
    ],
)
def test_an_invalid_label_line_is_named(corpus, line):
    path = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    relabel(path, 9, line)
    expected = "[start - end]<tab>utterance<tab>emotion<tab>..."
    assert reading_error(corpus) == f"{path}, line 9: the line must be {expected!r}, got {line!r}"


def test_an_utterance_that_ends_before_it_starts_is_named(corpus):
    path = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    relabel(path, 9, "[6.2 - 5.8]\tSes01F_impro01_M000\tneu\t[2.5, 2.5, 2.5]")
    assert reading_error(corpus) == (
        f"{path}, line 9: the end of the utterance Ses01F_impro01_M000 must be at least its start, 6.2 s, got 5.8 s"
    )


def test_a_label_file_that_cannot_be_read_is_named(corpus):
    path = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro02.txt"
    path.mkdir()
    assert reading_error(corpus).startswith(f"the label file {path} cannot be read: ")


def test_an_utterance_labelled_twice_in_a_file_is_named(corpus):
    path = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    relabel(path, 9, "[6.2 - 8.2]\tSes01F_impro01_F000\tfru\t[2.5, 2.5, 2.5]")
    assert reading_error(corpus) == (
        f"{path}, line 9: the utterance Ses01F_impro01_F000 already occurs in {path}, line 3"
    )


def test_an_utterance_labelled_in_two_files_is_named(corpus):
    path, other = (corpus / f"Session1/dialog/EmoEvaluation/Ses01{name}.txt" for name in ("F_impro01", "M_script01_1b"))
    relabel(other, 9, "[6.2 - 8.2]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]")
    assert reading_error(corpus) == (
        f"{other}, line 9: the utterance Ses01F_impro01_F000 already occurs in {path}, line 3"
    )


def test_all_problems_of_a_corpus_are_in_one_message(corpus):
    one = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    other = corpus / "Session2/dialog/EmoEvaluation/Ses02M_script01_1b.txt"
    relabel(one, 3, "[broken")
    relabel(one, 15, "[6.2 - 8.2]\tSes01F_impro01_M000\tneu\t[2.5, 2.5, 2.5]")
    missing = corpus / "Session2/sentences/wav/Ses02M_script01_1b/Ses02M_script01_1b_F000.wav"
    missing.unlink()
    (corpus / "Session3").mkdir()
    assert reading_error(corpus).split("\n") == [
        "4 problems:",
        f"{one}, line 3: the line must be '[start - end]<tab>utterance<tab>emotion<tab>...', got '[broken'",
        f"{one}, line 15: the utterance Ses01F_impro01_M000 already occurs in {one}, line 9",
        f"{other}, line 3: the utterance Ses02M_script01_1b_F000 is labelled but has no audio file {missing} "
        "(or .flac, .ogg)",
        f"the corpus has no {corpus}/Session3/dialog/EmoEvaluation, where the labels of Session3 should be",
    ]
