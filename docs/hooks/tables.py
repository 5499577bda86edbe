"""A hook for the site: gives the columns of tables a minimum width, so that long texts do not wrap after every word."""

from __future__ import annotations

import html
import re
from typing import Any

_TABLE = re.compile(r"(<table>.*?</thead>)(.*?</table>)", flags=re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", flags=re.DOTALL)
_CELL = re.compile(r"<td[^>]*>(.*?)</td>", flags=re.DOTALL)
_NUMBERS = re.compile(r"[\[(][\d., ×+−-]{1,16}[\])](?![^<]*>)")  # an interval, a shape
_HEADING = re.compile(r'<th(?: style="([^"]*)")?>')


def on_page_content(content: str, **kwargs: Any) -> str:
    """Set ``--characters`` of each column for ``assets/site.css``, and keep intervals and shapes on one line."""
    return _TABLE.sub(_with_widths, content)


def _with_widths(table: re.Match[str]) -> str:
    rows = [[_length(cell) for cell in _CELL.findall(row)] for row in _ROW.findall(table[2])]
    widths = iter([_width(max(column)) for column in zip(*rows, strict=True)])
    head = _HEADING.sub(lambda th: f'<th style="--characters: {next(widths, 12)}; {th[1] or ""}">', table[1])
    return head + _NUMBERS.sub(r'<span class="numbers">\g<0></span>', table[2])


def _length(cell: str) -> int:
    return len(html.unescape(re.sub(r"<[^>]+>", "", cell)))


def _width(longest: int) -> int:
    """Columns of short texts stay narrow, as there are often many of them."""
    return min(longest, 12) if longest <= 36 else 22
