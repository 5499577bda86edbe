"""Escape CSV cells that spreadsheets could run as formulas."""

from __future__ import annotations

import re
from typing import Any

# OWASP's list for CSV injection; the last four are the full-width variants of the first four.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def csv_cell(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet could run as a formula; return other values unchanged.

    Example:
        >>> csv_cell("=1+1"), csv_cell("-0.5"), csv_cell(-0.5), csv_cell("happy")
        ("'=1+1", '-0.5', -0.5, 'happy')

    Source: OWASP, "CSV Injection".
    """
    if isinstance(value, str) and value.startswith(_FORMULA) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
