"""What the pages of docs/ claim: their tables are the records', their commands are ones that the command line knows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import typer

from benchmarks import recipe_tables
from temporal_shift.ser.cli import app
from temporal_shift.ser.published import FIGURES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORD = json.loads((ROOT / "benchmarks" / "records" / "recipe-cpu.json").read_text(encoding="utf-8"))


def commands() -> list[str]:
    """Every command of ours in the blocks of the pages."""
    blocks = [block for page in (PAGE, README) for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)]
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


@pytest.mark.parametrize(
    "table", [recipe_tables.epochs_table, recipe_tables.memory_table, recipe_tables.experiment_table]
)
def test_the_tables_of_the_recipe_are_the_recorded_ones(table):
    assert table(RECORD).markdown() in PAGE


def test_the_hours_of_the_whole_experiment_are_the_sums_of_the_recorded_rows():
    here, on_gpu = (sum(row[key] for row in RECORD["experiment"]) for key in ("hours_here", "hours_on_gpu"))
    assert f"{here:,.0f}".replace(",", " ") + f" hours here, {on_gpu:.0f} on such a GPU" in PAGE


def test_the_sentence_on_missed_goals_is_the_record():
    held = sum(goal["held"] for goal in RECORD["goals"])
    assert f"{held} of {len(RECORD['goals'])} goals" in PAGE
    least = min(row["ratio_by_flop"] for row in RECORD["epochs"] if row["ratio_by_flop"])
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


def test_every_link_to_a_file_leads_somewhere():
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", PAGE)
    assert len(targets) > 5
    assert [target for target in targets if not (ROOT / "docs" / target).exists()] == []
    for anchor in re.findall(r"\]\(#([^)]+)\)", PAGE):
        assert anchor in {
            re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^## (.*)$", PAGE, flags=re.M)
        }
