"""Tables and figures of README and the docs match the committed records."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from benchmarks.__main__ import COMMANDS, SUITES
from benchmarks.measure import record_file
from benchmarks.report import badges, pages, plots

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module", autouse=True)
def _each_table_is_made_once():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(pages, "table_of", cache(pages.table_of))
        yield


def test_every_table_of_every_page_matches_its_record():
    texts = {path: path.read_text(encoding="utf-8") for path in pages.pages()}
    assert len(texts) > 20
    outdated = [path for path, text in texts.items() if pages.filled(text) != text]
    assert outdated == [], "python -m benchmarks pages updates them"


def test_every_table_is_on_a_page():
    text = "".join(path.read_text(encoding="utf-8") for path in pages.pages())
    for name in pages.TABLES:
        assert pages.table_of(name).rows, name
        assert f"<!-- table: {name} -->" in text


def test_the_page_on_benchmarks_lists_every_command():
    page = Path("docs/benchmarks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)(?: A B)?` \| (.*) \|$", page.partition("## ")[0], flags=re.MULTILINE)
    summaries = {**SUITES, **{name: summary for name, (_, summary) in COMMANDS.items()}}
    assert [name for name, _ in rows] == list(summaries)


def test_the_reasons_for_missed_goals_match_the_record():
    page = " ".join(Path("docs/benchmarks.md").read_text(encoding="utf-8").split())
    lines = {line["what"]: line for line in record_file.read(record_file.FOLDER / "layers-cpu.jsonl")}
    transformer, conv = (lines[name]["ratio_to_floor"] for name in ("ShiftTransformerLayer", "ShiftConv"))
    assert f"take {transformer:.2f} and {conv:.2f} times as long as their two matrix products" in page
    for layer in ("ShiftConv", "ShiftTransformerLayer"):
        missed = [line for what, line in lines.items() if line["kind"] == "goal" and not line["held"] and layer in what]
        assert missed
        # a layer that only computes the two products would miss these goals, too
        assert all(goal["measured"] * lines[layer]["ratio_to_floor"] < goal["bound"] for goal in missed)


def test_an_unknown_table_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match=r"op, op shapes, .*speed"):
        pages.filled("<!-- table: speed -->\n<!-- end -->")


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", svg)


def test_every_figure_matches_its_record(tmp_path):
    names = set()
    for record in record_file.FOLDER.rglob("*.jsonl"):
        for drawn in plots.write(tmp_path, record.stem, record_file.read(record)):
            names.add(drawn.name)
            committed = (pages.FIGURES / drawn.name).read_text(encoding="utf-8")
            assert texts(committed) == texts(drawn.read_text(encoding="utf-8"))
    assert names == {path.name for path in pages.FIGURES.glob("*.svg")}


def test_figures_in_the_text_on_the_kernels_match_the_record():
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


def test_every_badge_matches_the_metadata_and_the_records():
    names = {path.stem: path.read_text(encoding="utf-8") for path in pages.BADGES.glob("*.svg")}
    assert names == {name: badges.drawn(*texts) for name, texts in badges.found().items()}
    readme = Path("README.md").read_text(encoding="utf-8")
    assert all(f"docs/figures/badges/{name}.svg" in readme for name in names)
