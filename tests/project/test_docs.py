"""What the pages of docs/ claim: their tables are the records', their commands are ones that the command line knows."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
import typer

from benchmarks.measure import measurements, record_file
from benchmarks.measure.recipe.rows import EPOCH, EXPERIMENT
from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora import READERS
from temporal_shift.ser.corpora.label_maps import classes_of, read_label_map, shipped_map
from temporal_shift.ser.corpora.readers import cremad, emobox, emodb, iemocap, ravdess
from temporal_shift.ser.experiments.reproduce import FIGURES

ROOT = Path(__file__).parents[2]
PAGES = {
    path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
PAGE = PAGES[ROOT / "docs" / "reproduce.md"]
CORPORA = PAGES[ROOT / "docs" / "corpora.md"]
RECORD = record_file.read(ROOT / "benchmarks" / "records" / "recipe-cpu.jsonl")


def commands() -> list[str]:
    """Every command of ours in the blocks of the pages."""
    blocks = [block for page in PAGES.values() for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)]
    inline = re.findall(r"`(torchrun[^`]*temporal_shift[^`]*)`", PAGE)
    lines = [line for block in blocks for line in block.splitlines()] + inline
    found = [re.search(r"(?:temporal-shift|-m temporal_shift) (.*)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_the_command_line_knows(command):
    group, arguments = typer.main.get_command(app), shlex.split(command)
    while hasattr(group, "commands"):
        group = group.commands[arguments.pop(0)]
    group.make_context(group.name, arguments)  # which raises on what it does not know


def test_the_hours_of_the_whole_experiment_are_the_sums_of_the_recorded_rows():
    rows = [line["figures"] for line in RECORD if line["what"] == EXPERIMENT]
    here, on_gpu = (sum(row[key] for row in rows) for key in ("hours_here", "hours_on_gpu"))
    assert f"{here:,.0f}".replace(",", " ") + f" hours here, {on_gpu:.0f} on such a GPU" in PAGE


def test_the_sentence_on_missed_goals_is_the_record():
    goals = measurements.of_kind(RECORD, "goal")
    assert f"{sum(goal['held'] for goal in goals)} of {len(goals)} goals" in PAGE
    least = min(line["figures"].get("ratio_by_flop", 99) for line in RECORD if line["what"] == EPOCH)
    assert f"by a factor of {least:.1f}" in PAGE


def test_the_published_figures_are_those_that_reproduce_prints():
    rows = {
        ("finetune", "ua"): "fine-tuning wav2vec 2.0 base, UA",
        ("features", "ua"): "features of HuBERT base, UA",
        ("features", "wa"): "features of HuBERT base, WA",
    }
    for (setting, key), name in rows.items():
        cells = [getattr(FIGURES[setting, model], key) for model in ("ShiftCNN", "ShiftLSTM", "Shiftformer")]
        assert f"| {name} | {' | '.join(map(str, cells))} |" in PAGE


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_to_a_file_or_a_section_leads_somewhere(path):
    code = r"^ *```.*?^ *```|`[^`\n]*`"  # which has brackets, too
    prose = re.sub(code, "", PAGES[path], flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", prose)  # of a picture, what follows # is its scheme
    assert [target for target, _ in links if not (path.parent / target).exists()] == []
    found = sections(PAGES[path])
    assert [anchor for target, anchor in links if not target and anchor not in found] == []


def sections(page: str) -> set[str]:
    titles = re.findall(r"^##+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_on_corpora_has_the_readers_their_counts_and_their_classes():
    rows = {
        row[0]: row
        for row in re.findall(r"^\| `(\w+)` \| .* \| (\d*) ?\| (.*) \| (.*) \|$", CORPORA, flags=re.MULTILINE)
    }
    assert set(rows) == set(READERS)
    for module, name in ((ravdess, "ravdess"), (cremad, "cremad"), (emodb, "emodb")):
        assert rows[name][1] == str(sum(module.PUBLISHED.values()))
        assert rows[name][2] == ", ".join(shipped_map(name).values())
        assert rows[name][3] == f"groups of {module.SPEAKERS} speakers"
    assert rows["iemocap"][1] == str(iemocap.expected_counts()["the corpus", "utterances"])


def test_the_page_on_corpora_names_the_datasets_of_emobox_that_can_be_read():
    assert ", ".join(emobox.speaker_patterns()) in " ".join(CORPORA.split())


def test_the_label_map_of_the_page_on_corpora_fits_the_command_below_it(tmp_path):
    (text,) = re.findall(r"```yaml\n(angry:.*?)```", CORPORA, flags=re.DOTALL)
    (tmp_path / "classes.yaml").write_text(text)
    own = shipped_map("ravdess")
    classes, labels = classes_of(Counter(own), own, read_label_map(tmp_path / "classes.yaml"))
    assert labels == ("negative", "positive", "other")
    assert [own[code] for code, label in classes.items() if label is None] == ["calm", "surprised"]
