"""Wording for messages and reports: descriptions of the protocols, counted nouns, durations, lists, printable text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# arguments of rich's print for names and paths: brackets in them are not markup, and long lines are not wrapped
PLAIN: dict[str, Any] = {"soft_wrap": True, "markup": False, "highlight": False}

_SESSIONS = "If the corpus has no sessions, a session is a group of speakers."

PROTOCOLS = {
    "heldout": "Leave one session out: each fold tests on one session, chooses the epoch with the best UA on the next "
    "session (after the last, the first), and trains on the remaining sessions. The test session is used for neither "
    f"training nor this choice. {_SESSIONS}",
    "speaker": "Leave one speaker out: each fold tests on one speaker, chooses the epoch with the best UA on the other "
    "speakers of the session (if there are none, on the next session), and trains on the remaining sessions. The "
    f"tested speaker is used for neither training nor this choice. {_SESSIONS}",
    "last": "Leave one session out: each fold tests on one session and trains on the others for a fixed number of "
    f"epochs. No epoch is chosen. {_SESSIONS}",
    "paper": "The paper's protocol: each fold tests on one session and trains on the others. The test session itself "
    "chooses the epoch, once for WA and once for UA, so these results are optimistic: expect lower ones on new "
    f"speakers. {_SESSIONS}",
}


def with_speaker_groups(protocol: str) -> str:
    """A text of :data:`PROTOCOLS`, rewritten for groups of speakers instead of sessions."""
    text = protocol.removesuffix(f" {_SESSIONS}").replace("test session", "test group")
    return text.replace("sessions", "groups of speakers").replace("session", "group of speakers")


def is_optimistic(metrics: dict[str, Any]) -> bool:
    """Whether the epochs were chosen on the test sessions, as in the protocol ``paper``."""
    return bool(metrics["protocol"] == "paper")


def printable(text: str) -> str:
    """Replace unprintable characters, such as line breaks and terminals' escape character, by Python's escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def printable_lines(text: str) -> str:
    """Apply :func:`printable` to each line of a text."""
    return "\n".join(map(printable, text.split("\n")))


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """Seconds as text: ``40 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def joined(names: Sequence[str], most: int = 5) -> str:
    """The names as ``a, b and c``, or as ``a, b and 3 more`` if there are more than ``most`` (default: 5)."""
    names = [*names[:most], f"{len(names) - most} more"] if len(names) > most else names
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The names as ``a, b, c``, or as ``a, b and 3 more`` if there are more than ``most`` (default: 5)."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{separator.join(names[:most])}{more}"
