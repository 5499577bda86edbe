"""Checks of README.md and docs/: commands parse, links resolve, tables and figures match the records and the code."""

from __future__ import annotations

import inspect
import re
import shlex
from collections import Counter
from fractions import Fraction
from pathlib import Path

import typer

from benchmarks.measure import measurements, record_file
from benchmarks.measure.recipe.rows import EPOCH, EXPERIMENT
from temporal_shift import layers
from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora import READERS
from temporal_shift.ser.corpora.download.sources import SOURCES
from temporal_shift.ser.corpora.label_maps import classes_of, read_label_map, shipped_map
from temporal_shift.ser.corpora.readers import cremad, emobox, emodb, iemocap, ravdess
from temporal_shift.ser.experiments.reproduce import FIGURES

from .test_readme import with_local_links

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart" / "README.md"
REAL_SPEECH = ROOT / "examples" / "real-speech" / "README.md"
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", QUICKSTART, REAL_SPEECH, *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = {path: path.read_text(encoding="utf-8") for path in FILES}
PAGES[ROOT / "README.md"] = with_local_links(PAGES[ROOT / "README.md"])
PAGE = PAGES[ROOT / "docs" / "reproduce.md"]
CORPORA = PAGES[ROOT / "docs" / "corpora.md"]
RECORD = record_file.read(ROOT / "benchmarks" / "records" / "recipe-cpu.jsonl")


def commands() -> list[str]:
    """The arguments of this package's commands in shell blocks, after ``torchrun`` in prose, and in YAML comments."""
    blocks = [block for page in PAGES.values() for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)]
    inline = re.findall(r"`(torchrun[^`]*temporal_shift[^`]*)`", PAGE)
    lines = [line for block in blocks for line in block.splitlines()] + inline
    lines += [
        line for path in REAL_SPEECH.parent.glob("*.yaml") for line in path.read_text().splitlines() if "# " in line
    ]
    found = [re.search(r"(?:(?<!/)temporal-shift|-m temporal_shift) (.*)", line) for line in lines]
    return [match[1] for match in found if match]


def problem_of(command: str) -> str | None:
    """The error if a command does not exist or cannot be parsed, otherwise ``None``. The command does not run."""
    group, arguments = typer.main.get_command(app), shlex.split(command, comments=True)
    try:
        while hasattr(group, "commands"):
            group = group.commands[arguments.pop(0)]
        group.make_context(group.name, arguments)
    except Exception as error:
        return repr(error)
    return None


def test_the_command_line_accepts_every_command_in_the_pages():
    assert problem_of("ser run --no-such-option")
    assert len(commands()) > 20
    assert {command: problem for command in commands() if (problem := problem_of(command))} == {}


def test_the_page_on_deployment_names_the_models_that_temperature_scaling_improves():
    helped = {}
    for encoder in ("tiny", "base"):
        lines = record_file.read(ROOT / "benchmarks" / "records" / "real-speech" / f"emodb-{encoder}.jsonl")
        found = {line["model"]: line["calibration"] for line in lines if line["kind"] == "model"}
        lower = {
            key: {name for name, of in found.items() if of[key]["after"] < of[key]["before"]}
            for key in ("ece", "log_loss")
        }
        helped[encoder] = lower["log_loss"]
        assert len(found) == 9
        assert encoder == "base" or lower["log_loss"] <= lower["ece"]
    page = " ".join(PAGES[ROOT / "docs" / "deploy.md"].split())
    said = re.search(
        "lowers the log loss and the calibration error of ([^.]*), and raises the log loss of the five", page
    )
    assert said
    assert set(re.split(", | and ", said[1])) == helped["tiny"]
    assert len(helped["tiny"]) == 4
    assert helped["base"] == {"CNN"}
    assert "it lowers the log loss of the CNN only" in page


def test_the_hours_of_the_whole_experiment_are_the_sum_of_the_recorded_rows():
    rows = [line["figures"] for line in RECORD if line["what"] == EXPERIMENT]
    here, on_gpu = (sum(row[key] for row in rows) for key in ("hours_here", "hours_on_gpu"))
    assert f"{here:,.0f}".replace(",", " ") + f" hours here, {on_gpu:.0f} on such a GPU" in PAGE


