"""Groups of speakers, which stand where a corpus has no sessions: nobody is in two of them."""

from __future__ import annotations

from collections.abc import Mapping

from .. import config
from ..utils.errors import RecipeError

GROUPS = 5  # where nothing else is said, and there are as many speakers


def group_speakers(
    utterances: Mapping[str, int], groups: int | None = None, genders: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Put each speaker into one of ``Group1``, ``Group2``, ..., none of which stays empty.

    Whoever said most comes first, into the group with the fewest utterances, of the same gender where it is known,
    and then of all. So groups are about equally large, and nothing but names and numbers decides.

    Args:
        utterances: How many each speaker said.
        groups: How many groups. By default five, or as many as there are speakers.
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
    """Whether folds follow the corpus's own sessions; where it has some, that is what nothing said means.

    Args:
        source: What the sessions would stand in.
    Raises:
        RecipeError: If they are asked for, and there are none.
    """
    if corpus.folds == "published" and not there_are:
        raise RecipeError(f"folds: published needs {source}: use folds: speakers, which groups the speakers")
    return there_are and corpus.folds != "speakers" and corpus.groups is None
