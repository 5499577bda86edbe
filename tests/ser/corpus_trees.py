"""Folders in the published layouts of corpora, and a table and a folder, with short recordings of noise.

Published names and numbers are repeated here so that they do not come from the readers under test.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

RAVDESS = {1: 96, 2: 192, 3: 192, 4: 192, 5: 192, 6: 192, 7: 192, 8: 192}
CREMAD = {"ANG": 1271, "DIS": 1271, "FEA": 1271, "HAP": 1271, "NEU": 1087, "SAD": 1271}
CREMAD_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
EMODB = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
EMODB_SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
EMODB_SENTENCES = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")

EMOBOX_EMODB = {"anger": "W", "boredem": "L", "disgust": "E", "fear": "A", "happy": "F", "neutral": "N", "sad": "T"}
EMOBOX_EMODB_MAP = {
    "anger": "Angry",
    "boredem": "Boredom",
    "disgust": "Disgust",
    "fear": "Fear",
    "happy": "Happy",
    "Neutral": "Neutral",
    "sad": "Sad",
}
EMOVO = {
    "neu": "Neutral",
    "dis": "Disgust",
    "gio": "Happy",
    "pau": "Fear",
    "rab": "Angry",
    "sor": "Surprise",
    "tri": "Sad",
}
NEMO = ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
SUBESCO = ("ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE")
SUBESCO_SPEAKERS = ("F_01_OISHI", "F_02_MONIKA", "M_01_DURANTO", "M_02_SIBLY", "M_03_ILIAS")


@cache
def noise(seed: int = 0, samples: int = 160, rate: int = 16_000, channels: int = 1, kind: str = "WAV") -> bytes:
    """The bytes of an audio file of noise. The default is 10 ms at 16 kHz."""
    file = io.BytesIO()
    wave = 0.1 * np.random.default_rng(seed).normal(size=(samples, channels))
    soundfile.write(file, wave, rate, format=kind)
    return file.getvalue()


def write(path: Path, content: bytes | None = None) -> Path:
    """Write a file of noise or of the given content, and a hidden file of macOS beside it. Return ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(noise() if content is None else content)
    leftover = path.with_name("._x.wav")
    if not leftover.exists():
        leftover.write_bytes(b"\0\5\x16\7[\xff")
    return path


def write_ravdess(root: Path, actors: Iterable[int] = range(1, 25)) -> None:
    """``Actor_*`` folders with all speech recordings of an actor, one song and one video."""
    for actor in actors:
        folder = root / f"Actor_{actor:02d}"
        for emotion, intensity, statement, repetition in itertools.product(range(1, 9), (1, 2), (1, 2), (1, 2)):
            if (emotion, intensity) != (1, 2):  # RAVDESS has no strong neutral
                name = f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}.wav"
                write(folder / name, noise(actor))
        write(folder / f"03-02-05-01-01-01-{actor:02d}.wav")
        write(folder / f"01-01-05-01-01-01-{actor:02d}.mp4", b"a film")


def write_cremad(root: Path, actors: Iterable[int] = range(1001, 1092), *, whole: bool = True) -> None:
    """``AudioWAV``: each actor says twelve sentences in six emotions, ``IEO`` at three levels except in neutral.

    If ``whole``, a few files are missing, so that the counts of all actors equal the published ones.
    """
    missing = {emotion: 5 if emotion == "NEU" else 3 for emotion in CREMAD} if whole else {}
    for actor in actors:
        for sentence, emotion in itertools.product(CREMAD_SENTENCES, CREMAD):
            levels = ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",)
            for level in levels:
                if missing.get(emotion, 0) > 0:
                    missing[emotion] -= 1
                else:
                    write(root / "AudioWAV" / f"{actor}_{sentence}_{emotion}_{level}.wav")
    write(root / "AudioMP3" / "1001_DFA_ANG_XX.mp3", b"not to be heard")


