"""README and the docs have the records' own tables and pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.measure import record_file
from benchmarks.report import badges, pages, plots

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_every_table_of_every_page_is_the_records_own():
    texts = {path: path.read_text(encoding="utf-8") for path in pages.pages()}
    assert len(texts) > 20
    outdated = [path for path, text in texts.items() if pages.filled(text) != text]
    assert outdated == [], "python -m benchmarks pages writes them again"


def test_every_table_can_be_made_and_stands_on_a_page():
    text = "".join(path.read_text(encoding="utf-8") for path in pages.pages())
    for name in pages.TABLES:
        assert pages.table_of(name).rows, name
        assert f"<!-- table: {name} -->" in text


def test_an_unknown_table_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match=r"op, op shapes, .*speed"):
        pages.filled("<!-- table: speed -->\n<!-- end -->")


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def test_every_picture_is_that_of_its_record(tmp_path):
    names = set()
    for record in record_file.FOLDER.rglob("*.jsonl"):
        for drawn in plots.write(tmp_path, record.stem, record_file.read(record)):
            names.add(drawn.name)
            committed = (pages.FIGURES / drawn.name).read_text(encoding="utf-8")
            assert texts(committed) == texts(drawn.read_text(encoding="utf-8"))
    assert names == {path.name for path in pages.FIGURES.glob("*.svg")}


def test_the_page_of_the_kernels_says_how_fast_they_were_on_a_gpu():
    page = " ".join(Path("docs/kernels.md").read_text(encoding="utf-8").split())
    lines = [line for line in record_file.read(record_file.FOLDER / "gpu.jsonl") if line["suite"] in ("op", "host")]
    rows = [line for line in lines if line["suite"] == "op" and line.get("timer")]
    forward = [row for row in rows if row["what"] == "forward" and row["shape"][0] >= 8]
    both = [row for row in rows if row["what"] == "forward + backward"]
    compiled = [row for row in rows if row["what"].startswith("compiled")]

    def span(rows, timer, peer=None):
        ratios = [
            row["ratio_to_peers"][peer] if peer else row["ratio_to_floor"] for row in rows if row["timer"] == timer
        ]
        return f"{min(ratios):.2f} to {max(ratios):.2f}"

    assert f"the forward pass takes {span(forward, 'device')} times as long as a copy" in page
    assert f"*Pad and cat* takes {span(forward, 'device', 'pad and cat')} times as long as ours" in page
    assert f"its forward and backward take {span(both, 'CUDA graph', 'pad and cat')} times as long" in page
    assert f"*pad and cat* takes {span(both, 'wall clock', 'pad and cat')} times as long as ours" in page
    assert f"takes {span(compiled, 'device')} times as long as the one without the shift" in page
    goals = [line for line in lines if line["kind"] == "goal"]
    assert f"{sum(goal['held'] for goal in goals)} of the {len(goals)} goals of `op` and `host` hold" in page


def test_every_badge_says_what_the_metadata_and_the_records_say():
    names = {path.stem: path.read_text(encoding="utf-8") for path in pages.BADGES.glob("*.svg")}
    assert names == {name: badges.drawn(*texts) for name, texts in badges.found().items()}
    readme = Path("README.md").read_text(encoding="utf-8")
    assert all(f"docs/figures/badges/{name}.svg" in readme for name in names)
