"""Detect properties of a corpus that make results doubtful, or incomparable with published ones."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from ..utils.wording import counted, listed
from .manifest import Manifest, Utterance
from .published_counts import PublishedCounts

_SAME = 0.9  # minimum correlation of channels that are treated as equal


def corpus_caveats(manifest: Manifest, published: PublishedCounts | None = None) -> list[str]:
    """Sentences from :func:`leaks` and :func:`mixed_channels`, and about differences from the published corpus.

    Args:
        manifest: The corpus as read.
        published: The figures to compare with. The counts are compared only if the classes are the published ones.
            Default: ``None``, no comparison.
    """
    found = [*leaks(manifest), *mixed_channels(manifest)]
    if published is not None:
        differences = published.audio_differences(manifest)
        if {label for _, label in published.cells} == set(manifest.labels):  # otherwise the counts differ anyway
            differences += published.differences(manifest)
        if differences:
            found.append(f"This is not {published.name} as published: {listed(differences, separator='; ')}.")
    return found


def leaks(manifest: Manifest) -> list[str]:
    """Sentences about recordings with the same bytes, but different speakers, sessions or labels; empty if none."""
    same: dict[str, list[Utterance]] = {}
    for utterance in manifest.utterances:
        same.setdefault(utterance.sha256, []).append(utterance)
    copies = [group for group in same.values() if len(group) > 1]
    across = [group for group in copies if len({(each.session, each.speaker) for each in group}) > 1]
    unsure = [group for group in copies if len({each.label for each in group}) > 1]
    found = []
    if across:
        found.append(
            f"{_counted(across)} the same bytes as a recording of another speaker or session, such as "
            f"{_pair(across, 'session', 'speaker')}: a fold can test on its training or validation data."
        )
    if unsure:
        found.append(
            f"{_counted(unsure)} the same bytes as a recording with another label, such as "
            f"{_pair(unsure, 'label')}: one of the labels is wrong."
        )
    return found


def mixed_channels(manifest: Manifest) -> list[str]:
    """Sentences about recordings with channels that differ or cancel each other; empty if a channel is selected."""
    if manifest.channel != "mean":
        return []
    cancelled = [each for each in manifest.utterances if each.cancels]
    apart = [
        each
        for each in manifest.utterances
        if not each.cancels and each.correlation is not None and each.correlation < _SAME
    ]
    found = []
    if cancelled:
        found.append(
            f"The channels of {counted(len(cancelled), 'recording')} cancel each other in their mean, such as "
            f"{cancelled[0].path}: choose one with channel: 0."
        )
    if apart:
        lowest = min(apart, key=lambda each: each.correlation or 0.0)
        found.append(
            f"The channels of {counted(len(apart), 'recording')} differ (lowest correlation: {lowest.correlation:.2f} "
            f"in {lowest.path}): if one is a delayed copy, their mean lacks some frequencies; "
            "choose one with channel: 0."
        )
    return found


def _counted(groups: Sequence[Sequence[Utterance]]) -> str:
    return f"{sum(map(len, groups))} recordings have"


def _pair(groups: Sequence[Sequence[Utterance]], *fields: str) -> str:
    """Two recordings of the first group that differ in one of the fields."""
    value = attrgetter(*fields)
    first = groups[0][0]
    other = next(each for each in groups[0] if value(each) != value(first))
    return f"{first.id} ({first.speaker}, {first.label}) and {other.id} ({other.speaker}, {other.label})"
