"""Names, labels and notes stay text in rendered Markdown, in spreadsheets and in a terminal."""

from __future__ import annotations

import html
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from temporal_shift.ser.utils.csv_cells import csv_cell
from temporal_shift.ser.utils.markdown import escape_markdown, one_line
from temporal_shift.ser.utils.table import Table

CONTEXTS = {
    "{}": "p",
    "# {}": "h1",
    "- {}": "ul li",
    "| a | b |\n| :-- | --: |\n| {} | 1 |": "table thead tr th tbody td",
}
RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
HOSTILE = (
    "a|b",
    "a\n\n# b\r\n- c",
    "`rm` ```sh",
    "<script>alert(1)</script> & <!-- a -->",
    "[click](https://example.org)",
    "![picture](https://example.org/a.png)",
    "[Model]: https://example.org",
    "--- a: b ---",
    "---",
    "2024. a",
    "+ a",
    "# a #",
    "a\\|b\\",
    "_a_ __b__ ~~c~~ **d**",
    "&lt;b&gt;",
)


def assert_rendered_as_itself(text, context):
    page = RENDERER.render(context.format(escape_markdown(text)))
    shown = " ".join(html.unescape(re.sub(r"<[^>]*>", "", page)).split())
    assert shown.removeprefix("a b ") == (f"{one_line(text)} 1" if "|" in context else one_line(text)).strip()
    assert set(re.findall(r"</?([a-z0-9]+)", page)) <= set(CONTEXTS[context].split())


@pytest.mark.parametrize("context", CONTEXTS)
def test_markdown_renders_hostile_text_as_itself(context):
    for text in HOSTILE:
        assert_rendered_as_itself(text, context)


@pytest.mark.parametrize("context", CONTEXTS)
@given(text=st.text(st.sampled_from("ab1 \n\t\\`*_{}[]()<>#+-=.!|~&;:/\"'^x"), max_size=12))
def test_markdown_renders_any_text_as_itself(context, text):
    assert_rendered_as_itself(text, context)


def test_text_without_markup_stays_readable_in_the_file():
    for text in (
        "Ses01F_impro01",
        "39.3 [33.1, 45.4]",
        "UA − WA, 5 %",
        "-0.5",
        "C#",
        "03 happy",
        "https://example.org/a_b",
    ):
        assert escape_markdown(text) == text


def test_line_breaks_and_bidirectional_marks_are_escaped():
    assert one_line(" a\n\tb\u2028c ") == "a b c"
    assert one_line("happy\u202egnp.\x1b[31m\x00") == r"happy\u202egnp.\x1b[31m\x00"


def test_the_header_of_a_table_is_escaped():
    assert Table(("a|b\n<c>", "`d`"), [("1", "2")]).markdown().splitlines()[0] == r"| a\|b &lt;c&gt; | \`d\` |"


def test_a_terminal_shows_square_brackets_in_a_table_as_text():
    console = Console(width=80, file=io.StringIO())
    console.print(Table(("[bold]", "happy [high]"), [("[/y]", "[red]1")]).for_terminal())
    shown = console.file.getvalue()
    assert all(text in shown for text in ("[bold]", "happy [high]", "[/y]", "[red]1"))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_spreadsheet_shows_a_formula_as_text(start):
    assert csv_cell(f"{start}cmd|'/c calc'!A0") == f"'{start}cmd|'/c calc'!A0"


@pytest.mark.parametrize("value", ["-0.5", "+1e-3", -0.5, 7, None, "", "happy", "a=b", "1-2", "'=a"])
def test_numbers_and_other_text_are_unchanged_in_a_cell(value):
    assert csv_cell(value) is value