def test_the_sentence_on_missed_goals_matches_the_record():
    goals = [goal for goal in measurements.of_kind(RECORD, "goal") if goal["what"].startswith("an epoch that encodes")]
    missed = [goal["what"].rpartition(", ")[2] for goal in goals if not goal["held"]]
    of_base = [goal["what"] for goal in goals if "wav2vec 2.0 base" in goal["what"] and not goal["held"]]
    assert len(missed) == len(of_base)
    assert {goal["bound"] for goal in goals} == {10}
    assert f"The goal was a factor of 10, and with wav2vec 2.0 base it is missed for {' and '.join(missed)}." in PAGE
    least = min(line["figures"].get("ratio_by_flop", 99) for line in RECORD if line["what"] == EPOCH)
    assert f"by a factor of {least:.1f}" in PAGE


def test_the_published_figures_match_those_that_reproduce_prints():
    rows = {
        ("finetune", "ua"): "fine-tuning wav2vec 2.0 base, UA",
        ("features", "ua"): "features of HuBERT base, UA",
        ("features", "wa"): "features of HuBERT base, WA",
    }
    for (setting, key), name in rows.items():
        cells = [FIGURES[setting, model].get(key) for model in ("ShiftCNN", "ShiftLSTM", "Shiftformer")]
        assert f"| {name} | {' | '.join(map(str, cells))} |" in PAGE


def test_every_link_resolves():
    code = r"^ *```.*?^ *```|`[^`\n]*`"  # code, which may contain brackets, is removed
    broken, count = [], 0
    for path, page in PAGES.items():
        prose = re.sub(code, "", page, flags=re.MULTILINE | re.DOTALL)
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", prose)
        links += [(source, "") for source in re.findall(r'src(?:set)?="([^"]+)"', page)]
        count += len(links)
        for target, anchor in links:
            file = (path.parent / target).resolve() if target else path
            is_generated = file.parent.name == "api"  # its headings come from docstrings: test_site.py checks them
            if not file.exists() or (
                anchor and file in PAGES and not is_generated and anchor not in sections(PAGES[file])
            ):
                broken.append((path.name, target, anchor))
    assert broken == []
    assert count > 200


def test_a_link_with_a_file_name_as_its_text_points_to_that_file():
    named = [link for page in PAGES.values() for link in re.findall(r"\[`([\w.]+\.\w+)`\]\(([^)#]+)\)", page)]
    assert len(named) > 5
    assert [(name, target) for name, target in named if Path(target).name != name] == []


