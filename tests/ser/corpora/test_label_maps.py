"""Label maps: the shipped ones, and a user's file."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora.label_maps import classes_of, read_label_map, shipped_map
from temporal_shift.ser.corpora.readers import iemocap
from temporal_shift.ser.utils.errors import RecipeError

ROOT = Path(__file__).parents[3]


def test_the_classes_are_in_the_order_of_the_map():
    codes = Counter("cab")
    assert classes_of(codes, {"a": "late", "b": None, "c": "early", "d": "late"}, None)[1] == ("late", "early")
    assert classes_of(codes, None, None) == ({"c": "c", "a": "a", "b": "b"}, ("a", "b", "c"))


def test_a_code_matches_a_key_of_the_map_in_another_case():
    given = {"sad": "sad", "angry": "angry", "b": "one"}
    assert classes_of(Counter(["Angry", "SAD"]), None, given) == (
        {"Angry": "angry", "SAD": "sad"},
        ("sad", "angry", "one"),
    )
    assert classes_of(Counter("A"), {"A": "Angry"}, given)[0] == {"A": "angry"}
    with pytest.raises(RecipeError, match="lacks 'C'"):
        classes_of(Counter("C"), None, {"b": "one"})


@pytest.mark.parametrize("codes", [["a", "A"], ["A"], ["Sad", "SAD"], ["sad", "Sad"]])
def test_a_code_in_another_case_is_not_matched_if_it_could_be_another_label(codes):
    given = {"a": "anger", "sad": "sadness"}
    lacking = next(code for code in codes if code not in given)
    with pytest.raises(RecipeError, match=f"lacks .*{lacking!r}"):
        classes_of(Counter(codes), None, given)
    exact = {**given, **dict.fromkeys(codes, "other")}
    assert {*classes_of(Counter(codes), None, exact)[0].values()} == {"other"}


def test_the_map_of_iemocap_has_the_usual_four_classes():
    found = shipped_map("iemocap")
    assert tuple(dict.fromkeys(filter(None, found.values()))) == iemocap.LABELS
    assert found["exc"] == "happy"
    assert [code for code, label in found.items() if label is None] == ["fru", "fea", "sur", "dis", "oth", "xxx"]


def test_codes_are_text_with_quotes_or_without(tmp_path):
    (tmp_path / "map.yaml").write_text('01: calm\n"02": happy\nno: null\nN: ~\nyes: on\n1e3: 7 # a comment\n')
    assert read_label_map(tmp_path / "map.yaml") == {
        "01": "calm",
        "02": "happy",
        "no": None,
        "N": None,
        "yes": "on",
        "1e3": "7",
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "the label map {path}, line 1, column 5: expected the node content"),
        ("- a", "the label map {path} must contain lines 'code: class' or 'code: null', got list"),
        ("", "the label map {path} must contain lines 'code: class' or 'code: null', got None"),
        ("a: [b]", "the class of 'a' in the label map {path} must be a name or null, got ['b']"),
        ("null: b", "a label in the label map {path} must be text, got null"),
        ("a: null", "the label map {path} must keep at least one class"),
    ],
)
def test_a_file_with_other_content_is_an_error(tmp_path, text, sentence):
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        read_label_map(tmp_path / "map.yaml")
    assert str(raised.value).startswith(sentence.format(path=tmp_path / "map.yaml"))


def test_a_missing_map_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match=r"^there is no label map .*/gone\.yaml$"):
        read_label_map(tmp_path / "gone.yaml")


def test_codes_of_an_inline_map_are_text_too(tmp_path):
    (tmp_path / "experiment.yaml").write_text(
        "name: x\nmodels: [{name: m, blocks: conv}]\n"
        "corpus: {reader: ravdess, path: ., label_map: {01: calm, no: null}}\n"
    )
    assert config.read_experiment(tmp_path / "experiment.yaml").corpus.label_map == {"01": "calm", "no": None}


def test_the_maps_are_in_the_package():
    globs = json.loads(re.search(r"^temporal_shift = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), flags=re.M)[1])
    shipped = {path for glob in globs for path in (ROOT / "temporal_shift").glob(glob)}
    folder = files("temporal_shift.ser.corpora")
    assert len(set(Path(str(folder)).rglob("*.yaml")) & shipped) == 5
