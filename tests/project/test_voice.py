"""No text contains an avoided phrase. The section "Writing" of CONTRIBUTING.md explains how texts are written."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUFFIXES = {".cff", ".ipynb", ".jinja", ".md", ".py", ".toml", ".yaml", ".yml"}
AVOIDED = """
    as it stands, be it, be they, cannot but, for good, has it that, hears, held against, held beside, hence,
    in the small, is no more than, lest, look on, looks on, none but, nothing but, of use, save for, so as to,
    so many, stand for,
    stands beside, stands for, stands in, stands where, that of, the like, thereby, thereof, those of, thus, to be had,
    told apart, told by, told of, twin, twins, unwatched, weighs, were it, wherever, whose
"""
PHRASES = re.compile(rf"(?<![\w`\"'])(?:{'|'.join(map(str.strip, AVOIDED.split(',')))})(?![\w`\"'])", re.IGNORECASE)


def texts() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a clone")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.suffix in SUFFIXES and path.name != Path(__file__).name]


def avoided_phrases(text: str) -> list[str]:
    return [match[0] for match in PHRASES.finditer(re.sub(r"\s+", " ", text))]


def test_no_text_contains_an_avoided_phrase():
    paths = texts()
    assert len(paths) > 300
    found = {str(path.relative_to(ROOT)): avoided_phrases(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: phrases for path, phrases in found.items() if phrases} == {}


def test_a_phrase_is_found_across_a_line_break_but_not_in_code():
    assert avoided_phrases("The labels are held\n    against the classes.") == ["held against"]
    assert avoided_phrases("whence, and `nothing but`") == []
