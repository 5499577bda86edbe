"""IEMOCAP as its publishers unpack it, with the field's four classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..audio import duration
from ..errors import RecipeError
from ..manifest import Manifest, Utterance

LABELS = ("happy", "angry", "sad", "neutral")

_EMOTIONS = {"hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad", "neu": "neutral"}
_EXTENSIONS = (".wav", ".flac", ".ogg")

# "[6.2901 - 8.2357]<tab>Ses01F_impro01_F000<tab>neu<tab>[2.5, 2.5, 2.5]": the majority vote on one utterance. Below it
# stand the evaluators' own lines, which start with C- or A-.
_VOTE = re.compile(r"\[[^\]]*\]\t(?P<id>(?P<pair>Ses\d+)\w*_(?P<gender>[FM])\w*)\t(?P<emotion>\w+)\t")


def read_iemocap(root: Path) -> Manifest:
    """Read the happy (and excited), angry, sad and neutral utterances of an IEMOCAP tree, sorted by session and id.

    The tree is ``Session1/dialog/EmoEvaluation/Ses*.txt`` and ``Session1/sentences/wav/<dialog>/<utterance>.wav``
    (or ``.flac``, or ``.ogg``), and so for each session. A speaker is a session's woman or man: ``Ses01F``, ``Ses01M``.

    Raises:
        RecipeError: If the folder or its sessions are missing, a label line cannot be read, or the audio of a labelled
            utterance is missing, ambiguous or unreadable.
    """
    root = root.resolve()
    if not root.is_dir():
        raise RecipeError(f"there is no corpus folder {root}")
    sessions = sorted(path for path in root.glob("Session*") if re.fullmatch(r"Session\d+", path.name))
    if not sessions:
        raise RecipeError(f"the corpus folder {root} has no Session1, Session2, ...: is it the IEMOCAP folder itself?")
    utterances = [utterance for session in sessions for utterance in _read_session(session)]
    if not utterances:
        raise RecipeError(f"no file {root}/Session*/dialog/EmoEvaluation/Ses*.txt labels an utterance {_classes()}")
    return Manifest(tuple(sorted(utterances, key=lambda utterance: (utterance.session, utterance.id))), LABELS)


def _read_session(session: Path) -> Iterator[Utterance]:
    evaluation = session / "dialog" / "EmoEvaluation"
    if not evaluation.is_dir():
        raise RecipeError(f"the corpus folder has no {evaluation}, where the labels of {session.name} should be")
    for dialog in evaluation.glob("Ses*.txt"):  # not macOS's "._Ses*.txt"
        lines = dialog.read_text(encoding="utf-8", errors="replace").splitlines()  # comments can be in any encoding
        for number, line in enumerate(lines, start=1):
            if not line.startswith("["):
                continue
            vote = _VOTE.match(line)
            if vote is None:
                raise RecipeError(f"line {number} of {dialog} is not '[start - end]<tab>utterance<tab>emotion<tab>...'")
            if vote["emotion"] not in _EMOTIONS:
                continue
            audio = _find_audio(session / "sentences" / "wav" / dialog.stem, vote["id"])
            yield Utterance(
                id=vote["id"],
                path=audio,
                label=_EMOTIONS[vote["emotion"]],
                speaker=vote["pair"] + vote["gender"],
                session=session.name,
                seconds=duration(audio),
            )


def _find_audio(folder: Path, utterance: str) -> Path:
    found = [path for extension in _EXTENSIONS if (path := folder / (utterance + extension)).is_file()]
    if not found:
        raise RecipeError(f"the utterance {utterance} is labelled but has no audio file {folder / utterance}.wav")
    if len(found) > 1:
        raise RecipeError(f"the utterance {utterance} has two audio files, {found[0]} and {found[1].name}: keep one")
    return found[0]


def _classes() -> str:
    return f"{', '.join(LABELS[:-1])} or {LABELS[-1]}"
