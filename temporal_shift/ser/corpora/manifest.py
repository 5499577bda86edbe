"""The manifest: the utterances and classes of a corpus, and the JSON lines file of the utterances."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import ConfigDict, Field, FiniteFloat

from ..audio.samples import MAX_RATE
from ..config import Channel
from ..utils.atomic_files import write_bytes
from ..utils.errors import RecipeError, raise_problems
from ..utils.names import LocalPath, Name, PathName, is_missing, look_alike_problems
from ..utils.text_files import json_lines, read_text

_Name = Annotated[str, Field(min_length=1)]
_Seconds = Annotated[FiniteFloat, Field(ge=0)]
_Count = Annotated[int, Field(gt=0, le=2**53)]


Style = Literal["improvised", "scripted", ""]


@dataclass(frozen=True, slots=True)
class Utterance:
    """A labelled recording: one audio file, which can be a turn of a conversation.

    Attributes:
        id: A name that is unique in the manifest.
        path: The audio file, an absolute path.
        label: The class.
        speaker: The speaker.
        session: The session, or the group of speakers that replaces it.
        start: Start in the conversation, in seconds; 0 without a conversation.
        end: End in the conversation, in seconds; the duration without a conversation.
        samples: Number of samples of each channel.
        sample_rate: Sample rate of the file in Hz.
        sha256: SHA-256 of the file, hexadecimal.
        style: ``"improvised"``, ``"scripted"``, or empty if unknown.
        channels: Number of channels; ``None`` (default) in manifests of earlier versions.
        correlation: The lowest correlation of two channels with sound, in [-1, 1]; ``None`` (default) if fewer than
            two have sound, and in manifests of earlier versions.
        cancels: Whether the channels cancel each other in their mean. Default: ``False``.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid")

    id: _Name
    path: LocalPath
    label: Name
    speaker: PathName  # the results of a fold are in a folder with the name of its session or speaker
    session: PathName
    start: _Seconds
    end: _Seconds
    samples: _Count
    sample_rate: Annotated[int, Field(gt=0, le=MAX_RATE)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    style: Style
    channels: _Count | None = None
    correlation: Annotated[FiniteFloat, Field(ge=-1, le=1)] | None = None
    cancels: bool = False

    @property
    def seconds(self) -> float:
        """Duration of the whole recording in seconds."""
        return self.samples / self.sample_rate


@dataclass(frozen=True, slots=True)
class Manifest:
    """The utterances of a corpus in a fixed order.

    Attributes:
        utterances: The utterances.
        labels: The classes, in the order of the model's outputs.
        channel: The channel that is read: ``"mean"`` (default), or a number, counted from 0.

    Raises:
        RecipeError: If there is no utterance, an id occurs twice, a label is not among the classes, or names of
            speakers, sessions or classes look alike.
    """

    utterances: tuple[Utterance, ...]
    labels: tuple[str, ...]
    channel: Channel = "mean"

    def __post_init__(self) -> None:
        if not self.utterances:
            raise RecipeError("the manifest must contain utterances, got none")
        seen: set[str] = set()
        for utterance in self.utterances:
            if utterance.id in seen:
                raise RecipeError(f"the utterance {utterance.id} occurs twice")
            if utterance.label not in self.labels:
                raise RecipeError(
                    f"the label of the utterance {utterance.id} must be one of {', '.join(self.labels)}, got "
                    f"{utterance.label!r}"
                )
            seen.add(utterance.id)
        raise_problems(alike_names(self.utterances, self.labels))

    def count(self, *fields: str) -> Counter[Any]:
        """Count utterances by the value of a field, or by the values of several: ``count("session", "label")``."""
        return Counter(map(attrgetter(*fields), self.utterances))

    @property
    def minutes(self) -> float:
        """Duration of all recordings in minutes."""
        return sum(utterance.seconds for utterance in self.utterances) / 60


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write one utterance per line, with the fields of :class:`Utterance` as keys. The file is replaced atomically.

    Fields that are ``None`` or ``False`` are omitted. The manifest's ``labels`` and ``channel`` are not written. Paths
    of audio below the file's folder are relative to this folder, so that the folder can be moved.

    Args:
        manifest: The manifest.
        path: The file to write.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> audio = Path("/corpus/anna-1.wav")
        >>> speech = Utterance("anna-1", audio, "happy", "anna", "anna", 0.0, 1.5, 24000, 16000, "0" * 64, "")
        >>> manifest = Manifest((speech,), ("happy",))
        >>> with TemporaryDirectory() as folder:
        ...     write_manifest(manifest, Path(folder, "manifest.jsonl"))
        ...     read_manifest(Path(folder, "manifest.jsonl")) == manifest
        True
    """
    write_bytes(path, manifest_content(manifest, path))


def manifest_content(manifest: Manifest, path: Path) -> bytes:
    """Return the bytes that :func:`write_manifest` writes to ``path``."""
    folder = path.resolve().parent
    rows = []
    for utterance in manifest.utterances:
        below = utterance.path.is_relative_to(folder)
        audio = utterance.path.relative_to(folder) if below else utterance.path
        known = {key: value for key, value in asdict(utterance).items() if value is not None and value is not False}
        rows.append({**known, "path": audio.as_posix()})
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def read_manifest(path: Path, labels: Sequence[str] | None = None, *, check_audio: bool = False) -> Manifest:
    """Read a file in the format of :func:`write_manifest`.

    Args:
        path: The file. Relative paths of audio in it are relative to its folder.
        labels: The classes, in the order of the model's outputs. Default: all labels, sorted.
        check_audio: Whether each audio file must exist. Default: ``False``.
    Returns:
        The manifest, with the channel ``"mean"``.
    Raises:
        RecipeError: If the file cannot be read, is not JSON lines or contains no utterance, a line has missing, unknown
            or invalid fields, an id occurs twice, a label is not in ``labels``, names of speakers, sessions or classes
            look alike, or, with ``check_audio``, a path is not a file. The message lists up to 20 problems, a problem
            of a line with the file and the line.
    """
    text = read_text(path, "manifest")
    first_line = text.lstrip().partition("\n")[0]
    if first_line and (first_line[0] != "{" or ('"label"' in first_line and '"sha256"' not in first_line)):
        raise RecipeError(
            f"the manifest {path} must be JSON lines written by prepare, got another file: to make a manifest from a "
            f"table, run temporal-shift ser prepare table {path}"
        )
    folder = path.resolve().parent
    utterances: list[Utterance] = []
    first: dict[str, str] = {}  # file and line of the first utterance with each id
    problems: list[str] = []
    for where, utterance in json_lines(text, path, Utterance, problems):
        problems += [f"{where}: {reason}" for reason in _problems_of(utterance, labels, first)]
        first.setdefault(utterance.id, where)
        utterances.append(replace(utterance, path=folder / utterance.path))
        if check_audio and not utterances[-1].path.is_file():
            audio = utterances[-1].path
            kind = "folder" if audio.is_dir() else "device or pipe"
            got = f"got the {kind} {audio}" if audio.exists() else f"but {audio} does not exist"
            problems.append(f"{where}: path must be an audio file, {got}")
    problems += [f"{path}: {problem}" for problem in alike_names(utterances, labels or ())]
    raise_problems(problems)
    if not utterances:
        raise RecipeError(f"the manifest {path} must contain utterances, got none")
    return Manifest(tuple(utterances), tuple(labels or sorted({utterance.label for utterance in utterances})))


class _Named(Protocol):
    """An utterance, or the row of a reader."""

    @property
    def speaker(self) -> str: ...
    @property
    def session(self) -> str: ...


def alike_names(rows: Iterable[_Named], labels: Iterable[str]) -> list[str]:
    """One sentence for each kind of name (speakers, sessions, labels) in which names look alike."""
    rows = list(rows)
    return [
        *look_alike_problems("speakers", (row.speaker for row in rows), "give each person one name"),
        *look_alike_problems("sessions", (row.session for row in rows), "give each session one name"),
        *look_alike_problems("labels", labels, "give them one class in the label map"),
    ]


def _problems_of(utterance: Utterance, labels: Sequence[str] | None, first: Mapping[str, str]) -> list[str]:
    reasons = []
    if utterance.id in first:
        reasons.append(f"the utterance {utterance.id} already occurs in {first[utterance.id]}")
    if labels is not None and utterance.label not in labels:
        reasons.append(f"label must be one of {', '.join(labels)}, got {utterance.label!r}")
    elif labels is None and is_missing(utterance.label):
        reasons.append(f"label must not be a missing value, got {utterance.label!r}: give it a class")
    if is_missing(utterance.speaker):
        reasons.append(f"speaker must not be a missing value, got {utterance.speaker!r}")
    if utterance.end < utterance.start:
        reasons.append(f"end must be at least the start, {utterance.start}, got {utterance.end}")
    return reasons
