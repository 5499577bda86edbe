"""Build a manifest from the rows of a reader: find classes, form speaker groups, and read the audio."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .. import config
from ..audio.reading import measure
from ..utils.atomic_files import file_sha256
from ..utils.errors import RecipeError, raise_problems
from ..utils.names import check_name, check_path_name, clean_name, is_missing
from .folders import audio_files
from .label_maps import LabelMap, classes_of
from .manifest import Manifest, Style, Utterance, alike_names
from .speaker_groups import group_speakers

_LFS = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Row:
    """A recording as a reader found it."""

    id: str
    path: Path
    label: str  # the label of the corpus, not yet a class
    speaker: str
    session: str = ""  # if empty, the speaker group is used
    where: str = ""  # file and line, for messages; empty if there is none

    def cleaned(self) -> Row:
        """The row with a clean label, speaker and session; see :func:`.names.clean_name`."""
        return replace(
            self, label=clean_name(self.label), speaker=clean_name(self.speaker), session=clean_name(self.session)
        )


def named_files(
    root: Path, name: re.Pattern[str], example: str, problems: list[str]
) -> list[tuple[Path, re.Match[str]]]:
    """The recordings below a folder that are named by a pattern, and the matches of their names.

    Identical copies with the same name are skipped, because some downloads contain a folder twice. Different files with
    the same name, other names, and a folder without recordings are added to ``problems``.

    Args:
        root: The folder.
        name: The pattern of a name without the extension.
        example: A file name, for messages.
        problems: Receives the messages.
    """
    first: dict[str, Path] = {}
    for path in audio_files(root):
        other = first.setdefault(path.stem, path)
        if other is not path and file_sha256(other) != file_sha256(path):
            problems.append(f"the files {other} and {path} have the same name but differ: keep one")
    found = [(path, match) for path in first.values() if (match := name.fullmatch(path.stem))]
    problems += [
        f"the file {path} is not named like {example}" for path in first.values() if not name.fullmatch(path.stem)
    ]
    if not first:
        problems.append(f"the corpus folder {root} contains no recordings named like {example}")
    return found


def make_manifest(
    rows: Sequence[Row],
    problems: Sequence[str],
    corpus: config.Corpus,
    *,
    own: LabelMap | None = None,
    genders: Mapping[str, str] | None = None,
) -> Manifest:
    """Leave out the rows without a class, read the audio of the others, and sort them by session and id.

    Args:
        rows: The recordings.
        problems: Problems that the reader found.
        corpus: The settings of the corpus.
        own: The corpus's label map, as for :func:`.label_maps.classes_of`. Default: none.
        genders: The gender of each speaker. Default: unknown.
    Raises:
        RecipeError: If the reader found problems, there are no rows with a class, labels are not in the label map, ids
            occur twice, names are missing, invalid or look alike, there are fewer speakers than groups, or audio is
            missing or damaged. The message lists up to 20 problems.
    """
    rows = [row.cleaned() for row in rows]
    problems = [
        *problems,
        *_repeated_ids(rows),
        *_missing_names(rows, {**(own or {}), **(corpus.label_map or {})}),
        *_invalid_names(rows),
    ]
    problems += alike_names(rows, ())
    try:
        kept, labels = _classified(rows, corpus, own)
    except RecipeError as error:
        raise_problems(problems if problems and not rows else [*problems, str(error)])
        raise
    said = Counter(row.speaker for row, _ in kept if not row.session)
    groups = group_speakers(said, corpus.groups, genders)
    utterances = []
    for row, label in kept:
        try:
            utterances.append(read_utterance(row.path, row.id, label, row.speaker, row.session or groups[row.speaker]))
        except RecipeError as error:
            problems.append(f"{row.where}: {error}" if row.where else str(error))
    raise_problems(problems)
    return Manifest(tuple(sorted(utterances, key=lambda utterance: (utterance.session, utterance.id))), labels)


def read_utterance(
    path: Path,
    id: str,
    label: str,
    speaker: str,
    session: str,
    *,
    start: float = 0.0,
    end: float | None = None,
    style: Style = "",
) -> Utterance:
    """Decode a recording to its end, hash its file, and describe it as an utterance.

    The arguments are fields of :class:`Utterance`. Default of ``end``: the duration.

    Raises:
        RecipeError: As :func:`.measure`; also if the file is a pipe or a git-lfs pointer.
    """
    if path.is_fifo():
        raise RecipeError(f"the audio file {path} must be a regular file, got a pipe")  # it is read twice
    try:
        found = measure(path)
    except RecipeError:
        with suppress(OSError):  # an unreadable file, or a file in /proc
            if path.is_file() and 0 < path.stat().st_size < 1024 and path.read_bytes().startswith(_LFS):
                raise RecipeError(
                    f"{path} is a git-lfs pointer, not audio: fetch the file with 'git lfs pull'"
                ) from None
        raise
    return Utterance(
        id=id,
        path=path,
        label=label,
        speaker=speaker,
        session=session,
        start=start,
        end=found.samples / found.sample_rate if end is None else end,
        samples=found.samples,
        sample_rate=found.sample_rate,
        sha256=file_sha256(path),
        style=style,
        channels=found.channels,
        correlation=None if found.correlation is None else round(found.correlation, 3),
        cancels=found.cancels,
    )


def _classified(
    rows: Sequence[Row], corpus: config.Corpus, own: LabelMap | None
) -> tuple[list[tuple[Row, str]], tuple[str, ...]]:
    if not rows:
        raise RecipeError(f"{corpus.path} contains no speech that can be read by the reader {corpus.reader}")
    classes, labels = classes_of(Counter(row.label for row in rows), own, corpus.label_map)
    kept = [(row, label) for row in rows if (label := classes[row.label]) is not None]
    if not kept:
        raise RecipeError(
            f"the label map must keep at least one label of {corpus.path}, got null for {', '.join(sorted(classes))}"
        )
    return kept, labels


def _repeated_ids(rows: Sequence[Row]) -> list[str]:
    first: dict[str, Row] = {}
    return [
        f"{row.where or row.path}: the utterance {row.id} already occurs in {other.where or other.path}"
        for row in rows
        if (other := first.setdefault(row.id, row)) is not row
    ]


def _missing_names(rows: Sequence[Row], named: LabelMap) -> list[str]:
    """Problems of labels, speakers and sessions that are missing values.

    Labels in the label map and empty sessions are valid.
    """
    found = []
    for row in rows:
        where = row.where or row.path
        if is_missing(row.label) and row.label not in named:
            found.append(
                f"{where}: label must not be a missing value, got {row.label!r}: correct it or name it in the label map"
            )
        if is_missing(row.speaker):
            found.append(f"{where}: speaker must not be a missing value, got {row.speaker!r}")
        if row.session and is_missing(row.session):
            found.append(f"{where}: session must not be a missing value, got {row.session!r}")
    return found


def _invalid_names(rows: Sequence[Row]) -> list[str]:
    """Problems of speakers and sessions that cannot be folder names, and of labels that are not one short line."""
    problems = []
    first: dict[tuple[str, str], Row] = {}
    for row in rows:
        for named in (("label", row.label), ("speaker", row.speaker), ("session", row.session)):
            first.setdefault(named, row)
    for (what, name), row in first.items():
        try:
            if name:  # a session may be empty; _missing_names reports other empty names
                (check_name if what == "label" else check_path_name)(name, what)
        except RecipeError as error:
            problems.append(f"{row.where or row.path}: {error}")
    return problems