def write_emodb(root: Path, counts: Mapping[str, int] = EMODB) -> None:
    """``wav`` with ``counts`` files of each letter, by the speakers in turn, and ``labsil`` with a label file."""
    for letter, count in counts.items():
        for number in range(count):
            speaker = EMODB_SPEAKERS[number % 10]
            sentence = EMODB_SENTENCES[number // 10 % 10]
            version = "abc"[number // 100]
            write(root / "wav" / f"{speaker}{sentence}{letter}{version}.wav", noise(number % 10))
    (root / "labsil").mkdir(exist_ok=True)
    (root / "labsil" / "03a01Fa.labsil").write_text("0.1 123 F")


def emobox_line(key: str, dataset: str, wav: str, emo: str) -> str:
    return json.dumps(
        {
            "key": key,
            "dataset": dataset,
            "wav": wav,
            "type": "raw",
            "sample_rate": 16000,
            "num_frame": 160.0,
            "task": "category",
            "length": 0.01,
            "emo": emo,
            "channel": 1,
        }
    )


def write_emobox(root: Path, dataset: str, lines: Sequence[str], folds: Sequence[Mapping[str, Sequence[int]]]) -> Path:
    """``data/<dataset>`` in a clone of EmoBox. A fold maps each part to indices of ``lines``."""
    folder = root / "data" / dataset
    folder.mkdir(parents=True)
    (folder / f"{dataset}.jsonl").write_text("".join(line + "\n" for line in lines))
    (folder / f"{dataset}.json").write_text("{}")
    for number, fold in enumerate(folds, start=1):
        (folder / f"fold_{number}").mkdir()
        for part, indices in fold.items():
            text = "".join(lines[index] + "\n" for index in indices)
            (folder / f"fold_{number}" / f"{dataset}_{part}_fold_{number}.jsonl").write_text(text)
    return folder


def write_emobox_emodb(root: Path) -> Path:
    """EmoDB in EmoBox: five folds, all speakers in both parts of each, and files of an older format."""
    lines = []
    for speaker, (emotion, letter) in itertools.product(EMODB_SPEAKERS, EMOBOX_EMODB.items()):
        name = f"{speaker}a01{letter}a"
        wav = f"downloads/emodb/wav/{name}.wav"
        write(root / wav)
        lines.append(emobox_line(f"emodb-{name}", "emodb", wav, emotion))
    numbers = range(len(lines))
    folds = [
        {"test": [n for n in numbers if n % 5 == fold], "train": [n for n in numbers if n % 5 != fold]}
        for fold in range(5)
    ]
    folder = write_emobox(root, "emodb", lines, folds)
    (folder / "label_map.json").write_text(json.dumps(EMOBOX_EMODB_MAP))
    for number in range(1, 6):
        old = json.dumps({"key": "emodb-03a01Wa", "audio": "downloads/emodb/wav/03a01Wa.wav", "label": "anger"})
        (folder / f"fold_{number}" / f"emodb_test_fold{number}.jsonl").write_text(old)
    return folder


def write_emobox_emovo(root: Path) -> Path:
    """EMOVO in EmoBox: a fold for each of its six actors, and a label map with another name."""
    lines = []
    actors = [f"{sex}{number}" for sex in "fm" for number in (1, 2, 3)]
    for actor, emotion in itertools.product(actors, EMOVO):
        wav = f"downloads/emovo/{actor}/{emotion}-{actor}-b1.wav"
        write(root / wav)
        lines.append(emobox_line(f"emovo-{emotion}-{actor}-b1", "emovo", wav, emotion))
    actor_of = [line.split("-")[2] for line in lines]
    folds = [
        {
            "test": [n for n, who in enumerate(actor_of) if who == actor],
            "train": [n for n, who in enumerate(actor_of) if who != actor],
        }
        for actor in actors
    ]
    folder = write_emobox(root, "emovo", lines, folds)
    (folder / "label_dict.json").write_text(json.dumps(EMOVO))
    return folder


def write_table(root: Path, speakers: int = 5, name: str = "table.csv") -> Path:
    """A table of two classes beside a folder of audio."""
    rows = ["path,label,speaker"]
    for speaker, label in itertools.product(range(speakers), ("happy", "sad")):
        write(root / "audio" / f"{label}{speaker}.wav")
        rows.append(f"audio/{label}{speaker}.wav,{label},s{speaker}")
    (root / name).write_text("\n".join(rows) + "\n")
    return root / name


def write_folder(root: Path, speakers: Sequence[str] = ("anna", "bert", "carl", "dora", "emil")) -> None:
    """``happy/anna/1.wav`` and so on, with other files between them."""
    for label, speaker, take in itertools.product(("happy", "sad"), speakers, (1, 2)):
        write(root / label / speaker / f"{take}.wav")
    (root / "readme.txt").write_text("Recorded in May.")
    write(root / "__MACOSX" / "happy" / "anna" / "1.wav", b"junk")
    write(root / ".cache" / "1.wav", b"junk")


def write_nemo(root: Path) -> None:
    """``data.tsv`` and ``samples``, as in the repository amu-cai/nEMO: nine actors, six emotions, one sentence."""
    rows = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for number, emotion in itertools.product(range(9), NEMO):
        name = f"SP{number}_{emotion}_64.wav"
        write(root / "samples" / name)
        rows.append(f"{name}\t{emotion}\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\tSP{number}\tmale\t23")
    (root / "data.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "README.md").write_text("# nEMO: Dataset of Emotional Speech in Polish")


def write_subesco(root: Path) -> None:
    """``F_01_OISHI_S_2_ANGRY_3.wav`` and so on; one name ends with a bracket before ``.wav``."""
    for speaker, label in itertools.product(SUBESCO_SPEAKERS, SUBESCO):
        bracket = "]" if (speaker, label) == ("F_02_MONIKA", "SURPRISE") else ""
        write(root / f"{speaker}_S_2_{label}_3{bracket}.wav")


def write_urdu(root: Path) -> None:
    """``Angry/SF1_F1_A01.wav`` and so on, as in the repository siddiquelatif/URDU-Dataset."""
    for label, number in itertools.product(("Angry", "Happy", "Neutral", "Sad"), range(1, 7)):
        write(root / label / f"S{'MF'[number % 2]}{number}_F{number}_{label[0]}0{number}.wav")
    (root / "README.md").write_text("# URDU-Dataset")


def write_emovo(root: Path) -> None:
    """``f1/gio-f1-b1.wav`` and so on, in stereo: the second channel is the first one half a millisecond later."""
    wave = 0.1 * np.random.default_rng(0).normal(size=4800)
    stereo = io.BytesIO()
    soundfile.write(stereo, np.stack([wave, np.roll(wave, 24)], axis=1), 48_000, format="WAV")
    for sex, number, label in itertools.product("fm", (1, 2, 3), EMOVO):
        write(root / f"{sex}{number}" / f"{label}-{sex}{number}-b1.wav", stereo.getvalue())
    (root / "documenti").mkdir()
    (root / "documenti" / "frasi.txt").write_text("Gli operai si alzano presto.")
