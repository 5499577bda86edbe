import io
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from temporal_shift.ser.reports import plots, report_tables, writer
from temporal_shift.ser.reports.results import Plan, read_results
from temporal_shift.ser.utils.errors import RecipeError
from temporal_shift.ser.utils.table import Table

from ..conftest import FAKE_LABELS, write_fake_runs

CORPUS = {"note": "The corpus is made up.", "utterances_per_class": {"hap": 3, "sad": 4}}
FILES = ("metrics.json", "report.md", "report.html", "plots/ua.png", "plots/confusion.png", "plots/learning_curves.png")


class Page(HTMLParser):
    """What a browser loads, shows and runs."""

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
def write(fake_results):
    return lambda **info: writer.write_report(fake_results, CORPUS, info)


@pytest.fixture(scope="module")
def reported_as(fake_runs_of, tmp_path_factory):
    """A function from a number of seeds and a protocol to a results folder of two models with its reports."""
    roots = {}

    def of(seeds=1, protocol="heldout"):
        if (seeds, protocol) not in roots:
            root = shutil.copytree(fake_runs_of(seeds, protocol), tmp_path_factory.mktemp("reported") / "results")
            writer.write_report(root, CORPUS, {"torch": "x"})
            roots[seeds, protocol] = root
        return roots[seeds, protocol]

    return of


@pytest.fixture(scope="module")
def reported(fake_runs, tmp_path_factory):
    """A results folder of seven models with its report, for tests that only read."""
    root = shutil.copytree(fake_runs, tmp_path_factory.mktemp("reported") / "results")
    writer.write_report(root, CORPUS, {"torch": "x"})
    return root


def planned(root, models):
    """Replace the models in the plan of a results folder."""
    plan = Plan.read(root)
    replace(plan, experiment=plan.experiment.model_copy(update={"models": models})).write(root)


def metrics_in(root):
    return json.loads((root / "metrics.json").read_text())


def test_the_report_writes_exactly_its_files(reported):
    written = {path.relative_to(reported).as_posix() for path in reported.rglob("*") if path.is_file()}
    assert {path for path in written if not path.startswith("runs/")} == {*FILES, "run_info.json", "experiment.json"}


def test_reporting_again_on_another_machine_changes_no_byte_of_metrics_and_plots(fake_results, reported, write):
    assert write(torch="y") == metrics_in(reported)
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


def test_both_reports_contain_the_experiment_and_its_results(reported):
    ua = metrics_in(reported)["models"][0]["ua"]
    page = Page((reported / "report.html").read_text())
    for text in (page.text, (reported / "report.md").read_text()):
        for wanted in (
            f"{100 * ua['mean']:.1f} ± {100 * ua['fold_sd']:.1f}",
            "The corpus is made up.",
            "The test session is used for neither training nor this choice.",
            "chooses the epoch with the best UA on the next session (after the last, the first)",
            "Session1, Session2, Session3, Session4, Session5.",
            " from the last layer of the frozen facebook/hubert-base-ls960. ",
            "in 5 folds with seed 7: 35 runs in total",
            "binomial standard error of WA on 400 utterances",
            "Shiftformer − Identity mixer",
            "chance",
            "learning_rate: 0.0005",
            "utterances per class: hap 3, sad 4",
            "torch: x",
        ):
            assert wanted in text


def test_a_report_of_several_seeds_has_the_deviation_over_seeds(reported_as):
    root = reported_as(2, "heldout")
    ua = metrics_in(root)["models"][0]["ua"]
    page = Page((root / "report.html").read_text())
    for text in (page.text, (root / "report.md").read_text()):
        for wanted in (
            f"{100 * ua['mean']:.1f} ± {100 * ua['seed_sd']:.1f}",
            "in 5 folds with seeds 7, 8: 20 runs in total",
            "means over folds and seeds, ± standard deviation over seeds",
            "the folds, the speakers in them, and the seeds",
            "the median over the seeds",
        ):
            assert wanted in text
        assert "trained once per fold" not in text


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        ("heldout", "The test session is used for neither training nor this choice."),
        ("speaker", "The tested speaker is used for neither training nor this choice."),
        ("last", "No epoch is chosen."),
        ("paper", "The test session itself chooses the epoch, once for WA and once for UA"),
    ],
)
def test_a_report_says_what_chose_the_epoch(reported_as, protocol, sentence):
    root = reported_as(1, protocol)
    assert sentence in Page((root / "report.html").read_text()).text
    assert sentence in (root / "report.md").read_text()


