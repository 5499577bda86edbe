import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.iemocap import read_iemocap
from temporal_shift.ser.errors import RecipeError

EMOTIONS = ("neu", "hap", "exc", "ang", "sad", "fru", "xxx", "sur", "oth")
EXTENSIONS = ("wav", "flac", "ogg")


def write_dialog(root: Path, session: int, name: str, emotions: tuple[str, ...] = EMOTIONS) -> None:
    """One dialog in the shape of the real corpus: both speakers, the evaluators' lines, macOS's leftovers."""
    evaluation = root / f"Session{session}" / "dialog" / "EmoEvaluation"
    audio = root / f"Session{session}" / "sentences" / "wav" / name
    (evaluation / "Categorical").mkdir(parents=True, exist_ok=True)
    audio.mkdir(parents=True)
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, emotion in enumerate(emotions):
        id = f"{name}_{'FM'[number % 2]}{number:03d}"
        lines += [
            f"[{number}.2901 - {number}.7900]\t{id}\t{emotion}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "C-F1:\tNeutral; Anger;\t(mad\x92)",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "",
        ]
        soundfile.write(audio / f"{id}.{EXTENSIONS[number % 3]}", np.zeros(800 * (number + 1)), 16000)
        (audio / f"._{id}.wav").write_bytes(b"\0\5\x16\7")
    (evaluation / f"{name}.txt").write_text("\n".join(lines), encoding="latin-1")
    (evaluation / f"._{name}.txt").write_bytes(b"\0\5\x16\7[\xff")
    (evaluation / "Categorical" / f"{name}_e2_cat.txt").write_text(f"{name}_F000 :Neutral state; ()\n")


@pytest.fixture
def corpus(tmp_path) -> Path:
    for session in (2, 1):
        write_dialog(tmp_path, session, f"Ses0{session}M_script01_1b")
        write_dialog(tmp_path, session, f"Ses0{session}F_impro01")
    (tmp_path / "Documentation").mkdir()
    return tmp_path


def test_the_four_classes_are_read_in_sorted_order(corpus):
    manifest = read_iemocap(corpus)
    assert manifest.labels == ("happy", "angry", "sad", "neutral")
    assert len(manifest.utterances) == 4 * 5
    assert [utterance.id for utterance in manifest.utterances[:6]] == [
        "Ses01F_impro01_F000",
        "Ses01F_impro01_F002",
        "Ses01F_impro01_F004",
        "Ses01F_impro01_M001",
        "Ses01F_impro01_M003",
        "Ses01M_script01_1b_F000",
    ]
    sessions = [utterance.session for utterance in manifest.utterances]
    assert sessions == ["Session1"] * 10 + ["Session2"] * 10


def test_excitement_is_happiness_and_other_emotions_are_left_out(corpus):
    first_dialog = {utterance.id[-4:]: utterance.label for utterance in read_iemocap(corpus).utterances[:5]}
    assert first_dialog == {"F000": "neutral", "M001": "happy", "F002": "happy", "M003": "angry", "F004": "sad"}


def test_the_speaker_is_who_speaks_not_who_wears_the_markers(corpus):
    by_id = {utterance.id: utterance.speaker for utterance in read_iemocap(corpus).utterances}
    assert by_id["Ses01F_impro01_M001"] == "Ses01M"
    assert by_id["Ses02M_script01_1b_F000"] == "Ses02F"
    assert set(by_id.values()) == {"Ses01F", "Ses01M", "Ses02F", "Ses02M"}


def test_paths_are_absolute_and_durations_are_the_files(corpus, monkeypatch):
    monkeypatch.chdir(corpus)
    utterance = read_iemocap(Path()).utterances[1]
    assert utterance.path == corpus / "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F002.ogg"
    assert utterance.seconds == 0.15


def test_the_experiment_names_the_reader(corpus):
    assert read_corpus(config.Corpus(reader="iemocap", path=corpus)) == read_iemocap(corpus)


def test_a_missing_folder_is_a_sentence(tmp_path):
    with pytest.raises(RecipeError, match=r"^there is no corpus folder .*/gone$"):
        read_iemocap(tmp_path / "gone")


def test_the_wrong_folder_is_a_sentence(tmp_path):
    with pytest.raises(RecipeError, match=r"has no Session1, Session2, \.\.\.: is it the IEMOCAP folder itself\?$"):
        read_iemocap(tmp_path)


def test_a_session_without_its_label_folder_is_named(corpus):
    shutil.rmtree(corpus / "Session2" / "dialog")
    with pytest.raises(RecipeError, match=r"Session2/dialog/EmoEvaluation, where the labels of Session2 should be$"):
        read_iemocap(corpus)


def test_sessions_without_labels_are_a_sentence(tmp_path):
    write_dialog(tmp_path, 1, "Ses01F_impro01", emotions=("fru",))
    with pytest.raises(
        RecipeError, match=r"EmoEvaluation/Ses\*\.txt labels an utterance happy, angry, sad or neutral$"
    ):
        read_iemocap(tmp_path)


def test_a_labelled_utterance_without_audio_is_named(corpus):
    (corpus / "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_M001.flac").unlink()
    with pytest.raises(RecipeError, match=r"^the utterance Ses02F_impro01_M001 is labelled but has no audio file "):
        read_iemocap(corpus)


def test_an_utterance_with_two_audio_files_is_named(corpus):
    folder = corpus / "Session2/sentences/wav/Ses02F_impro01"
    soundfile.write(folder / "Ses02F_impro01_M001.wav", np.zeros(800), 16000)
    with pytest.raises(
        RecipeError, match=r"M001 has two audio files, .*M001\.wav and Ses02F_impro01_M001\.flac: keep one"
    ):
        read_iemocap(corpus)


def test_a_label_line_of_another_shape_is_named(corpus):
    path = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    path.write_text("% header\n[6.2 - 8.2] Ses01F_impro01_F000 neu\n")
    with pytest.raises(RecipeError, match=r"^line 2 of .*Ses01F_impro01\.txt is not '\[start - end\]<tab>utterance"):
        read_iemocap(corpus)
