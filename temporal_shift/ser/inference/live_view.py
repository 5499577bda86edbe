"""Output of updates: bars in a terminal, plain lines, or JSON lines."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..utils.labels import most_likely
from ..utils.wording import counted, printable
from .live import Summary, Update
from .remarks import remark

_BAR = 40  # columns


class View(ABC):
    """Base class of the outputs."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels

    @abstractmethod
    def begin(self, model: str, way: str) -> None:
        """Print the name of the model and its method (``way``)."""

    def shown(self) -> AbstractContextManager[Any]:
        """A context manager; :meth:`show` is called inside it."""
        return nullcontext()

    @abstractmethod
    def show(self, update: Update, summary: Summary) -> None:
        """Show an update; the summary already includes it."""

    @abstractmethod
    def end(self, summary: Summary) -> None:
        """Print the summary."""

    def _remark(self, update: Update) -> str:
        return remark(self._labels, update.probabilities, update.level)


class Drawing(View):
    """One bar per class, redrawn in place."""

    def __init__(self, labels: Sequence[str], console: Console) -> None:
        super().__init__(labels)
        self._console = console
        self._live = Live(console=console, auto_refresh=False)

    def begin(self, model: str, way: str) -> None:
        self._console.print(Text.assemble((printable(model), "bold"), f", {printable(way)}"))

    def shown(self) -> AbstractContextManager[Any]:
        return self._live

    def show(self, update: Update, summary: Summary) -> None:
        best = max(update.probabilities)
        bars = Table.grid(padding=(0, 2))
        for label, share in zip(self._labels, update.probabilities, strict=True):
            style = "bold" if share == best else "dim"
            bar = ProgressBar(total=1.0, completed=share, width=_BAR, complete_style="cyan", finished_style="cyan")
            bars.add_row(Text(printable(label), style), bar, Text(f"{100 * share:5.1f} %", style))
        beside = Text(printable(self._remark(update)), "yellow")
        self._live.update(Group(Text(), bars, beside, Text(_figures(update, summary), "dim")), refresh=True)

    def end(self, summary: Summary) -> None:
        self._console.print(_summary(summary), highlight=False, soft_wrap=True)


class Lines(View):
    """One line per update."""

    def begin(self, model: str, way: str) -> None:
        print(printable(f"{model}, {way}"), flush=True)

    def show(self, update: Update, summary: Summary) -> None:
        shares = zip(self._labels, update.probabilities, strict=True)
        classes = "  ".join(f"{label} {100 * share:.1f} %" for label, share in shares)
        label = most_likely(self._labels, update.probabilities)
        beside = f"  [{said}]" if (said := self._remark(update)) else ""
        line = (
            f"{update.seconds:8.2f} s  {label}{beside}  ({classes})  latency {1000 * update.latency:.0f} ms  "
            f"RTF {update.rtf:.2f}  {update.skipped} skipped"
        )
        print(printable(line), flush=True)

    def end(self, summary: Summary) -> None:
        print(_summary(summary), flush=True)


class JsonLines(View):
    """One JSON object per update, between a ``begin`` and an ``end`` object."""

    def begin(self, model: str, way: str) -> None:
        self._print({"event": "begin", "model": model, "way": way, "labels": list(self._labels)})

    def show(self, update: Update, summary: Summary) -> None:
        shares = zip(self._labels, update.probabilities, strict=True)
        self._print(
            {
                "event": "update",
                "heard_s": round(update.seconds, 3),
                "label": most_likely(self._labels, update.probabilities),
                "remark": self._remark(update),
                "probabilities": {label: round(share, 4) for label, share in shares},
                "latency_s": round(update.latency, 4),
                "rtf": round(update.rtf, 4),
                "skipped": update.skipped,
            }
        )

    def end(self, summary: Summary) -> None:
        self._print({"event": "end", **summary.figures()})

    @staticmethod
    def _print(event: dict[str, Any]) -> None:
        print(json.dumps(event, allow_nan=False), flush=True)  # ASCII: the terminal's encoding does not matter


def _figures(update: Update, summary: Summary) -> str:
    """The measurements of an update, and the statistics so far."""
    so_far = summary.figures()
    return (
        f"{update.seconds:.1f} s of sound\n"
        f"latency {1000 * update.latency:4.0f} ms   median {1000 * so_far['latency_s_median']:.0f} ms, "
        f"95 % below {1000 * so_far['latency_s_95']:.0f} ms\n"
        f"RTF {update.rtf:8.2f}      median {so_far['rtf_median']:.2f}, 95 % below {so_far['rtf_95']:.2f}\n"
        f"{counted(update.skipped, 'update')} skipped"
    )


def _summary(summary: Summary) -> str:
    if not summary.rtfs:
        return "no updates"
    found = summary.figures()
    return (
        f"{counted(len(summary.rtfs), 'update')} of {summary.seconds:.1f} s, {summary.skipped} skipped; "
        f"latency median {1000 * found['latency_s_median']:.0f} ms, 95 % below {1000 * found['latency_s_95']:.0f} ms; "
        f"RTF median {found['rtf_median']:.3f}, 95 % below {found['rtf_95']:.3f}"
    )
