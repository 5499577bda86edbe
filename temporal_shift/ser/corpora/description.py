"""Statistics of a corpus, and properties that inflate results, for ``temporal-shift ser describe``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config import Features
from ..utils.table import Table, percent
from ..utils.wording import counted
from .caveats import mixed_channels
from .manifest import Manifest, Utterance

CLIP_SECONDS = Features().clip_seconds  # seconds, the default of experiments

_SHOWN = 20  # maximum sentences about speakers, and about duplicates


@dataclass(frozen=True, slots=True)
class Description:
    """Statistics of a corpus. Durations are in seconds, except for ``minutes``; shares are in [0, 1]."""

    utterances: int
    speakers: int
    sessions: int
    minutes: float
    shortest: float
    median: float
    percentile_95: float
    longest: float
    longer_than_clip: float  # share of recordings longer than CLIP_SECONDS
    sample_rates: dict[int, int]  # utterances by Hz
    channels: dict[int, int]  # utterances by number of channels; empty for manifests of earlier versions
    per_speaker: tuple[int, float, int]  # utterances: minimum, median, maximum
    largest: str  # the largest class
    chance_wa: float  # WA of a model that always predicts the largest class
    chance_ua: float  # UA of this model
    in_several_sessions: dict[str, tuple[str, ...]]  # sessions of each speaker in more than one
    duplicates: tuple[tuple[Utterance, ...], ...]  # groups of recordings with the same bytes
    mixed: tuple[str, ...]  # sentences about recordings with channels that differ or cancel each other


def describe(manifest: Manifest) -> Description:
    """Compute the statistics of a corpus from its manifest, without reading audio."""
    utterances = manifest.utterances
    seconds = np.array([utterance.seconds for utterance in utterances])
    labels, spoken = manifest.count("label"), manifest.count("speaker")
    largest = max(manifest.labels, key=lambda label: labels[label])  # ties: the first
    return Description(
        utterances=len(utterances),
        speakers=len(spoken),
        sessions=len(manifest.count("session")),
        minutes=manifest.minutes,
        shortest=float(seconds.min()),
        median=float(np.median(seconds)),
        percentile_95=float(np.percentile(seconds, 95)),
        longest=float(seconds.max()),
        longer_than_clip=float((seconds > CLIP_SECONDS).mean()),
        sample_rates=dict(sorted(manifest.count("sample_rate").items())),
        channels=dict(sorted(Counter(each.channels for each in utterances if each.channels is not None).items())),
        mixed=tuple(mixed_channels(manifest)),
        per_speaker=(min(spoken.values()), float(np.median(list(spoken.values()))), max(spoken.values())),
        largest=largest,
        chance_wa=labels[largest] / len(utterances),
        chance_ua=1 / len(labels),
        in_several_sessions={
            speaker: sessions
            for speaker, of_speaker in sorted(_grouped(utterances, "speaker").items())
            if len(sessions := tuple(sorted({utterance.session for utterance in of_speaker}))) > 1
        },
        duplicates=tuple(tuple(same) for same in _grouped(utterances, "sha256").values() if len(same) > 1),
    )


def overview(found: Description) -> Table:
    """A table with the statistics of the whole corpus."""
    fewest, median, most = found.per_speaker
    rows = [
        ("utterances", str(found.utterances)),
        ("speakers", str(found.speakers)),
        ("utterances per speaker: minimum, median, maximum", f"{fewest}, {median:g}, {most}"),
        ("sessions", str(found.sessions)),
        ("minutes", f"{found.minutes:.1f}"),
        (
            "seconds: shortest, median, 95 %, longest",
            f"{found.shortest:.2f}, {found.median:.2f}, {found.percentile_95:.2f}, {found.longest:.2f}",
        ),
        (f"longer than {CLIP_SECONDS:g} s", f"{percent(found.longer_than_clip)} %"),
        *((f"at {rate} Hz", str(count)) for rate, count in found.sample_rates.items()),
        *((f"with {counted(number, 'channel')}", str(count)) for number, count in found.channels.items()),
        (
            f"always {found.largest}: WA, UA",
            f"{percent(found.chance_wa)} %, {percent(found.chance_ua)} %",
        ),
    ]
    return Table(("Corpus", ""), rows)


def classes_by_session(manifest: Manifest) -> Table:
    """A table of the utterances by session and class."""
    found = manifest.count("session", "label")
    sessions = sorted(manifest.count("session"))
    rows = {name: [found[name, label] for label in manifest.labels] for name in sessions}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    return Table(
        ("Session", *manifest.labels, "all"),
        [(name, *map(str, row), str(sum(row))) for name, row in rows.items()],
    )


def speakers(manifest: Manifest) -> Table:
    """A table with a row for each speaker: sessions, minutes, utterances by class and in total."""
    rows = []
    for speaker, said in sorted(_grouped(manifest.utterances, "speaker").items()):
        labels = Counter(utterance.label for utterance in said)
        sessions = ", ".join(sorted({utterance.session for utterance in said}))
        minutes = f"{sum(utterance.seconds for utterance in said) / 60:.1f}"
        rows.append((speaker, sessions, minutes, *(str(labels[label]) for label in manifest.labels), str(len(said))))
    return Table(("Speaker", "session", "minutes", *manifest.labels, "all"), rows)


def findings(found: Description) -> list[str]:
    """Sentences about speakers in several sessions, duplicates, and channels that differ or cancel each other.

    There are up to 20 sentences each about speakers and duplicates, and the number of further ones. If there are none,
    a sentence says so.
    """
    speakers = [
        f"the speaker {speaker} is in {' and '.join(sessions)}: folds by session would test on training speakers"
        for speaker, sessions in found.in_several_sessions.items()
    ]
    duplicates = [_duplicate_sentence(same) for same in found.duplicates]
    return [
        *(_first(speakers) or ["no speaker is in two sessions"]),
        *(_first(duplicates) or ["no recording occurs twice"]),
        *found.mixed,
    ]


def _grouped(utterances: Sequence[Utterance], field: str) -> dict[str, list[Utterance]]:
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(getattr(utterance, field), []).append(utterance)
    return groups


def _duplicate_sentence(same: Sequence[Utterance]) -> str:
    ids = " and ".join(utterance.id for utterance in same)
    differences = [
        f"the {field}s {' and '.join(sorted(values))}"
        for field in ("label", "speaker", "session")
        if len(values := _grouped(same, field)) > 1
    ]
    return f"{ids} are the same recording{', with ' + ', '.join(differences) if differences else ''}"


def _first(sentences: list[str]) -> list[str]:
    more = len(sentences) - _SHOWN
    return [*sentences[:_SHOWN], f"... and {more} more"] if more > 0 else sentences
