"""Form disjoint groups of speakers, which replace the sessions if a corpus has none or they are not used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .. import config
from ..utils.errors import RecipeError

GROUPS = 5  # the default number of groups


def group_speakers(
    utterances: Mapping[str, int], groups: int | None = None, genders: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Assign each speaker to one of ``Group1``, ``Group2``, ...; no group is empty.

    Speakers are assigned gender by gender, those with the most utterances first, each to the group with the fewest
    utterances of this gender, and among these to the group with the fewest in total. The result is deterministic.

    Args:
        utterances: Number of utterances of each speaker.
        groups: Number of groups. Default: 5, or the number of speakers if there are fewer.
        genders: The gender of each speaker. Default: unknown, as if all had the same.
    Returns:
        The group of each speaker. With ten groups or more, shorter numbers have leading zeros: ``Group01``.
    Raises:
        RecipeError: If there is at least one speaker, but fewer than ``groups``.
    """
    if not utterances:
        return {}
    genders = genders or {}
    count = min(GROUPS, len(utterances)) if groups is None else groups
    if count > len(utterances):
        raise RecipeError(f"groups must be at most the number of speakers, {len(utterances)}, got {count}")
    totals = [0] * count
    of_gender: dict[str, list[int]] = {}
    found: dict[str, str] = {}
    for speaker in sorted(utterances, key=lambda name: (genders.get(name, ""), -utterances[name], name)):
        same = of_gender.setdefault(genders.get(speaker, ""), [0] * count)
        group = min(range(count), key=lambda index: (same[index], totals[index], index))
        totals[group] += utterances[speaker]
        same[group] += utterances[speaker]
        found[speaker] = f"Group{group + 1:0{len(str(count))}d}"  # Group02 sorts before Group10
    return found


def are_speaker_groups(sessions: Iterable[str]) -> bool:
    """Whether all sessions have the names that :func:`group_speakers` gives."""
    return all(re.fullmatch("Group[0-9]+", session) for session in sessions)


def uses_sessions(corpus: config.Corpus, has_sessions: bool, source: str) -> bool:
    """Whether the corpus's own sessions are the folds, which is the default if it has sessions.

    Args:
        corpus: The settings, which can ask for groups of speakers instead.
        has_sessions: Whether the corpus states sessions.
        source: Where a corpus states them, for the message.
    Raises:
        RecipeError: If ``folds: published`` is set, and the corpus has no sessions.
    """
    if corpus.folds == "published" and not has_sessions:
        raise RecipeError(f"folds must be speakers unless there is {source}, got published")
    return has_sessions and corpus.folds != "speakers" and corpus.groups is None
