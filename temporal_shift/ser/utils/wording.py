"""Wording that several texts share: the protocols in full, counted nouns, and one line of printable text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

PROTOCOLS = {
    "heldout": "Leave one session out: every fold tests on one session, the next session (after the last, the first) "
    "chose the epoch by its best UA, and the others trained. The test session chose nothing.",
    "speaker": "Leave one speaker out: every fold tests on one speaker, the other speakers of the session chose the "
    "epoch by their best UA, and the other sessions trained. The tested speaker chose nothing.",
    "last": "Leave one session out: every fold tests on one session after a fixed number of epochs, and the others "
    "trained. Nothing chose an epoch.",
    "paper": "The published protocol: every fold tests on one session, the others trained, and the test session itself "
    "chose the epoch, once for WA and once for UA. These figures are optimistic: they are the best of many looks at "
    "the answers, and on new speakers less is left of them. The selection bias below says how much at least.",
}


def is_optimistic(metrics: dict[str, Any]) -> bool:
    """Whether the test sessions chose the epochs that they are reported at."""
    return bool(metrics["protocol"] == "paper")


def printable(text: str) -> str:
    """Replace line breaks, escape sequences of terminals and other unprintable characters by their escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first ``most`` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{separator.join(names[:most])}{more}"
