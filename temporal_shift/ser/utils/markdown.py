"""Escape text from users, such as names, labels and notes, so that Markdown shows it as it is."""

from __future__ import annotations

import html
import re

from .wording import printable

# markup at any position; a pipe separates table cells, a dollar begins a formula
_ALWAYS = r"[\\`*|~$]"
_UNDERSCORE = r"(?<![^\W_])_|_(?![^\W_])"  # inside a word it is plain text
_NUMBER_SIGN = r"(?<!\S)#"  # a heading
_LINK = r"\](?=[(\[:])"  # [text](url), [text][name], [name]: url
_BRACKET = r"\[(?=\^|[ xX]\])"  # a footnote, a check box
_LINE_START = r"^[-+=](?=[-+=\s]|$)|^[0-9]{1,9}[.)](?=\s|$)"  # a list, a rule, the line under a heading
_MARKUP = re.compile("|".join((_ALWAYS, _UNDERSCORE, _NUMBER_SIGN, _LINK, _BRACKET, _LINE_START)))


def one_line(text: str) -> str:
    """Collapse line breaks and other white space to single spaces; escape what is still unprintable."""
    return printable(" ".join(text.split()))


def escape_markdown(text: str) -> str:
    r"""Escape a text, so that Markdown shows it as one plain line in a paragraph, a bullet, a heading or a cell.

    A URL stays readable, and a renderer may make it a link.

    Example:
        >>> print(escape_markdown("a|b [here](https://example.org) <b>"))
        a\|b [here\](https://example.org) &lt;b&gt;
    """
    return _MARKUP.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", html.escape(one_line(text), quote=False))
