"""Predict audio files: a prediction for each file, or one line with the reason why there is none."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audio.channels import Downmix
from ..audio.reading import read_blocks
from ..audio.resampling import SAMPLE_RATE
from ..config import Channel
from ..utils.csv_cells import csv_cell
from ..utils.errors import RecipeError
from ..utils.labels import most_likely
from ..utils.table import Table, percent
from ..utils.wording import printable
from .recognizer import Recognizer, Samples, Window, check_finite, check_length, mean_probabilities
from .remarks import remark

_MIN_HOP = 0.01  # seconds; most encoders have a frame every 0.02 s


@dataclass(frozen=True, slots=True)
class Answer:
    """The prediction for a file: the mean of the probabilities over its windows, and the most likely label."""

    file: str  # name, as given
    seconds: float  # length of the recording
    label: str
    probabilities: tuple[float, ...]  # one per class
    windows: tuple[Window, ...]  # one if the recording is not longer than a window
    warning: str = ""  # about the channels of the file

    @property
    def level(self) -> float:
        """The level of the loudest 25 ms in dBFS."""
        return max(window.level for window in self.windows)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file without a prediction, and the reason in one line."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results for several files. ``answers`` and ``refusals`` are in the order of the files."""

    model: str  # the model's name, as given
    labels: tuple[str, ...]  # the model's classes
    window: float  # length of a window in seconds
    answers: Sequence[Answer]  # one per file with a prediction
    refusals: Sequence[Refusal]  # one per file without

    @classmethod
    def of(cls, model: str, recognizer: Recognizer, results: Iterable[Answer | Refusal]) -> Outcome:
        results = list(results)
        answers = [result for result in results if isinstance(result, Answer)]
        refusals = [result for result in results if isinstance(result, Refusal)]
        return cls(model, recognizer.labels, recognizer.window, answers, refusals)

    def json(self) -> bytes:
        """One JSON document in UTF-8, with the windows of files that have several.

        Undecodable bytes in names are escaped.
        """
        files = []
        for answer in self.answers:
            whole = self._said(answer.probabilities, answer.level)
            files.append({"file": answer.file, "seconds": answer.seconds, **whole})
            if len(answer.windows) > 1:
                files[-1]["windows"] = [
                    {"start": window.start, "end": window.end, **self._said(window.probabilities, window.level)}
                    for window in answer.windows
                ]
        document = {
            "model": self.model,
            "labels": self.labels,
            "window_seconds": self.window,
            "files": files,
            "errors": [{"file": refusal.file, "reason": refusal.reason} for refusal in self.refusals],
        }
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode(errors="backslashreplace")  # escapes lone surrogates

    def csv(self, windows: bool) -> bytes:
        """A header, then one row per predicted file or, with ``windows``, one per window. Other files have no row.

        Text that a spreadsheet could run as a formula gets a leading apostrophe. Undecodable bytes in names are written
        unchanged.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(map(csv_cell, ["file", "seconds", "start", "end", "label", "remark", *self.labels]))
        for answer in self.answers:
            for part in _parts(answer, windows):
                said = (most_likely(self.labels, part.probabilities), self._remark(part))
                row = (answer.file, answer.seconds, part.start, part.end, *said, *map(_digits, part.probabilities))
                rows.writerow(map(csv_cell, row))
        return text.getvalue().encode(errors="surrogateescape")

    def table(self, windows: bool) -> Table:
        """The predictions as a table, in seconds and percent: one row per file or, with ``windows``, one per window.

        It has a column of remarks only if there are any.
        """
        parts = [(answer, part) for answer in self.answers for part in _parts(answer, windows)]
        remarks = [self._remark(part) for _, part in parts]
        rows = []
        for (answer, part), said in zip(parts, remarks, strict=True):
            shown = (f"{part.start:.2f}", f"{part.end:.2f}") if windows else (f"{answer.seconds:.2f}",)
            label = most_likely(self.labels, part.probabilities)
            beside = (said,) if any(remarks) else ()
            rows.append((answer.file, *shown, label, *beside, *map(percent, part.probabilities)))
        times = ("Start", "End") if windows else ("Seconds",)
        remark_header = ("Remark",) if any(remarks) else ()
        classes = (f"{label}, %" for label in self.labels)
        return Table(("File", *times, "Label", *remark_header, *classes), rows)

    def _said(self, probabilities: Sequence[float], level: float) -> dict[str, Any]:
        return {
            "label": most_likely(self.labels, probabilities),
            "remark": remark(self.labels, probabilities, level),
            "probabilities": dict(zip(self.labels, map(_digits, probabilities), strict=True)),
        }

    def _remark(self, part: Window) -> str:
        return remark(self.labels, part.probabilities, part.level)


def expand(names: Iterable[str], lines: Iterable[bytes]) -> Iterator[str | Refusal]:
    """Expand patterns to the matching files in sorted order, and ``-`` to the names in ``lines``.

    A pattern that is also an existing path is not expanded. A pattern leaves out folders, and gives a :class:`Refusal`
    if no file matches. Empty lines are skipped, and duplicates are kept.
    """
    for name in names:
        if name == "-":
            yield from filter(None, (os.fsdecode(line.removeprefix(BOM_UTF8).rstrip(b"\r\n")) for line in lines))
        elif glob.has_magic(name) and not os.path.lexists(name):
            found = sorted(file for file in glob.glob(name, recursive=True) if not os.path.isdir(file))
            yield from found
            if not found:
                yield Refusal(name, f"no file matches {printable(name)}")
        else:
            yield name


def answer_or_refuse(
    recognizer: Recognizer,
    file: str,
    hop: float | None = None,
    report: Callable[[float], None] = lambda seconds: None,
    channel: Channel = "mean",
) -> Answer | Refusal:
    """Predict a file.

    An invalid file, a file too large for the memory, or a probability that is not finite gives a :class:`Refusal`
    instead of an error.

    Args:
        recognizer: The model.
        file: The path of the file.
        hop: Seconds between the starts of two windows. Default: ``None``, half a window.
        report: Called after each window with the seconds processed so far. Default: does nothing.
        channel: The channel of a file that has several. Default: ``"mean"``, their mean.
    Raises:
        ValueError: If ``hop`` is less than a sample or not finite, or ``channel`` is not valid.
    """
    try:
        return _answer(recognizer, file, hop, report, Downmix(channel))
    except RecipeError as error:
        return Refusal(file, printable(str(error)))
    except MemoryError:
        return Refusal(file, printable(f"there is not enough memory for the audio file {file}"))


def check_hop(recognizer: Recognizer, hop: float | None) -> None:
    """Raise a :class:`RecipeError` if ``hop`` is below 0.01 s, or above the window, which would skip samples."""
    least = min(_MIN_HOP, recognizer.window)
    if hop is not None and not least <= hop <= recognizer.window:
        raise RecipeError(
            f"--hop must be in [{least:g}, {recognizer.window:g}] s, up to the model's window, got {hop:g}"
        )


def _answer(
    recognizer: Recognizer, file: str, hop: float | None, report: Callable[[float], None], mix: Downmix
) -> Answer:
    if not file:
        raise RecipeError("the name of a file must not be empty, got ''")  # for example an unset shell variable
    if os.path.isdir(file):
        raise RecipeError(f"{file} must be a file, got a folder: pass a pattern, such as '{Path(file, '**', '*.wav')}'")
    samples = 0

    def blocks() -> Iterator[Samples]:
        nonlocal samples
        for block in read_blocks(Path(file), channel=mix):
            samples += len(block)
            yield block

    windows = []
    for window in recognizer.windows(blocks(), hop):
        windows.append(window)
        report(window.end)
    check_length(samples, f"the audio file {file}")
    seconds = samples / SAMPLE_RATE
    probabilities = mean_probabilities(windows)
    check_finite(probabilities, f"the audio file {file}")
    label, warning = most_likely(recognizer.labels, probabilities), printable(mix.warning(file) or "")
    return Answer(file, seconds, label, probabilities, tuple(windows), warning)


def _parts(answer: Answer, windows: bool) -> Sequence[Window]:
    return answer.windows if windows else [Window(0.0, answer.seconds, answer.probabilities, answer.level)]


def _digits(share: float) -> float:
    return float(f"{share:.9g}")  # the precision of float32
