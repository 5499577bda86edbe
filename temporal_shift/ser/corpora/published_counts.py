"""The counts that a corpus's publishers state, and where a manifest differs from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from .manifest import Manifest

_WHOLE = "the corpus"


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """``cells`` are utterances by session and class; the session is empty in a corpus without sessions."""

    speakers: int
    cells: Mapping[tuple[str, str], int]

    @classmethod
    def by_class(cls, speakers: int, utterances: Mapping[str, int]) -> PublishedCounts:
        """The counts of a corpus without sessions."""
        return cls(speakers, {("", label): count for label, count in utterances.items()})

    @property
    def utterances(self) -> int:
        return sum(self.cells.values())

    def differences(self, manifest: Manifest) -> list[str]:
        """A sentence for each count of the manifest, total or by session or class, that is not the published one."""
        if any(session for session, _ in self.cells):
            cells = manifest.count("session", "label")
        else:
            cells = Counter({("", label): count for label, count in manifest.count("label").items()})
        expected = _totals(self.cells, self.speakers)
        found = _totals(cells, len(manifest.count("speaker")))
        return [
            f"{owner} has {found[owner, thing]} {thing}, the published corpus {expected[owner, thing]}"
            for owner, thing in dict.fromkeys([*expected, *found])
            if found[owner, thing] != expected[owner, thing]
        ]


def _totals(cells: Mapping[tuple[str, str], int], speakers: int) -> Counter[tuple[str, str]]:
    """The counts with their sums: ``("the corpus", "speakers")``, ``("Session1", "happy utterances")`` and so on."""
    totals = Counter({(_WHOLE, "utterances"): sum(cells.values()), (_WHOLE, "speakers"): speakers})
    for (session, _), count in cells.items():
        if session:
            totals[session, "utterances"] += count
    for (_, label), count in cells.items():
        totals[_WHOLE, f"{label} utterances"] += count
    for (session, label), count in cells.items():
        if session:
            totals[session, f"{label} utterances"] += count
    return totals
