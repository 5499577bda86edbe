"""Tables as Markdown and for a terminal, and the formats of numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .markdown import escape_markdown
from .wording import printable, printable_lines

if TYPE_CHECKING:
    import rich.table


@dataclass(frozen=True, slots=True)
class Table:
    """A header and rows of text. The first column is aligned left, the others right. Headers may have line breaks."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        header, *rows = [[escape_markdown(cell) for cell in line] for line in (self.header, *self.rows)]
        align = [":--", *["--:"] * (len(header) - 1)]
        return "\n".join(f"| {' | '.join(line)} |" for line in (header, align, *rows))

    def for_terminal(self) -> rich.table.Table:
        import rich.box  # imported late, because Markdown does not need rich
        import rich.table
        from rich.text import Text

        table = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for column, name in enumerate(self.header):
            # Text, because rich parses square brackets in a str as markup
            header = Text(printable_lines(name))
            table.add_column(header, justify="right" if column else "left", no_wrap=not column)
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def signed(share: float) -> str:
    """A difference of shares in percentage points, with a sign unless it rounds to 0; minus is U+2212."""
    text = f"{100 * share:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def interval(bounds: Sequence[float]) -> str:
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def signed_interval(bounds: Sequence[float]) -> str:
    return f"[{signed(bounds[0])}, {signed(bounds[1])}]"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def millions(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e4 else str(parameters)
