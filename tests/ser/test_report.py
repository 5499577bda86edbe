import io
import json
import shutil
from html.parser import HTMLParser

import pytest
from rich.console import Console

from temporal_shift.ser import report
from temporal_shift.ser.errors import RecipeError

from .conftest import FAKE_FOLDS

CORPUS = {"note": "The corpus is made up.", "utterances_per_class": {"hap": 3, "sad": 4}}
FILES = ("metrics.json", "report.md", "report.html", "plots/ua.png", "plots/confusion.png", "plots/learning_curves.png")


class Page(HTMLParser):
    """What a browser would load, show and run."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources, self.text = set(), [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def write(fake_results, fake_experiment, fake_labels):
    return lambda **info: report.write_report(fake_results, fake_experiment, fake_labels, FAKE_FOLDS, CORPUS, info)


@pytest.fixture(scope="module")
def reported(fake_runs, fake_experiment, fake_labels, tmp_path_factory):
    """A results folder with its report, for the tests that only look."""
    root = shutil.copytree(fake_runs, tmp_path_factory.mktemp("reported") / "results")
    report.write_report(root, fake_experiment, fake_labels, FAKE_FOLDS, CORPUS, {"torch": "x"})
    return root


@pytest.fixture
def renamed(fake_results, fake_experiment):
    """The experiment with its first model called something else, on disk as in the configuration."""

    def rename(name):
        first, second, *others = fake_experiment.models
        (fake_results / "runs" / first.name).rename(fake_results / "runs" / name)
        models = [first.model_copy(update={"name": name}), second.model_copy(update={"twin": name}), *others]
        return fake_experiment.model_copy(update={"models": models})

    return rename


def test_report_writes_every_file_and_leaves_no_other(reported):
    written = {path.relative_to(reported).as_posix() for path in reported.rglob("*") if path.is_file()}
    assert {path for path in written if not path.startswith("runs/")} == {*FILES, "run_info.json"}


def test_reporting_again_on_another_machine_changes_no_byte_of_metrics_and_plots(fake_results, reported, write):
    assert write(torch="y") == json.loads((reported / "metrics.json").read_text())
    for name in FILES:
        same = (fake_results / name).read_bytes() == (reported / name).read_bytes()
        assert same != name.startswith("report.")  # the reports show the versions
    assert json.loads((fake_results / "run_info.json").read_text())["torch"] == "y"


def test_html_loads_nothing_and_runs_nothing(reported):
    html = (reported / "report.html").read_text()
    page = Page(html)
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not page.tags & {"script", "link", "iframe", "object", "a"}
    assert "url(" not in html
    assert "@import" not in html


def test_both_reports_hold_what_a_reader_asks_for(reported):
    ua = json.loads((reported / "metrics.json").read_text())["models"][0]["ua"]
    page = Page((reported / "report.html").read_text())
    for text in (page.text, (reported / "report.md").read_text()):
        for wanted in (
            f"{100 * ua['mean']:.1f} ± {100 * ua['fold_sd']:.1f}",
            "The corpus is made up.",
            "The test session chose nothing.",
            "binomial standard error of WA on 400 utterances",
            "Shiftformer − Identity mixer",
            "chance",
            "learning_rate: 0.0005",
            "utterances per class: hap 3, sad 4",
            "torch: x",
        ):
            assert wanted in text


def test_a_model_name_stays_text_in_every_output(fake_results, fake_labels, renamed):
    name = "<b>|*[red]$x$*"
    metrics = report.write_report(fake_results, renamed(name), fake_labels, FAKE_FOLDS, {}, {})
    page = Page((fake_results / "report.html").read_text())
    assert "b" not in page.tags
    assert f"ShiftCNN − {name}" in page.text
    assert "| &lt;b&gt;\\|\\*[red]$x$\\* |" in report.markdown_table(metrics)
    assert name in terminal(metrics)


def test_markdown_report_holds_the_readme_s_table(reported):
    metrics = json.loads((reported / "metrics.json").read_text())
    assert report.markdown_table(metrics) in (reported / "report.md").read_text()


def test_terminal_table_fits_eighty_columns(reported):
    lines = terminal(json.loads((reported / "metrics.json").read_text())).splitlines()
    assert len(lines) == 2 + 7 + 1  # header and rule, models, chance: no row is wrapped
    assert max(map(len, lines)) <= 80


def test_an_experiment_without_twins_has_no_table_of_pairs(fake_results, fake_experiment, fake_labels):
    alone = fake_experiment.model_copy(update={"models": fake_experiment.models[:1]})
    assert report.write_report(fake_results, alone, fake_labels, FAKE_FOLDS, {}, {})["pairs"] == []
    assert "twin\n" not in (fake_results / "report.md").read_text()


def test_a_missing_run_writes_no_report(fake_results, write):
    (fake_results / "runs" / "CNN" / "Session1" / "run.json").unlink()
    with pytest.raises(RecipeError, match=r"there is no .*run\.json"):
        write()
    assert not any((fake_results / name).exists() for name in FILES)


def terminal(metrics):
    console = Console(file=io.StringIO(), width=80)
    console.print(report.results_table(metrics))
    return console.file.getvalue()
