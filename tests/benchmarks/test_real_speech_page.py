"""The figures in the text of docs/real-speech.md match the committed records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.measure import record_file
from benchmarks.report import pages, real_speech_tables
from temporal_shift.ser.reports.summary import corrected
from temporal_shift.ser.utils.table import percent, signed

ROOT = Path(__file__).parents[2]
OWN_BASELINES = {("ShiftCNN", "CNN"), ("ShiftLSTM", "LSTM"), ("Shiftformer", "Identity mixer")}


@pytest.fixture(scope="module")
def compared():
    """The experiments of the overview and their comparisons, with Holm's correction over all of them."""
    found = real_speech_tables.experiments(line for name in pages.OVERVIEW for line in record_of(name))
    return found, with_holm(found)


def with_holm(experiments):
    pairs = [(each, pair) for each in experiments for pair in each.summary["pairs"]]
    adjusted = corrected([pair for _, pair in pairs])
    return [(each, pair) for (each, _), pair in zip(pairs, adjusted, strict=True)]


def record_of(name):
    return record_file.read(ROOT / record_file.FOLDER / f"{name}.jsonl")


def page_text():
    return " ".join((ROOT / "docs" / "real-speech.md").read_text(encoding="utf-8").split())


def is_own(pair):
    return (pair["model"].split()[0], pair["baseline"]) in OWN_BASELINES


def range_of(pairs):
    """The lowest and the highest difference, and the lowest and the highest end of an interval."""
    pairs = [*pairs]
    ends = [end for pair in pairs for end in pair["interval"]]
    differences = [pair["ua_difference"] for pair in pairs]
    return [signed(each) for each in (min(differences), max(differences), min(ends), max(ends))]


def test_the_weighted_sum_scores_lower_for_all_models_but_the_transformer():
    last, summed = (
        {model["name"]: model["ua"]["mean"] for model in found.summary["models"]}
        for name in pages.EMODB[:2]
        for found in real_speech_tables.experiments(record_of(name))
    )
    assert [name for name in last if summed[name] > last[name]] == ["Transformer"]
    assert "With the sum, the UA is lower for all models but the Transformer" in page_text()


def test_no_shift_model_differs_significantly_from_its_own_baseline(compared):
    names = dict.fromkeys((*pages.OVERVIEW, *pages.EMODB, *pages.FRAME_RATE))
    every = real_speech_tables.experiments(line for name in names for line in record_of(name))
    assert len(every) == len(names) == 7
    pairs = [pair for _, pair in with_holm(every)]
    own = [pair for pair in pairs if is_own(pair)]
    assert len(own) == 3 * 5 + 4 * 2
    assert min(pair["holm_p"] for pair in corrected(own)) > 0.05  # with a correction for these comparisons only
    conclusion = page_text().partition("## ")[0]
    low, high, low_end, high_end = range_of(pair for _, pair in compared[1] if is_own(pair))
    assert f"differences are between {low} and {high} points, and their 95 % intervals between {low_end}" in conclusion
    assert f"and {high_end}. In all seven experiments outside the" in conclusion
    low, high, low_end, high_end = range_of(own)
    assert f"between {low} and {high} points, and the intervals between {low_end} and {high_end}." in conclusion


def test_the_other_figures_of_the_conclusion_match_the_overview(compared):
    conclusion = page_text().partition("## ")[0]
    found, pairs = compared

    def against(baseline, model):
        return [pair for _, pair in pairs if (pair["model"], pair["baseline"]) == (model, baseline)]

    assert [each.title.split(", whisper")[0] for each in found] == [
        *["EmoDB, 4 classes"] * 2,
        "RAVDESS, 8 classes",
        "RAVDESS, 4 classes",
    ]
    shift, mixer = (
        [pair["ua_difference"] for pair in against("Transformer", model)] for model in ("Shiftformer", "Identity mixer")
    )
    assert f"{percent(shift[0])} (tiny.en) and {percent(shift[1])} points (base) above the Transformer" in conclusion
    assert f"the identity mixer {percent(mixer[0])} and {percent(mixer[1])}." in conclusion
    assert f"{signed(shift[2])} and {signed(mixer[2])} with eight classes" in conclusion
    assert f"{signed(shift[3])} and {signed(mixer[3])} with four" in conclusion
    assert all(
        pair["holm_p"] > 0.05 for model in ("Shiftformer", "Identity mixer") for pair in against("Transformer", model)
    )
    last = [
        each.of_model[model]["last_epoch"]["ua"] - each.of_model["Transformer"]["last_epoch"]["ua"]
        for each in found[:2]
        for model in ("Shiftformer", "Identity mixer")
    ]
    assert f"those on EmoDB are only {percent(min(last))} to {percent(max(last))} points" in conclusion
    to_linear = [
        [pair["ua_difference"] for pair in against("Linear", model)]
        for model in ("ShiftCNN", "ShiftLSTM", "Shiftformer")
    ]
    of_eight = [differences.pop(2) for differences in to_linear]
    assert f"score {percent(min(of_eight))} to {percent(max(of_eight))} points above a linear layer" in conclusion
    elsewhere = max(each for differences in to_linear for each in differences)
    assert f"at most {percent(elsewhere)} points above the linear layer" in conclusion
    ua = {model["name"]: model["ua"]["mean"] for model in found[2].summary["models"]}
    assert min(ua[name] for name in ("CNN", "LSTM", "Transformer")) > ua["Linear"]
    above = [ua[name] - ua["Linear mean+std"] for name in ("ShiftCNN", "ShiftLSTM", "Shiftformer")]
    assert f"only {percent(min(above))} to {percent(max(above))} above one that also" in conclusion
    gained = percent(ua["Linear mean+std"] - ua["Linear"])
    assert (
        f"scores {gained} points UA above the one without, and the shift models {percent(min(above))} to "
        f"{percent(max(above))} points above the former" in page_text()
    )


