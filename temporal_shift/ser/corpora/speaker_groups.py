"""Disjoint groups of speakers, used as sessions in corpora without sessions."""

from __future__ import annotations

from collections.abc import Mapping

from .. import config
from ..utils.errors import RecipeError

GROUPS = 5  # default, if there are enough speakers


def group_speakers(
    utterances: Mapping[str, int], groups: int | None = None, genders: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Put each speaker into one of ``Group1``, ``Group2``, ...; no group is empty.

    Speakers are assigned in order of their number of utterances, each to the group with the fewest utterances of the
    same gender (if known), then the fewest in total. Groups are about equally large, and the result is deterministic.

    Args:
        utterances: By speaker.
        groups: Number of groups. Default: 5, or the number of speakers if that is smaller.
    Raises:
        RecipeError: If there are fewer speakers than groups.
    """
    if not utterances:
        return {}
    genders = genders or {}
    count = min(GROUPS, len(utterances)) if groups is None else groups
    if count > len(utterances):
        raise RecipeError(f"groups={count} needs as many speakers: the corpus has {len(utterances)}")
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


def wants_sessions(corpus: config.Corpus, there_are: bool, source: str) -> bool:
    """Whether folds follow the corpus's own sessions, which is the default if it has some.

    Args:
        source: Where the sessions would be stated, for the message.
    Raises:
        RecipeError: If they are requested, and the corpus has none.
    """
    if corpus.folds == "published" and not there_are:
        raise RecipeError(f"folds: published needs {source}: use folds: speakers, which groups the speakers")
    return there_are and corpus.folds != "speakers" and corpus.groups is None
