"""Names that look alike, and missing values, in tables, folders, label maps and manifests."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.manifest import Manifest, read_manifest, write_manifest
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import noise, write
from .test_readers import reading_error

NFD = unicodedata.normalize("NFD", "René")


@pytest.fixture
def audio(tmp_path) -> Path:
    for number in range(5):
        write(tmp_path / f"{number}.wav", noise(number))
    return tmp_path


def table(folder: Path, rows: list[dict[str, object]]) -> Path:
    """A table of JSON lines. Missing keys get valid values; the path of row ``n`` is ``n.wav``."""
    path = folder / "t.jsonl"
    full = [{"path": f"{number}.wav", "label": "sad", "speaker": "s1", **row} for number, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in full))
    return path


def manifest(folder: Path, rows: list[dict[str, object]], **options: object) -> Manifest:
    return read_corpus(config.Corpus(reader="table", path=table(folder, rows), **options))


@pytest.mark.parametrize(
    ("one", "other"), [("René", NFD), ("Anna", "Anna\u200b"), ("\ufeffAnna", " Anna"), ("An\u00adna", "Anna\u200e")]
)
def test_names_with_invisible_differences_are_equal(audio, one, other):
    found = manifest(audio, [{"speaker": one, "label": one}, {"speaker": other, "label": other}])
    name = unicodedata.normalize("NFC", one).strip("\ufeff").replace("\u00ad", "")
    assert {each.speaker for each in found.utterances} == {name}
    assert found.labels == (name,)


@pytest.mark.parametrize(("one", "other"), [("Anna", "anna"), ("03", "3"), ("Ａnna", "Anna"), ("Ses01", "Ses1")])
@pytest.mark.parametrize("column", ["speaker", "session", "label"])
def test_names_that_look_alike_are_refused_in_every_column(audio, column, one, other):
    rows = [{"session": f"day{number}", column: name} for number, name in enumerate((one, other, "x"))]
    sentence = reading_error(reader="table", path=table(audio, rows))
    first, second = sorted((one, other)) if column == "label" else (one, other)
    assert f"{column}s must not look alike, got {first!r} and {second!r}: give " in sentence


def test_labels_that_look_alike_are_resolved_by_the_label_map(audio):
    rows = [{"label": "happy"}, {"label": "Happy"}, {"label": "sad"}]
    found = manifest(audio, rows, label_map={"happy": "joy", "Happy": "joy", "sad": "sad"})
    assert found.count("label") == {"joy": 2, "sad": 1}
    found = manifest(audio, rows, label_map={"happy": "joy", "Happy": None, "sad\u200b": "sad"})
    assert found.count("label") == {"joy": 1, "sad": 1}


@pytest.mark.parametrize(
    ("label_map", "problem"),
    [
        ({"happy": "a", "Happy": "b"}, "must not look alike, got 'happy' and 'Happy'"),
        ({"01": "a", "1": "b"}, "must not look alike, got '01' and '1'"),
        ({"x": "happy", "y": "Happy"}, "must not look alike, got 'happy' and 'Happy'"),
        ({"sad": "a", "sad\u200b": "b"}, "'sad' must have one class, got 'a' and 'b'"),
        ({"x": "a\nb"}, r"class of 'x' must be one line of UTF-8 text without control characters, got 'a\\nb'"),
        ({"x": "\u200b", "y": "a"}, "class of 'x' must not be empty"),
        ({"x": "nan", "y": "a"}, "class of 'x' must be a name, or null to leave it out, got 'nan'"),
    ],
)
def test_a_label_map_with_ambiguous_names_is_refused(label_map, problem):
    with pytest.raises(RecipeError, match=problem):
        config.Corpus.checked(reader="table", path="t.csv", label_map=label_map)


@pytest.mark.parametrize("reader", ["folder", "manifest"])
def test_other_readers_refuse_look_alikes_too(tmp_path, reader):
    if reader == "folder":
        for speaker in ("anna", "Anna"):
            write(tmp_path / "sad" / speaker / "1.wav")
        path = tmp_path
    else:
        path = tmp_path / "m.jsonl"
        write(tmp_path / "0.wav")
        write(tmp_path / "1.wav")
        write_manifest(manifest(tmp_path, [{"speaker": "anna"}, {"speaker": "bert"}]), path)
        path.write_text(path.read_text().replace('"bert"', '"Anna"'))
    assert "speakers must not look alike, got " in reading_error(reader=reader, path=path)


@pytest.mark.parametrize(
    "value", [float("nan"), None, "nan", "NaN", "NA", "N/A", "null", "None", "#REF!", "-", "", " ", "\u200b"]
)
@pytest.mark.parametrize("column", ["label", "speaker"])
def test_missing_values_are_errors_with_their_line(audio, column, value):
    path = table(audio, [{}, {}, {column: value}])
    sentence = reading_error(reader="table", path=path)
    assert sentence.startswith(f"{path}, line 3: {column!r} ")


def test_missing_values_of_csv_are_refused_by_line(audio):
    path = audio / "t.csv"
    path.write_text("path,label,speaker\n0.wav,NA,a\n1.wav,sad,n/a\n2.wav,,\n")
    assert reading_error(reader="table", path=path).split("\n") == [
        "4 problems:",
        f"{path}, line 2: 'label' must not be a missing value, got 'NA'",
        f"{path}, line 3: 'speaker' must not be a missing value, got 'n/a'",
        f"{path}, line 4: 'label' is empty",
        f"{path}, line 4: 'speaker' is empty",
    ]


def test_missing_labels_in_the_label_map_are_mapped(audio):
    rows: list[dict[str, object]] = [{"label": "NA"}, {"label": None}, {"label": ""}, {"label": "sad"}]
    found = manifest(audio, rows, label_map={"NA": "no emotion", "null": None, "": None, "sad": "sad"})
    assert found.count("label") == {"no emotion": 1, "sad": 1}


def test_a_folder_named_like_a_missing_value_is_an_error(tmp_path):
    for label in ("sad", "nan"):
        write(tmp_path / label / "anna" / f"{label}.wav")
    sentence = reading_error(reader="folder", path=tmp_path)
    assert sentence.startswith(f"{tmp_path}/nan/anna/nan.wav: label must not be a missing value, got 'nan'")


def test_missing_values_of_a_manifest_are_refused_by_line(audio):
    path = audio / "m.jsonl"
    write_manifest(manifest(audio, [{}, {}, {}]), path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace('"sad"', '"nan"'), lines[2].replace('"s1"', '"None"')]))
    with pytest.raises(RecipeError) as raised:
        read_manifest(path)
    assert f"{path}, line 2: label must not be a missing value, got 'nan'" in str(raised.value)
    assert f"{path}, line 3: speaker must not be a missing value, got 'None'" in str(raised.value)
    with pytest.raises(RecipeError) as raised:
        read_manifest(path, ("nan", "sad"))
    assert "label" not in str(raised.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            '{"path": "0.wav", "label": "a", "Label": "b", "speaker": "x"}',
            "the keys 'label' and 'Label' name the same column",
        ),
        ('{"path": "0.wav", "label": "a", "label": "b", "speaker": "x"}', "the key 'label' occurs twice"),
        ('{"path": "0.wav", "label": true, "speaker": "x"}', "'label' must be text or a finite number"),
        ('{"path": "0.wav", "label": ["a"], "speaker": "x"}', "'label' must be text or a finite number"),
        ('{"path": "0.wav", "label": Infinity, "speaker": "x"}', "'label' must be text or a finite number"),
        ('{"path": "https://x.org/0.wav", "label": "a", "speaker": "x"}', "'path' must be a path on this machine"),
        ('{"path": "~/0.wav", "label": "a", "speaker": "x"}', "'path' must be a path on this machine"),
        ('{"path": "0.wav\\u0000", "label": "a", "speaker": "x"}', "'path' must be a path on this machine"),
        ('{"path": "..", "label": "a", "speaker": "x"}', "the audio file .* cannot be read: Is a directory"),
        ('{"path": "0.wav", "label": "a\\nb", "speaker": "x"}', r"label must be one line of .*, got 'a\\nb'"),
        ('{"path": "0.wav", "label": "a", "speaker": "x\\ny"}', r"speaker must be .*line breaks, got 'x\\ny'"),
    ],
)
def test_an_ambiguous_row_is_an_error(audio, line, problem):
    path = audio / "t.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RecipeError, match=problem) as raised:
        read_corpus(config.Corpus(reader="table", path=path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "header", ["path,label,speaker,Label", "path,label,speaker,session,SESSION", "id,path,label,speaker,id"]
)
def test_a_column_that_occurs_twice_is_refused(audio, header):
    (audio / "t.csv").write_text(f"{header}\n")
    assert "occurs twice" in reading_error(reader="table", path=audio / "t.csv")


def test_an_unpaired_quote_mark_is_an_error_with_its_line(audio):
    path = audio / "t.tsv"
    rows = ['0.wav\tsad\ta\t"quoted from here', "1.wav\tsad\tb\tx", '2.wav\tsad\tc\tto here"', "3.wav\tsad\td\ty"]
    path.write_text("\n".join(["path\tlabel\tspeaker\ttext", *rows]))
    assert f"{path}, line 2: a quoted cell must not contain rows of the table, got 2" in reading_error(
        reader="table", path=path
    )
    path.write_text("\n".join(["path\tlabel\tspeaker\ttext", '0.wav\tsad\ta\t"two\nlines"']))
    assert len(read_corpus(config.Corpus(reader="table", path=path)).utterances) == 1
