"""A folder in the layout of IEMOCAP with silent recordings and the published counts, or one dialog of it.

The counts of the four classes are the published ones. They are repeated here so that they do not come from the reader.
"""

from __future__ import annotations

import io
import random
import wave
from collections.abc import Sequence
from pathlib import Path

LEFT_OUT = ("xxx", "fru", "sur", "fea", "oth", "dis")
EMOTIONS = ("hap", "exc", "ang", "sad", "neu", *LEFT_OUT)

COUNTS = {  # utterances by session, in the order of EMOTIONS; the split of LEFT_OUT into sessions is made up
    1: (135, 143, 229, 194, 384, 510, 280, 22, 8, 1, 0),
    2: (117, 210, 137, 197, 362, 480, 325, 21, 8, 0, 1),
    3: (135, 151, 240, 305, 320, 530, 382, 21, 8, 1, 0),
    4: (65, 238, 327, 143, 258, 470, 481, 21, 8, 0, 1),
    5: (143, 299, 170, 245, 384, 517, 381, 22, 8, 1, 0),
}
IMPROVISED = {1: 577, 2: 544, 3: 612, 4: 549, 5: 661}  # of the four classes; only the sum of 2943 is published

_IMPROVISED_DIALOGS = tuple(f"impro{number:02d}" for number in range(1, 8))
_SCRIPTED_DIALOGS = ("script01_1", "script01_1b", "script01_2", "script01_3", "script02_1", "script02_2", "script03_1")


def write_iemocap(root: Path) -> None:
    """The whole tree: 5531 utterances of the four classes and 4508 others, in 140 dialogs."""
    generator = random.Random(0)
    for session, counts in COUNTS.items():
        turns = [emotion for emotion, count in zip(EMOTIONS, counts, strict=True) for _ in range(count)]
        generator.shuffle(turns)
        kept = [emotion for emotion in turns if emotion not in LEFT_OUT]
        others = [emotion for emotion in turns if emotion in LEFT_OUT]
        improvised, scripted = kept[: IMPROVISED[session]], kept[IMPROVISED[session] :]
        _deal(root, session, _IMPROVISED_DIALOGS, improvised + others[::2])
        _deal(root, session, _SCRIPTED_DIALOGS, scripted + others[1::2])


def write_dialog(root: Path, session: int, name: str, emotions: Sequence[str]) -> None:
    """One dialog of both speakers in turn: 10 ms of silence per turn, labels, evaluations, hidden files of macOS.

    Turn ``k`` starts at ``k + 0.2901`` seconds and ends half a second later.
    """
    dialog = root / f"Session{session}" / "dialog"
    evaluation = dialog / "EmoEvaluation"
    audio = root / f"Session{session}" / "sentences" / "wav" / name
    for folder in (evaluation / "Categorical", dialog / "transcriptions", audio):
        folder.mkdir(parents=True, exist_ok=True)
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn, emotion in enumerate(emotions):
        id = f"{name}_{'FM'[turn % 2]}{turn // 2:03d}"
        lines += [
            f"[{turn}.2901 - {turn}.7901]\t{id}\t{emotion}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "C-F1:\tNeutral; Anger;\t(mad\x92)",
            "A-E3:\tval 3; act 2; dom  2;\t()",
            "W-E2:\tNeutral state;\t()",
            "",
        ]
        (audio / f"{id}.wav").write_bytes(_SILENCE)
    (evaluation / f"{name}.txt").write_text("\n".join(lines), encoding="latin-1")
    (evaluation / "Categorical" / f"{name}_e2_cat.txt").write_text(f"{name}_F000 :Neutral state; ()\n")
    (dialog / "transcriptions" / f"{name}.txt").write_text(f"{name}_F000 [000.2901-000.7901]: Excuse me.\n")
    for leftover in (evaluation / f"._{name}.txt", audio / f"._{name}_F000.wav"):
        leftover.write_bytes(b"\0\5\x16\7[\xff")


def _deal(root: Path, session: int, dialogs: Sequence[str], emotions: Sequence[str]) -> None:
    names = [f"Ses0{session}{markers}_{dialog}" for markers in "FM" for dialog in dialogs]
    for number, name in enumerate(names):
        write_dialog(root, session, name, emotions[number :: len(names)])


def _silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(16_000)
        audio.writeframes(bytes(2 * 160))
    return file.getvalue()


_SILENCE = _silence()
