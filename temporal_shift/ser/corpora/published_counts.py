"""What a corpus holds beside what its publishers say it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from .manifest import Manifest

Counts = Counter[tuple[str, str]]  # ("the corpus", "happy utterances") and the like


def margins(cells: Mapping[tuple[str, str], int], speakers: int) -> Counts:
    """Utterances by session and class, with their sums; a session without a name has no row of its own."""
    counts = Counter({("the corpus", "utterances"): sum(cells.values()), ("the corpus", "speakers"): speakers})
    for (session, _), count in cells.items():
        if session:
            counts[session, "utterances"] += count
    for (_, label), count in cells.items():
        counts["the corpus", f"{label} utterances"] += count
    for (session, label), count in cells.items():
        if session:
            counts[session, f"{label} utterances"] += count
    return counts


def differences(found: Counts, expected: Counts) -> list[str]:
    """A sentence for each count that is not the published one."""
    return [
        f"{owner} has {found[owner, thing]} {thing}, the published corpus {expected[owner, thing]}"
        for owner, thing in dict.fromkeys([*expected, *found])
        if found[owner, thing] != expected[owner, thing]
    ]


def differences_of(manifest: Manifest, published: Mapping[str, int], speakers: int) -> list[str]:
    """A sentence for each count that is not the published one, of a corpus without sessions."""
    cells = Counter(("", utterance.label) for utterance in manifest.utterances)
    found = margins(cells, len({utterance.speaker for utterance in manifest.utterances}))
    return differences(found, margins({("", label): count for label, count in published.items()}, speakers))
