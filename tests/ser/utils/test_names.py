"""Names that become files and folders, and names that look alike."""

import unicodedata

import pytest
from pydantic import ValidationError

from temporal_shift.ser import config
from temporal_shift.ser.utils.errors import RecipeError, sentences_of
from temporal_shift.ser.utils.names import check_path_name, clean_name, look_alike_key, look_alikes

OUTSIDE = ["..", ".", "...", "a/b", "a\\b", "/a", "C:", "a*", "<a>", '"a"', "a|b", "what?"]
UNSEEN = ["", " ", " a", "a ", "a\n", "\ta", "a\0b", "a\x7fb", "a\u200b", "a\u202eb", "\ufeffa", "\u2028", "a\udc80"]
LONG = ["x" * 201, "é" * 101, "x" * 100_000]
RESERVED = [".hidden", "a.", "NUL", "nul.txt", "Com1", "con .x"]


@pytest.mark.parametrize("name", [*OUTSIDE, *UNSEEN, *LONG, *RESERVED])
def test_a_name_that_is_not_a_valid_folder_on_every_system_is_an_error(name):
    with pytest.raises(RecipeError, match=r"^model must [^\n]*, got '[^\n]{0,160}$"):
        check_path_name(name, "model")


@pytest.mark.parametrize(
    "name", ["conv residual n_div=8 both stride=1", "x" * 200, "Ünïcode", "日本", "a.b", "console"]
)
def test_other_names_are_unchanged(name):
    assert check_path_name(name, "model") == name


def test_one_name_in_two_forms_of_unicode_is_one_folder():
    assert check_path_name(unicodedata.normalize("NFD", "René"), "model") == "René"


@pytest.mark.parametrize("name", ["..", "...", "a\n", "x" * 300, "NUL"])
def test_experiments_models_and_baselines_follow_the_rule(name):
    good = {"name": "x", "corpus": {"path": "."}, "models": [{"name": "m", "blocks": "conv"}]}
    for values, key in (
        ({**good, "name": name}, "name"),
        ({**good, "models": [{"name": name, "blocks": "conv"}]}, "models[0].name"),
        ({**good, "models": [{"name": "m", "blocks": "conv", "baseline": name}]}, "models[0].baseline[0]"),
    ):
        with pytest.raises(ValidationError) as raised:
            config.Experiment.model_validate(values)
        (sentence,) = sentences_of(raised.value)
        assert sentence.startswith(f"{key} must ")


@pytest.mark.parametrize("names", [("LSTM", "lstm"), ("CNN", "ＣＮＮ"), ("shift 8", "shift 08")])
def test_models_of_one_experiment_do_not_share_a_folder_on_any_disk(names):
    models = [{"name": name, "blocks": "lstm"} for name in names]
    with pytest.raises(ValidationError, match=f"must not look alike .*, got '{names[0]}' and '{names[1]}'"):
        config.Experiment.model_validate({"name": "x", "corpus": {"path": "."}, "models": models})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Anna", "anna"),
        ("03", "3"),
        ("Ses01F", "ses1f"),
        ("Ａ１", "a1"),
        ("3.0", "3"),
        ("٠٣", "03"),
        ("Straße", "STRASSE"),
        ("a\u00a0b", "a b"),
    ],
)
def test_names_that_differ_by_case_width_or_leading_zeros_look_alike(one, other):
    assert look_alike_key(one) == look_alike_key(other)
    assert look_alikes(["x", one, "y", other, one]) == [(one, other)]


@pytest.mark.parametrize(("one", "other"), [("1", "10"), ("1.05", "1.5"), ("s1", "s2"), ("ab", "a b"), ("0", "")])
def test_other_names_do_not_look_alike(one, other):
    assert look_alikes([one, other]) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Rene\u0301", "Ren\u00e9"),
        ("happy\u200b", "happy"),
        ("\ufeff happy\t", "happy"),
        ("ha\u00adppy\u200e", "happy"),
        ("\u200b", ""),
    ],
)
def test_invisible_differences_are_removed(text, name):
    assert clean_name(text) == name