def renderings(root):
    """Results as a reader sees them: in the terminal, in both reports, on the plot's x axis, and as Markdown."""
    metrics = metrics_in(root)
    axes = plots.ua_by_model(read_results(root), metrics).axes[0]
    return {
        "terminal": terminal(report_tables.results(metrics), width=100),
        "markdown": (root / "report.md").read_text(),
        "html": Page((root / "report.html").read_text()).text,
        "plot": axes.get_xlabel(),
        "readme": report_tables.results(metrics).markdown(),
    }


def test_results_of_the_protocol_paper_are_called_optimistic_everywhere(reported_as):
    for seeds in (1, 2):
        texts = renderings(reported_as(seeds, "paper"))
        assert [name for name, text in texts.items() if "optimistic" not in text] == []
        assert texts["terminal"].count("(optimistic)") == 2
        assert "| WA, % (optimistic) |" in texts["markdown"]
        assert "so these results are optimistic" in texts["html"]
        assert texts["plot"] == "test UA at the best test epoch of each fold (optimistic), %"


@pytest.mark.parametrize("protocol", ["heldout", "speaker", "last"])
def test_results_of_other_protocols_are_never_called_optimistic(reported_as, protocol):
    texts = renderings(reported_as(1, protocol))
    assert [name for name, text in texts.items() if "optimistic" in text.lower()] == []


@pytest.mark.parametrize("protocol", ["heldout", "speaker", "last", "paper"])
def test_both_reports_contain_the_selection_bias(reported_as, protocol):
    root = reported_as(1, protocol)
    metrics = metrics_in(root)
    bias = [model["selection_bias"]["ua"] for model in metrics["models"]]
    wanted = f": {100 * sum(bias) / len(bias):.1f} points of UA on average over models"
    page = Page((root / "report.html").read_text())
    assert wanted in page.text
    assert wanted in (root / "report.md").read_text()
    assert report_tables.selection(metrics).markdown() in (root / "report.md").read_text()
    for cell in report_tables.selection(metrics).rows[0]:
        assert cell in page.text


def test_learning_curves_show_the_validation_part_or_else_the_test_part(reported_as):
    labels = {}
    for protocol in ("heldout", "speaker", "last", "paper"):
        figure = plots.learning_curves(read_results(reported_as(1, protocol)))
        labels[protocol] = figure.axes[0].get_ylabel()
        text = "no validation part" if protocol in ("last", "paper") else "used for neither training nor testing"
        assert text in (reported_as(1, protocol) / "report.md").read_text()
    assert labels == {
        "heldout": "validation UA, %",
        "speaker": "validation UA, %",
        "last": "test UA, %",
        "paper": "test UA, %",
    }


def test_learning_curves_have_dots_at_the_reported_epochs(reported_as):
    results = read_results(reported_as(2, "heldout"))
    dots = plots.learning_curves(results).axes[0].collections[0]
    epochs = [run.record.chosen.ua for folds in results.runs["CNN"] for run in folds]
    assert dots.get_offsets()[:, 0].tolist() == sorted(set(epochs))
    most = max(set(epochs), key=epochs.count)
    assert dots.get_sizes().max() == dots.get_sizes()[sorted(set(epochs)).index(most)]


@pytest.mark.parametrize("epochs", [1, 2, 12])
def test_ticks_of_epochs_are_integers(epochs, fake_experiment, tmp_path):
    models, training = fake_experiment.models[:1], fake_experiment.training.model_copy(update={"epochs": epochs})
    write_fake_runs(tmp_path, fake_experiment.model_copy(update={"models": models, "training": training}))
    (axes,) = plots.learning_curves(read_results(tmp_path)).axes
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == round(tick) and 1 <= tick <= epochs for tick in ticks)