def test_every_folder_that_contributing_lists_exists():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    listed, parents = set(), []
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()
        parents = [*parents[: len(indent) // 2], name.rstrip("/")]
        listed.add(Path(*parents))
    assert [path for path in sorted(listed) if not (ROOT / path).exists()] == []
    packages = [*ROOT.glob("temporal_shift/*/__init__.py"), *ROOT.glob("temporal_shift/ser/*/__init__.py")]
    assert {path.parent.relative_to(ROOT) for path in packages} <= listed


def test_the_table_of_defaults_matches_the_signatures():
    page = PAGES[ROOT / "docs" / "layers" / "defaults.md"]
    rows = re.findall(r"^\| \[`(\w+)`\]\S* \| (.*) \|$", page, flags=re.MULTILINE)
    assert {name for name, _ in rows} == {name for name in layers.__all__ if inspect.isclass(getattr(layers, name))}
    for name, cells in rows:
        placement, n_div, stride, direction, moves = cells.split(" | ")
        defaults = {key: each.default for key, each in inspect.signature(getattr(layers, name)).parameters.items()}
        if defaults["n_div"] is None:  # resolved by the constructor
            defaults |= vars(getattr(layers, name)())
        both = defaults.get("bidirectional_shift", defaults["bidirectional"])
        assert (int(n_div), int(stride)) == (defaults["n_div"], defaults["stride"])
        assert direction == ("both" if both else "past")
        assert "placement" not in defaults or placement == f'`"{defaults["placement"]}"`'
        moved = Fraction(2 if both else 1, int(n_div))
        assert moves == (str(moved) if defaults["stride"] else "nothing")


def sections(page: str) -> set[str]:
    titles = re.findall(r"^##+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_on_corpora_lists_all_readers_with_their_counts_and_classes():
    rows = {
        row[0]: row
        for row in re.findall(r"^\| `(\w+)` \| .* \| (\d*) ?\| (.*) \| (.*) \|$", CORPORA, flags=re.MULTILINE)
    }
    assert set(rows) == set(READERS)
    for module, name in ((ravdess, "ravdess"), (cremad, "cremad"), (emodb, "emodb")):
        assert rows[name][1] == str(module.PUBLISHED.utterances)
        assert rows[name][2] == ", ".join(shipped_map(name).values())
        assert rows[name][3] == f"speaker groups ({module.PUBLISHED.speakers} speakers)"
    assert rows["iemocap"][1] == str(iemocap.PUBLISHED.utterances)


def test_the_page_on_corpora_lists_all_downloads_with_licences_sizes_and_checksums():
    rows = re.findall(
        r"^\| `([\w-]+)` \| \[page\]\((.*)\) \| (.*) \| (.*) \| (MD5|none) \|$", CORPORA, flags=re.MULTILINE
    )
    assert rows == [
        (
            corpus.name,
            corpus.page,
            corpus.licence,
            "size not published" if corpus.size is None else f"{corpus.size / 1e6:.0f} MB",
            "MD5" if (corpus.checksum or "").startswith("md5:") else "none",
        )
        for corpus in SOURCES.values()
    ]


def test_the_page_on_corpora_names_all_supported_datasets_of_emobox():
    assert ", ".join(emobox.speaker_patterns()) in " ".join(CORPORA.split())


def test_the_label_map_of_the_page_on_corpora_fits_the_command_below_it(tmp_path):
    (text,) = re.findall(r"```yaml\n(angry:.*?)```", CORPORA, flags=re.DOTALL)
    (tmp_path / "classes.yaml").write_text(text)
    own = shipped_map("ravdess")
    classes, labels = classes_of(Counter(own), own, read_label_map(tmp_path / "classes.yaml"))
    assert labels == ("negative", "positive", "other")
    assert [own[code] for code, label in classes.items() if label is None] == ["calm", "surprised"]


def test_the_messages_on_the_troubleshooting_page_exist_in_the_code():
    files = (ROOT / "temporal_shift").rglob("*.py")
    code = "".join(re.sub(r'" *\n *f?"', "", path.read_text(encoding="utf-8")) for path in files)
    page = PAGES[ROOT / "docs" / "troubleshooting.md"]
    rows = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    headings = re.findall(r"^### (`.*)$", page, flags=re.MULTILINE)
    quoted = {message for heading in headings for message in re.findall("`([^`]+)`", heading)}
    of_torch = {
        "... has been modified by an inplace operation",
        "Missing key(s) in state_dict",
        "Unexpected key(s) in state_dict",
        "Attempted to wrap RNN, GRU, or LSTM",
    }
    assert len(rows) > 15
    assert len(headings) > 8
    assert of_torch <= quoted
    messages = [*rows, *sorted(quoted - of_torch)]
    assert [message for message in messages if any(part not in code for part in message.split("..."))] == []


def test_the_glossary_is_sorted_and_has_one_sentence_per_term():
    entries = re.findall(r"^\*\*(.+?)\*\*.*?: (.*)$", PAGES[ROOT / "docs" / "glossary.md"], flags=re.MULTILINE)
    names = [re.sub(r"[^a-z0-9 _]", "", term.lower().replace("-", " ")) for term, _ in entries]
    assert len(names) > 40
    assert names == sorted(names)
    assert [term for term, sentence in entries if not sentence.endswith(".") or ". " in sentence] == []


def test_the_comparison_names_tests_for_all_of_its_rows():
    page = PAGES[ROOT / "docs" / "comparison.md"]
    table, tested = page.split("## What is tested")
    rows = {row.split(" | ")[0].removeprefix("| ") for row in table.splitlines() if row.startswith("| ")}
    named = {row.split(" | ")[0].removeprefix("| ") for row in tested.splitlines() if row.startswith("| ")}
    short = {"step > 1": "step", "ONNX equal to PyTorch": "ONNX"}
    covered = {part for row in named for part in row.split(", ")}
    assert {short.get(part, part) for row in rows - {"|"} for part in row.split(", ")} <= covered
