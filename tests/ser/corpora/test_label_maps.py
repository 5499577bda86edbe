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


def test_the_classes_stand_in_the_order_in_which_the_map_first_names_them():
    codes = Counter("cab")
    assert classes_of(codes, {"a": "late", "b": None, "c": "early", "d": "late"}, None)[1] == ("late", "early")
    assert classes_of(codes, None, None) == ({"c": "c", "a": "a", "b": "b"}, ("a", "b", "c"))


def test_a_code_that_the_map_lacks_can_differ_by_case_from_one_that_it_has():
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


def test_the_map_of_iemocap_is_the_fields():
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
        ("a: [", ", line 1, column 5: expected the node content"),
        ("- a", " must hold lines 'code: class' or 'code: null'"),
        ("", " must hold lines 'code: class' or 'code: null'"),
        ("a: [b]", " gives 'a' the class ['b']: it must be a name, or null"),
        ("null: b", " gives None the class 'b': it must be a name, or null"),
        ("a: null", " leaves out everything"),
    ],
)
def test_a_file_that_is_no_map_is_a_sentence(tmp_path, text, sentence):
    (tmp_path / "map.yaml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        read_label_map(tmp_path / "map.yaml")
    assert str(raised.value).startswith(f"the label map {tmp_path}/map.yaml{sentence}")


def test_a_missing_map_is_a_sentence(tmp_path):
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
