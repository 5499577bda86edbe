"""A hook of the site: formulas as MathML, which browsers draw without a script of another host."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert


def on_page_content(content: str, **kwargs: Any) -> str:
    """What the Markdown extension ``arithmatex`` marked, drawn."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _drawn, content, flags=re.DOTALL)


def _drawn(formula: re.Match[str]) -> str:
    tag, source = formula[1], html.unescape(formula[2])
    drawn = convert(source, display="block" if tag == "div" else "inline")
    return f'<{tag} class="formula">{drawn}</{tag}>'.replace(r"\_", "_")