def test_every_panel_of_confusion_names_the_axis_of_the_predicted_class(reported):
    panels = plots.confusion_matrices(read_results(reported), metrics_in(reported)).axes
    assert [axes.get_xlabel() for axes in panels if axes.has_data()] == ["predicted"] * 7


def test_many_classes_do_not_make_a_huge_picture(reported):
    results, metrics = read_results(reported), metrics_in(reported)
    many = replace(results, plan=replace(results.plan, labels=tuple(f"emotion {n}" for n in range(100))))
    model = {**metrics["models"][0], "confusion": [[1] * 100] * 100}
    figure = plots.confusion_matrices(many, {**metrics, "models": [model]})
    assert max(figure.get_size_inches()) < 8
    assert not any(axes.texts for axes in figure.axes)  # the cells are too small


def test_heatmaps_name_their_axes_and_share_a_colour_bar():
    cell = plots.Cell(0.5, 0.01, (-0.01, 0.03), 1.0)
    cells = {("residual", "1/4"): cell, ("inplace", "1/8"): replace(cell, ua=0.6)}
    *maps, bar = plots.heatmaps([plots.Heatmap(title, cells) for title in "abcd"]).axes
    drawn = [axes for axes in maps if axes.images]
    assert [axes.get_title(loc="left") for axes in drawn] == list("abcd")
    assert {axes.get_xlabel() for axes in drawn} == {"channels moved in each direction"}
    assert [axes.get_ylabel() for axes in drawn] == ["placement", "", "placement", ""]
    assert bar.get_ylabel() == "UA, %"


def test_a_cell_of_a_heatmap_shows_ua_difference_and_half_width_and_marks_what_is_significant():
    cells = {
        ("residual", "1/4"): plots.Cell(0.5, 0.01, (-0.01, 0.04), 1.0),
        ("residual", "1/8"): plots.Cell(0.61, 0.031, (0.01, 0.05), 0.3),
        ("inplace", "1/4"): plots.Cell(0.4, -0.09, (-0.15, -0.04), 0.01),
    }
    axes, _ = plots.heatmaps([plots.Heatmap("conv", cells)]).axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["50.0", "+1.0 ± 2.5", "61.0", "+3.1 ± 2.0", "40.0*", "−9.0 ± 5.5"]
    frames = [(patch.get_x() + 0.46, patch.get_y() + 0.46) for patch in axes.patches]
    assert frames == [pytest.approx((1, 0)), pytest.approx((0, 1))]  # intervals without 0


def test_folds_of_equal_ua_are_separate_dots(reported):
    metrics = metrics_in(reported)
    for ua in (model["ua"]["by_fold"] for model in metrics["models"]):
        ua.update(dict.fromkeys(list(ua)[:3], 0.5))
    figure = plots.ua_by_model(read_results(reported), metrics)
    places = [set(map(tuple, line.get_xydata().tolist())) for line in figure.axes[0].lines]
    assert [len(dots) for dots in places].count(5) == 7  # seven models with five folds each