def test_the_effect_of_more_seeds_and_speakers_matches_the_record(compared):
    page = page_text()
    of_ravdess = {(pair["model"], pair["baseline"]): pair for pair in compared[0][2].summary["pairs"]}
    pairs = [of_ravdess["Shiftformer", "Identity mixer"], of_ravdess["ShiftLSTM", "LSTM"]]
    for pair in pairs:
        assert f"{196 * pair['se_speakers']:.1f} points instead of {196 * pair['se']:.1f}" in page
    speakers = [24 * (1.96 * pair["se_speakers"] / 0.01) ** 2 for pair in pairs]
    assert f"about {speakers[0]:.0f} and {speakers[1]:.0f} instead of 24" in page


def test_the_figures_for_100_epochs_match_the_record():
    page = page_text()
    rows = with_holm(real_speech_tables.experiments(line for name in pages.FRAME_RATE for line in record_of(name)))
    significant = [(each.head["training"]["epochs"], pair["baseline"]) for each, pair in rows if pair["holm_p"] < 0.05]
    assert significant == [(100, "Transformer")] * 2  # "Two of these differences have a corrected p below 0.05"
    by_speaker = corrected([{**pair, "p": pair["sign_flip_p"]} for _, pair in rows])
    assert min(pair["holm_p"] for pair in by_speaker) > 0.05
    models = ("Shiftformer 20 ms", "Shiftformer 160 ms", "Identity mixer")
    of_100 = {
        pair["model"]: pair
        for each, pair in rows
        if each.head["training"]["epochs"] == 100 and pair["baseline"] == "Transformer"
    }
    short, long, mixer = (percent(of_100[model]["ua_difference"]) for model in models)
    assert f"the Shiftformers score {short} (20 ms) and {long} points (160 ms) above the Transformer" in page
    assert f"in which no channel moves, {mixer}." in page
    of_model = next(each.of_model for each, _ in rows if each.head["training"]["epochs"] == 100)

    def at(key):
        return [of_model[model][key]["ua"] - of_model["Transformer"][key]["ua"] for model in models]

    last, best = at("last_epoch"), at("best_test_epoch")
    assert f"they are {', '.join(map(percent, last[:2]))} and {percent(last[2])} points" in page
    assert f"reports, {', '.join(map(signed, best[:2]))} and {signed(best[2])}." in page


def test_the_figures_on_the_ablation_match_the_record():
    page = page_text()
    (ablation,) = real_speech_tables.experiments(record_of(*pages.ABLATION))
    pairs = corrected(ablation.summary["pairs"])
    assert min(pair["holm_p"] for pair in pairs) > 0.05
    assert f"None of the {len(pairs)} differences is significant" in page
    apart = [pair["model"] for pair in pairs if not pair["interval"][0] <= 0 <= pair["interval"][1]]
    assert {model.split()[0] for model in apart} == {"transformer"}
    replacing = sum("replace" in model for model in apart)
    assert f"{len(apart)} intervals exclude 0" in page
    assert f"All {len(apart)} are of Transformers, and {replacing} of these" in page
    assert all(pair["ua_difference"] < 0 for pair in pairs if pair["baseline"] == "lstm")
    here = next(model["ua"]["mean"] for model in ablation.summary["models"] if model["name"] == "lstm")
    (five,) = real_speech_tables.experiments(record_of("real-speech/emodb-tiny"))
    ua = next(model["ua"] for model in five.summary["models"] if model["name"] == "LSTM")
    two = np.mean([ua["by_seed"][str(seed)] for seed in ablation.head["seeds"]])
    assert (
        f"it scores {percent(here)} % here and {percent(two)} % on the other CPU, and {percent(ua['mean'])} %" in page
    )


def test_the_effect_of_another_cpu_matches_the_records():
    page = page_text()
    of_ablation = {
        "CNN": "conv",
        "LSTM": "lstm",
        "Transformer": "transformer",
        "ShiftCNN": "conv residual n_div=16 past stride=1",
        "ShiftLSTM": "lstm inplace n_div=4 past stride=1",
        "Shiftformer": "transformer replace n_div=4 both stride=1",
    }
    first, second = (
        {(line["model"], line["seed"], line["fold"]): line for line in record_of(name) if line["kind"] == "run"}
        for name in ("real-speech/emodb-tiny", *pages.ABLATION)
    )
    both = [
        (run, second[of_ablation[model], seed, fold])
        for (model, seed, fold), run in first.items()
        if model in of_ablation and (of_ablation[model], seed, fold) in second
    ]
    changed = [abs(one["ua"] - other["ua"]) for one, other in both if one["predictions"] != other["predictions"]]
    assert f"{len(both)} runs of EmoDB with Whisper tiny.en are in the main table and in the ablation" in page
    assert f"{len(changed)} of them have other predictions" in page
    assert f"the UA of one run changed by {percent(max(changed))} points" in page
    means = [
        abs(np.mean([one["ua"] - other["ua"] for one, other in both if one["model"] == model])) for model in of_ablation
    ]
    assert f"of a model over its ten runs by up to {percent(max(means))} points" in page
