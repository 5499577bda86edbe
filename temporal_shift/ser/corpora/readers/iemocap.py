"""Read IEMOCAP as its publishers distribute it, by default with the usual four classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...utils.errors import RecipeError, raise_problems, shortened
from ..folders import corpus_folder, sorted_entries
from ..label_maps import LabelMap, classes_of, shipped_map
from ..manifest import Manifest, Style, Utterance
from ..manifest_builder import read_utterance
from ..published_counts import PublishedAudio, PublishedCounts

NAME = re.compile(r"Ses\d\d[FM]_(impro|script)\w+_[FM]\d+", re.ASCII)  # an utterance's id
LABELS = ("happy", "angry", "sad", "neutral")

_EXTENSIONS = (".wav", ".flac", ".ogg")
_STYLES: dict[str, Style] = {"impro": "improvised", "script": "scripted"}  # by a part of the dialog's name

_BY_SESSION = {  # utterances, in the order of LABELS
    "Session1": (278, 229, 194, 384),
    "Session2": (327, 137, 197, 362),
    "Session3": (286, 240, 305, 320),
    "Session4": (303, 327, 143, 258),
    "Session5": (442, 170, 245, 384),
}
PUBLISHED = PublishedCounts(
    "IEMOCAP",
    10,
    {
        (session, label): count
        for session, counts in _BY_SESSION.items()
        for label, count in zip(LABELS, counts, strict=True)
    },
    PublishedAudio(16_000, hours=7.0),
)

# "[6.2901 - 8.2357]<tab>Ses01F_impro01_F000<tab>neu<tab>[2.5, 2.5, 2.5]": the majority vote on one utterance. The lines
# of the evaluators follow it; they start with C-, A- or W-.
_VOTE = re.compile(
    r"\[(?P<start>\d+(\.\d+)?) - (?P<end>\d+(\.\d+)?)\]\t"
    r"(?P<id>(?P<pair>Ses\d+)\w*_(?P<gender>[FM])\w*)\t(?P<emotion>\w+)\t",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the label file of a dialog."""

    dialog: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.dialog}, line {self.number}"


def read_iemocap(root: Path, label_map: LabelMap | None = None) -> Manifest:
    """Read the happy (and excited), angry, sad and neutral utterances of an IEMOCAP tree, sorted by session and id.

    The tree contains ``Session1/dialog/EmoEvaluation/Ses*.txt`` and ``Session1/sentences/wav/<dialog>/<utterance>.wav``
    (or ``.flac``, or ``.ogg``), and the same for the other sessions. Each session has two speakers, such as ``Ses01F``
    and ``Ses01M``. Nothing is written to the tree.

    Args:
        root: The folder that contains ``Session1``.
        label_map: Replaces the four classes. Its keys are the corpus's codes (``hap``, ``fru``, ...) or these classes,
            its values are classes, or ``None`` to leave utterances out. Default: ``None``, the four classes.
    Raises:
        RecipeError: If the folder or its sessions are missing, label files or lines cannot be read, labels are not in
            the label map, an utterance is labelled twice, no utterance has a class, or the audio of an utterance with
            a class is missing, ambiguous or unreadable. For problems of lines, the message names the label file and
            the line.
    """
    root = corpus_folder(root)
    sessions = [path for path in sorted_entries(root) if re.fullmatch(r"Session[0-9]+", path.name)]
    if not sessions:
        raise RecipeError(
            f"the corpus folder {root} must contain Session1, Session2, ..., got none: is it the IEMOCAP folder itself?"
        )
    lines = {session: list(_votes(_evaluation(session))) for session in sessions}
    codes = Counter(vote["emotion"] for each in lines.values() for line in each if (vote := _VOTE.match(line.text)))
    classes, labels = classes_of(codes, shipped_map("iemocap"), label_map)
    problems: list[str] = []
    utterances: list[Utterance] = []
    first: dict[str, _Line] = {}  # the first line of each id
    for session in sessions:
        if not _evaluation(session).is_dir():
            problems.append(f"the corpus has no {_evaluation(session)}, where the labels of {session.name} should be")
        for line in lines[session]:
            try:
                vote = _parsed(line, first)
                if (label := classes[vote["emotion"]]) is not None:
                    dialog, id = line.dialog.stem, vote["id"]
                    path = _find_audio(session / "sentences" / "wav" / dialog, id)
                    style: Style = next((style for part, style in _STYLES.items() if part in dialog), "")
                    speaker, start, end = vote["pair"] + vote["gender"], float(vote["start"]), float(vote["end"])
                    utterances.append(
                        read_utterance(path, id, label, speaker, session.name, start=start, end=end, style=style)
                    )
            except RecipeError as error:
                problems.append(f"{line}: {error}")
    raise_problems(problems)
    if not utterances:
        raise RecipeError(
            f"{root}/Session*/dialog/EmoEvaluation/Ses*.txt must contain utterances of the classes "
            f"{', '.join(labels)}, got none"
        )
    return Manifest(tuple(sorted(utterances, key=lambda utterance: (utterance.session, utterance.id))), labels)


def _evaluation(session: Path) -> Path:
    return session / "dialog" / "EmoEvaluation"


def _votes(evaluation: Path) -> Iterator[_Line]:
    dialogs = sorted_entries(evaluation) if evaluation.is_dir() else []
    for dialog in dialogs:
        if not re.fullmatch(r"Ses.*\.txt", dialog.name):  # skip other files, such as macOS's "._Ses*.txt"
            continue
        try:
            text = dialog.read_text(encoding="utf-8", errors="replace")  # comments can be in any encoding
        except OSError as error:
            raise RecipeError(f"the label file {dialog} cannot be read: {error.strerror}") from None
        for number, line in enumerate(text.split("\n"), start=1):
            if line.startswith("["):
                yield _Line(dialog, number, line)


def _parsed(line: _Line, first: dict[str, _Line]) -> re.Match[str]:
    vote = _VOTE.match(line.text)
    if vote is None:
        raise RecipeError(
            f"the line must be '[start - end]<tab>utterance<tab>emotion<tab>...', got {shortened(line.text)}"
        )
    if vote["id"] in first:
        raise RecipeError(f"the utterance {vote['id']} already occurs in {first[vote['id']]}")
    first[vote["id"]] = line
    if float(vote["end"]) < float(vote["start"]):
        raise RecipeError(
            f"the end of the utterance {vote['id']} must be at least its start, {vote['start']} s, got {vote['end']} s"
        )
    return vote


def _find_audio(folder: Path, utterance: str) -> Path:
    found = [path for extension in _EXTENSIONS if (path := folder / (utterance + extension)).is_file()]
    if not found:
        raise RecipeError(
            f"the utterance {utterance} is labelled but has no audio file {folder / utterance}.wav (or .flac, .ogg)"
        )
    if len(found) > 1:
        raise RecipeError(
            f"the utterance {utterance} must have one audio file, got {found[0]} and {found[1].name}: keep one"
        )
    return found[0]
