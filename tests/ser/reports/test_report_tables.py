"""The tables of a report as text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from temporal_shift.ser.reports import report_tables, sentences
from temporal_shift.ser.utils.table import Table, millions, signed

FIGURE = {"mean": 0.5, "fold_sd": 0.04, "seed_sd": None, "interval": [0.4, 0.6]}


def summary(protocol="heldout", **changes):
    """The part of ``metrics.json`` that the tables read, for one model."""
    model = {
        "name": "CNN",
        "parameters": 4_730_000,
        "wa": {**FIGURE, "mean": 0.55},
        "ua": FIGURE,
        "best_test_epoch": {"wa": 0.62, "ua": 0.6},
        "last_epoch": {"wa": 0.51, "ua": 0.49},
        "selection_bias": {"wa": 0.07, "ua": 0.1},
        **changes,
    }
    return {"protocol": protocol, "chance": 0.25, "models": [model]}


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0123, "+1.2"), (-0.0123, "−1.2"), (0.0, "0.0"), (0.0004, "0.0"), (-0.0004, "0.0"), (1.0, "+100.0")],
)
def test_a_difference_has_a_sign_unless_it_rounds_to_zero(share, text):
    assert signed(share) == text


@pytest.mark.parametrize(("parameters", "text"), [(9999, "9999"), (10_000, "0.01 M"), (94_371_712, "94.37 M")])
def test_large_numbers_of_parameters_are_in_millions(parameters, text):
    assert millions(parameters) == text


def test_names_are_left_aligned_and_numbers_right_aligned():
    table = Table(("Name", "number"), [("a", "1"), ("[red]b", "23")])
    assert table.markdown() == "| Name | number |\n| :-- | --: |\n| a | 1 |\n| [red]b | 23 |"
    console = Console(file=io.StringIO(), width=40)
    console.print(table.for_terminal())
    assert console.file.getvalue().splitlines()[2:] == ["a            1 ", "[red]b      23 "]


def test_results_have_mean_deviation_interval_and_chance():
    assert report_tables.results(summary()).markdown().splitlines() == [
        "| Model | Parameters | WA, % | 95 % of WA | UA, % | 95 % of UA |",
        "| :-- | --: | --: | --: | --: | --: |",
        "| CNN | 4.73 M | 55.0 ± 4.0 | [40.0, 60.0] | 50.0 ± 4.0 | [40.0, 60.0] |",
        "| chance |  | 25.0 |  | 25.0 |  |",
    ]


def test_the_deviation_is_over_seeds_if_there_are_several():
    rows = report_tables.results(summary(ua={**FIGURE, "seed_sd": 0.01})).rows
    assert rows[0][2:5:2] == ("55.0 ± 4.0", "50.0 ± 1.0")


def test_only_results_of_the_protocol_paper_are_called_optimistic():
    headers = {protocol: report_tables.results(summary(protocol)).header for protocol in ("heldout", "speaker", "last")}
    assert set(headers.values()) == {("Model", "Parameters", "WA, %", "95 % of WA", "UA, %", "95 % of UA")}
    assert report_tables.results(summary("paper")).header == (
        *("Model", "Parameters", "WA, %\n(optimistic)", "95 % of WA", "UA, %\n(optimistic)", "95 % of UA"),
    )


@pytest.mark.parametrize(
    ("protocol", "how", "honest"),
    [
        ("heldout", "validated", ("55.0", "50.0")),
        ("speaker", "validated", ("55.0", "50.0")),
        ("last", "last epoch", ("55.0", "50.0")),
        ("paper", "last epoch", ("51.0", "49.0")),
    ],
)
def test_selection_compares_the_best_test_epoch_with_an_epoch_chosen_without_the_test_part(protocol, how, honest):
    table = report_tables.selection(summary(protocol))
    assert table.header == (
        "Model",
        *(f"WA,\n{how}", "best\ntest epoch", "bias"),
        *(f"UA,\n{how}", "best\ntest epoch", "bias"),
    )
    assert table.rows == [("CNN", honest[0], "62.0", "+7.0", honest[1], "60.0", "+10.0")]


PAIR = {
    "model": "ShiftCNN",
    "baseline": "CNN",
    "ua_difference": 0.021,
    "interval": [-0.01, 0.05],
    "se": 0.015,
    "holm_p": 0.2,
    "detectable": 0.043,
    "sign_flip_p": 0.19,
    "mcnemar_p": {"42": 0.344},
}


def test_pairs_have_difference_interval_tests_and_detectable_difference():
    table = report_tables.pairs([PAIR])
    assert table.header == (
        *("Pair", "UA,\npoints", "95 %", "p,\nHolm", "80 %\npower", "p, by\nspeaker", "McNemar\np"),
    )
    assert table.rows == [("ShiftCNN − CNN", "+2.1", "[−1.0, +5.0]", "0.200", "4.3", "0.190", "0.344")]
    (constant,) = report_tables.pairs([{**PAIR, "se": 0.0}]).rows
    assert (constant[2], constant[4]) == ("–", "–")  # nothing varies, so nothing is known about other differences


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.001, "0.001"), (0.05, "0.050"), (1.0, "1.000")])
def test_a_p_value_has_three_digits_after_the_point(p, text):
    assert report_tables.pairs([{**PAIR, "holm_p": p}]).rows[0][3] == text


def test_mcnemar_of_several_seeds_is_the_median_p_and_the_number_of_small_ones():
    several = {"mcnemar_p": {"1": 0.2, "2": 0.04, "3": 0.01}}
    assert report_tables.pairs([{**PAIR, **several}]).rows[0][-1] == "0.040 (2/3)"


def test_a_table_without_the_numbers_of_parameters_leaves_their_cells_empty():
    without = summary()
    del without["models"][0]["parameters"]
    assert report_tables.results(without).rows[0][:3] == ("CNN", "", "55.0 ± 4.0")


def test_the_protocol_names_groups_of_speakers_and_their_speakers():
    metrics = {"protocol": "heldout", "folds": ["Group1", "Group2"]}
    text = sentences.protocol(metrics, {"Group1": ["a1", "a4"], "Group2": list("bcdefgh")})
    assert text.startswith("Leave one group of speakers out: each fold tests on one group of speakers, ")
    assert "trains on the remaining groups of speakers. The test group is" in text
    assert text.endswith(" Group1 (a1, a4), Group2 (b, c, d, e, f and 2 more).")
    assert "session" not in text


@pytest.mark.parametrize(
    ("by_error", "by_speaker", "is_caveat"), [(0.01, 0.25, True), (0.01, 0.03, False), (0.2, 0.25, False)]
)
def test_a_difference_that_only_one_test_calls_significant_has_a_caveat(by_error, by_speaker, is_caveat):
    pair = {**PAIR, "holm_p": by_error, "sign_flip_p": by_speaker}
    found = sentences.disagreeing_tests({"pairs": [pair]})
    assert len(found) == is_caveat
    assert all("ShiftCNN − CNN" in caveat and "0.010" in caveat and "0.250" in caveat for caveat in found)
