"""Wording that several texts share: descriptions of the protocols, counted nouns, printable text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SESSIONS = "If the corpus has no sessions, a session is a group of speakers."

PROTOCOLS = {
    "heldout": "Leave one session out: each fold tests on one session, the next session (after the last, the first) "
    "chose the epoch by its best UA, and the model was trained on the others. The test session was not used for "
    f"either. {_SESSIONS}",
    "speaker": "Leave one speaker out: each fold tests on one speaker, the other speakers of the session (if there are "
    "none, those of the next session) chose the epoch by their best UA, and the model was trained on the others. The "
    f"tested speaker was not used for either. {_SESSIONS}",
    "last": "Leave one session out: each fold tests on one session after a fixed number of epochs, and the model was "
    f"trained on the others. No epoch was chosen. {_SESSIONS}",
    "paper": "The paper's protocol: each fold tests on one session, the model was trained on the others, and the "
    "test session itself chose the epoch, once for WA and once for UA. These figures are optimistic: they are the best "
    f"of all epochs on the test session. Expect lower ones on new speakers. {_SESSIONS}",
}


def with_speaker_groups(protocol: str) -> str:
    """A text of :data:`PROTOCOLS` for a corpus without sessions."""
    text = protocol.removesuffix(f" {_SESSIONS}").replace("test session", "test group")
    return text.replace("session", "group of speakers")


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


def joined(names: Sequence[str], most: int = 5) -> str:
    """The names as ``a, b and c``; of more than ``most`` names, the first and how many more there are."""
    names = [*names[:most], f"{len(names) - most} more"] if len(names) > most else names
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first ``most`` names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{separator.join(names[:most])}{more}"
