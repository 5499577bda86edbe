"""Compare a manifest with the published counts and durations of its corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..utils.wording import counted
from .manifest import Manifest

_WHOLE = "the corpus"
_SLACK = 0.02  # seconds: published durations are rounded


@dataclass(frozen=True, slots=True)
class PublishedAudio:
    """The recordings of a corpus as published."""

    sample_rate: int  # Hz
    hours: float  # total duration, rounded to one decimal, as in EmoBox's README
    seconds: tuple[float, float] | None = None  # shortest and longest duration, if published

    def differences(self, manifest: Manifest, is_complete: bool) -> list[str]:
        """A sentence for each property of the recordings that differs from the published one.

        Args:
            manifest: The corpus as read.
            is_complete: Whether the manifest has all utterances, so that the total duration can be compared.
        """
        found = []
        durations = [utterance.seconds for utterance in manifest.utterances]
        other = Counter(each.sample_rate for each in manifest.utterances if each.sample_rate != self.sample_rate)
        if other:
            rates = " and ".join(f"{rate} Hz" for rate in sorted(other))
            found.append(
                f"{other.total()} of {len(durations)} recordings have {rates}, the published ones {self.sample_rate} Hz"
            )
        shortest, longest = min(durations), max(durations)
        if len(durations) > 1 and longest - shortest < 1 / max(each.sample_rate for each in manifest.utterances):
            found.append(f"all recordings last {longest:.2f} s; in the published corpus the durations differ")
        if self.seconds is not None:
            low, high = self.seconds
            outside = sum(not low - _SLACK <= each <= high + _SLACK for each in durations)
            if outside:
                found.append(
                    f"{outside} of {len(durations)} recordings last less than {low:.2f} s or more than {high:.2f} s, "
                    "the shortest and the longest of the published corpus"
                )
        hours = sum(durations) / 3600
        if is_complete and abs(hours - self.hours) > 0.05 + 1e-9:
            found.append(f"the recordings last {hours:.2f} h in total, the published ones {self.hours} h")
        return found


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """The counts and recordings of a corpus as published."""

    name: str  # name of the corpus
    speakers: int  # number of speakers
    cells: Mapping[tuple[str, str], int]  # utterances by session and class; without sessions, the session is empty
    audio: PublishedAudio

    @classmethod
    def by_class(
        cls, name: str, speakers: int, utterances: Mapping[str, int], audio: PublishedAudio
    ) -> PublishedCounts:
        """The counts of a corpus without sessions."""
        return cls(name, speakers, {("", label): count for label, count in utterances.items()}, audio)

    @property
    def utterances(self) -> int:
        return sum(self.cells.values())

    def audio_differences(self, manifest: Manifest) -> list[str]:
        """A sentence for each property of the recordings that differs from the published one."""
        return self.audio.differences(manifest, is_complete=len(manifest.utterances) == self.utterances)

    def differences(self, manifest: Manifest) -> list[str]:
        """A sentence for each number of utterances or speakers that differs: total, by session, by class, by both."""
        if any(session for session, _ in self.cells):
            cells = manifest.count("session", "label")
        else:
            cells = Counter({("", label): count for label, count in manifest.count("label").items()})
        expected = _totals(self.cells, self.speakers)
        found = _totals(cells, len(manifest.count("speaker")))
        return [
            f"{owner} has {counted(found[owner, thing], thing)}, the published corpus {expected[owner, thing]}"
            for owner, thing in dict.fromkeys([*expected, *found])
            if found[owner, thing] != expected[owner, thing]
        ]


def _totals(cells: Mapping[tuple[str, str], int], speakers: int) -> Counter[tuple[str, str]]:
    """The counts and their sums, by keys such as ``("the corpus", "speaker")``, ``("Session1", "happy utterance")``."""
    totals = Counter({(_WHOLE, "utterance"): sum(cells.values()), (_WHOLE, "speaker"): speakers})
    for (session, _), count in cells.items():
        if session:
            totals[session, "utterance"] += count
    for (_, label), count in cells.items():
        totals[_WHOLE, f"{label} utterance"] += count
    for (session, label), count in cells.items():
        if session:
            totals[session, f"{label} utterance"] += count
    return totals
