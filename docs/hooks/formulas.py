"""A hook for the site: converts formulas to MathML, which needs no script from another host."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert


def on_page_content(content: str, **kwargs: Any) -> str:
    """Convert the formulas that the Markdown extension ``arithmatex`` has marked."""
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', _mathml, content, flags=re.DOTALL)


def _mathml(formula: re.Match[str]) -> str:
    tag, source = formula[1], html.unescape(formula[2])
    drawn = convert(source, display="block" if tag == "div" else "inline")
    return f'<{tag} class="formula">{drawn}</{tag}>'.replace(r"\_", "_")