def test_a_model_name_stays_text_in_every_output(fake_results, fake_experiment):
    name = "&lt;b&gt; [red]$x$ `y`"
    first, second, *others = fake_experiment.models
    (fake_results / "runs" / first.name).rename(fake_results / "runs" / name)
    for path in (fake_results / "runs" / name).glob("*/*/run.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "model": name}))
    models = [first.model_copy(update={"name": name}), second.model_copy(update={"baseline": (name,)}), *others]
    planned(fake_results, models)
    metrics = writer.write_report(fake_results, {}, {})
    page = Page((fake_results / "report.html").read_text())
    assert "b" not in page.tags
    assert f"ShiftCNN − {name}" in page.text
    for table in (report_tables.results, report_tables.selection):
        assert "| &amp;lt;b&amp;gt; [red]\\$x\\$ \\`y\\` |" in table(metrics).markdown()
        assert name in terminal(table(metrics), width=100)


def test_the_markdown_report_contains_the_tables(reported):
    metrics, text = metrics_in(reported), (reported / "report.md").read_text()
    assert report_tables.results(metrics).markdown() in text
    assert report_tables.pairs(metrics["pairs"]).markdown() in text


def test_the_terminal_table_fits_eighty_columns(reported):
    lines = terminal(report_tables.results(metrics_in(reported))).splitlines()
    assert len(lines) == 2 + 7 + 1  # header and rule, models, chance: no row is wrapped
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("protocol", ["heldout", "speaker", "last", "paper"])
def test_no_terminal_table_is_wider_than_eighty_columns(reported_as, protocol):
    metrics = metrics_in(reported_as(1, protocol))
    for table in (
        report_tables.results(metrics),
        report_tables.selection(metrics),
        report_tables.pairs(metrics["pairs"]),
    ):
        assert max(map(len, terminal(table).splitlines())) <= 80


def test_an_experiment_without_baselines_has_no_table_of_pairs(fake_results, fake_experiment, reported):
    planned(fake_results, fake_experiment.models[:1])
    assert writer.write_report(fake_results, {}, {})["pairs"] == []
    assert "Each model and its baseline" in (reported / "report.md").read_text()
    assert "Each model and its baseline" not in (fake_results / "report.md").read_text()


def test_further_sections_follow_the_results(fake_results):
    table = Table(("One", "two"), [("a", "b")])

    def more(results, metrics):
        assert metrics["folds"] == list(results.plan.folds)
        picture = writer.Picture("more", "More of it", b"\x89PNG")
        return [writer.Section("More", "Of *this* kind.", table, bullets=("x",), picture=picture, code="y: 1")]

    writer.write_report(fake_results, {}, {}, more)
    text = (fake_results / "report.md").read_text()
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles[2:5] == ["## Results", "## More", "## Each model and its baseline"]
    more_text = text.split("## More\n")[1].split("\n## ")[0].strip()
    assert more_text == (
        "Of \\*this\\* kind.\n\n| One | two |\n| :-- | --: |\n| a | b |\n\n- x\n\n"
        "![More of it](plots/more.png)\n\n    y: 1"
    )
    assert (fake_results / "plots" / "more.png").read_bytes() == b"\x89PNG"


def test_a_missing_run_writes_no_report(fake_results, write):
    (fake_results / "runs" / "CNN" / "seed-7" / "Session1" / "run.json").unlink()
    with pytest.raises(RecipeError, match=r"run\.json does not exist"):
        write()
    assert not any((fake_results / name).exists() for name in FILES)


def test_training_times_are_in_run_info_and_not_in_the_metrics(fake_results, write):
    write()
    info = json.loads((fake_results / "run_info.json").read_text())
    assert info["training_seconds"]["CNN"] == {"7": dict.fromkeys([f"Session{k}" for k in range(1, 6)], 12.5)}
    assert "training: 7.3 minutes, the sum over all runs" in (fake_results / "report.md").read_text()
    assert "seconds" not in (fake_results / "metrics.json").read_text()


def terminal(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table.for_terminal())
    return console.file.getvalue()


def test_constant_models_and_doubtful_folds_are_caveats(fake_results):
    for path in (fake_results / "runs" / "CNN").glob("*/*/run.json"):
        record, logits = json.loads(path.read_text()), np.load(path.parent / "test_logits.npy")
        logits[:] = [0, 0, 1, 0]
        np.save(path.parent / "test_logits.npy", logits)
        rows = [json.loads(line) for line in (path.parent / "predictions.jsonl").read_text().splitlines()]
        right = [row["label"] == FAKE_LABELS[2] for row in rows]
        scores = {"wa": sum(right) / len(right), "ua": any(right) / len({row["label"] for row in rows})}
        for epoch in record["epochs"]:
            epoch["test"] |= scores
        path.write_text(json.dumps(record))
    writer.write_report(fake_results, {"note": "Noise."}, {}, caveats=["The test part of 1 fold has one speaker."])
    report = (fake_results / "report.md").read_text()
    first, second, third, *_ = report[report.index("## Caveats") :].splitlines()[2:]
    assert (first, second) == ("- Noise.", "- The test part of 1 fold has one speaker.")
    assert third.startswith("- CNN predicts only one class in 4 of 5 runs")  # the test part of Session5 has one class
    assert report.count("only one class") == 1
