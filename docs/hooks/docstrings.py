"""A Griffe extension for the site: converts the reStructuredText of PyTorch-style docstrings to Markdown."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

_SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Args|Shape|Returns|Yields|Raises|Example):\n)")  # no blank line before it
_ROLE = re.compile(r":(?:class|func|meth|mod):`([^`]+)`")
_FORMULA = re.compile(r":math:`([^`]+)`")
_INDENTED = r"\n(?:[ ]*\n)*((?:[ ]+\S.*(?:\n|\Z)|[ ]*\n)+)"
_DISPLAYED = re.compile(r"^\.\. math::" + _INDENTED, flags=re.MULTILINE)
_LITERAL = re.compile(r"^::" + _INDENTED, flags=re.MULTILINE)
_SHAPE = re.compile(r"^Shape:" + _INDENTED, flags=re.MULTILINE)


class InMarkdown(griffe.Extension):
    """Converts each docstring."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert roles to links, formulas and literal blocks to Markdown, and ``Example`` to Google's ``Examples``."""
        if obj.docstring is None:
            return
        text = _SECTION.sub("\n\n", obj.docstring.value)
        text = _ROLE.sub(lambda role: _link(role[1], obj), text)
        text = _FORMULA.sub(lambda formula: rf"\({formula[1]}\)", text)
        text = _DISPLAYED.sub(_displayed, text)
        text = _LITERAL.sub(lambda block: f"```text\n{dedent(block[1]).rstrip()}\n```\n\n", text)
        text = _SHAPE.sub(lambda block: f'<span class="doc-section-title">Shape:</span>\n\n{dedent(block[1])}\n', text)
        obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)


def _displayed(block: re.Match[str]) -> str:
    """Put each formula on its own line: browsers do not break a formula that is too long for a phone."""
    return "".join(f"\\[\n{formula.strip()}\n\\]\n\n" for formula in block[1].split(r"\qquad"))


def _link(name: str, obj: griffe.Object) -> str:
    """A link to the documentation of a name, if a page has it."""
    shown = name.rpartition(".")[2] if name.startswith("~") else name.lstrip(".")
    path = name.lstrip("~.")
    if not path.startswith("temporal_shift."):
        try:
            path = obj.resolve(path)
        except griffe.NameResolutionError:  # the module does not import the name
            path = f"temporal_shift.{path}"
    return f'<autoref optional identifier="{path}">`{shown}`</autoref>'
