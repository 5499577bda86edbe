"""The readers for tables, and for folders with a pattern."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.manifest import Manifest
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import noise, write, write_folder, write_table
from .test_readers import groups_of, reading_error


def table(path: Path, text: str) -> Manifest:
    path.write_bytes(text.encode())
    return read_corpus(config.Corpus(reader="table", path=path))


def four(manifest: Manifest) -> list[tuple[str, str, str]]:
    return [(u.path.name, u.label, u.speaker) for u in sorted(manifest.utterances, key=lambda u: u.path)]


@pytest.fixture
def audio(tmp_path) -> Path:
    for name in ("a.wav", "b.wav", "c, d.wav"):
        write(tmp_path / name)
    return tmp_path


FOUR = [("a.wav", "happy", "01"), ("b.wav", "sad", "anna; bert"), ("c, d.wav", "sad", "02")]


@pytest.mark.parametrize(
    "text",
    [
        'path,label,speaker\na.wav,happy,01\nb.wav,sad,anna; bert\n"c, d.wav",sad,02\n',
        'path;label;speaker\r\na.wav;happy;01\r\nb.wav;sad;"anna; bert"\r\nc, d.wav;sad;02\r\n',
        "\ufeffSpeaker\tPath\tlabel \n01\ta.wav\thappy\nanna; bert\tb.wav\tsad\n\n02\tc, d.wav\tsad",
        "sep=;\npath;label;speaker\na.wav;happy;01\nb.wav;sad;anna; bert\nc, d.wav;sad;02\n".replace(
            "anna; bert", '"anna; bert"'
        ),
        ' \r\rpath,label,speaker\ra.wav,happy,01\r , ,\rb.wav,sad,anna; bert\r"c, d.wav",sad,02\r',
        'path;take, number;label;speaker\na.wav;1,5;happy;01\nb.wav;;sad;"anna; bert"\nc, d.wav;;sad;02\n',
        '{"path": "a.wav", "label": "happy", "speaker": "01", "take": null}\n\n'
        '{"path": "b.wav", "label": "sad", "speaker": "anna; bert"}\n'
        '{"path": "c, d.wav", "label": "sad", "speaker": "02"}',
    ],
    ids=["commas", "semicolons", "tabs", "excel", "old-mac", "further-columns", "json-lines"],
)
def test_tables_of_spreadsheets_are_read(audio, text):
    assert four(table(audio / "table.csv", text)) == FOUR


def test_the_default_id_is_the_path_and_json_numbers_are_names(tmp_path):
    write(tmp_path / "x" / "a.wav")
    (only,) = table(tmp_path / "t.csv", "path,label,speaker\nx/a.wav,sad,1\n").utterances
    assert (only.id, only.path, only.session) == ("x/a", tmp_path / "x" / "a.wav", "Group1")
    (only,) = table(tmp_path / "t.jsonl", '{"path": "x/a.wav", "label": 3, "speaker": 7, "id": 12}').utterances
    assert (only.id, only.label, only.speaker) == ("12", "3", "7")


def test_relative_paths_start_from_the_audio_folder(audio, tmp_path):
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "t.csv"
    path.write_text(f"path,label,speaker\na.wav,sad,1\n{audio}/b.wav,sad,2\n")
    manifest = read_corpus(config.Corpus(reader="table", path=path, audio=audio))
    assert sorted(u.path.name for u in manifest.utterances) == ["a.wav", "b.wav"]


NEMO = """file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage
WR0_surprised_64.wav\tsurprised\tUcho wykrywa dźwięki.\tucho wykrywa dźwięki\t        WR0\tmale\t23
EB0_neutral_13.wav\tneutral\t„Ród smoka” to serial.\t„ród smoka” to serial\t        EB0\tfemale\t27
"""
NEMO_COLUMNS = {"path": "file_id", "label": "emotion", "speaker": "Speaker_ID"}


@pytest.mark.parametrize("text", [NEMO, NEMO.replace(".wav", "")], ids=["as-published", "without-extensions"])
def test_a_table_with_other_headers_is_read_by_its_columns(tmp_path, text):
    for name in ("WR0_surprised_64.wav", "EB0_neutral_13.wav"):
        write(tmp_path / "samples" / name)
    (tmp_path / "data.tsv").write_text(text)
    corpus = config.Corpus(
        reader="table", path=tmp_path / "data.tsv", audio=tmp_path / "samples", columns=NEMO_COLUMNS, groups=2
    )
    assert four(read_corpus(corpus)) == [
        ("EB0_neutral_13.wav", "neutral", "EB0"),
        ("WR0_surprised_64.wav", "surprised", "WR0"),
    ]
    assert {each.id for each in read_corpus(corpus).utterances} == {"EB0_neutral_13", "WR0_surprised_64"}


def test_missing_columns_and_ambiguous_names_are_errors(tmp_path):
    (tmp_path / "data.tsv").write_text(NEMO.replace(".wav", ""))
    options = {"reader": "table", "path": tmp_path / "data.tsv"}
    said = reading_error(**options, columns={**NEMO_COLUMNS, "speaker": "who"})
    assert re.search(r"data\.tsv, line 1: the table must have the column who, got file_id, emotion, ", said)
    assert "columns.session must be a column of" in reading_error(**options, columns={**NEMO_COLUMNS, "session": "day"})
    for name in ("WR0_surprised_64.wav", "WR0_surprised_64.flac"):
        write(tmp_path / name)
    said = reading_error(**options, columns=NEMO_COLUMNS)
    assert (
        "line 2: 'WR0_surprised_64' must name one recording, got WR0_surprised_64.wav and WR0_surprised_64.flac" in said
    )
    with pytest.raises(RecipeError, match=r"columns.*'label', .*got 'emotion'"):
        config.Corpus.checked(**options, columns={"emotion": "label"})
    with pytest.raises(RecipeError, match=r"columns must name .*got 'x' twice"):
        config.Corpus.checked(**options, columns={"path": "x", "label": "X"})
    with pytest.raises(RecipeError, match=r"reader must be table if columns is set, got emodb"):
        config.Corpus.checked(reader="emodb", path=tmp_path, columns=NEMO_COLUMNS)


def test_a_column_session_defines_the_folds_unless_groups_are_set(audio):
    text = "path,label,speaker,session\na.wav,sad,1,May\nb.wav,sad,2,June\n'c, d.wav',sad,3,July\n"
    path = audio / "t.csv"
    path.write_text(text.replace("'", '"'))

    def folds(**options: object) -> set[str]:
        return {u.session for u in read_corpus(config.Corpus(reader="table", path=path, **options)).utterances}

    assert folds() == folds(folds="published") == {"May", "June", "July"}
    assert folds(folds="speakers") == {"Group1", "Group2", "Group3"}
    assert folds(groups=2) == {"Group1", "Group2"}


def test_published_folds_of_a_table_without_sessions_are_an_error(tmp_path):
    path = write_table(tmp_path)
    error = reading_error(reader="table", path=path, folds="published")
    assert re.search(rf"folds must be speakers unless there is a column session in {path}, got published", error)


def test_all_problems_of_a_table_are_in_one_message_by_line(audio):
    write(audio / "broken.wav", b"not audio")
    path = audio / "t.csv"
    path.write_text(
        'path,label,speaker\na.wav,,\nb.wav,sad,1\n"gone\n.wav",sad,1\nbroken.wav,sad,2\nb.wav,happy,2\na.wav,sad,3,4\n'
    )
    assert reading_error(reader="table", path=path) == "\n".join(
        [
            "6 problems:",
            f"{path}, line 8: a row must have at most 3 cells, got 4",
            f"{path}, line 2: 'label' is empty",
            f"{path}, line 2: 'speaker' is empty",
            f"{path}, line 7: the utterance b already occurs in {path}, line 3",
            f"{path}, line 4: there is no audio file {audio}/gone\n.wav",
            f"{path}, line 6: the audio file {audio}/broken.wav cannot be read: Format not recognised",
        ]
    )


def test_speakers_and_sessions_can_name_the_folders_of_their_results(audio):
    path = audio / "t.csv"
    path.write_text("path,label,speaker,session\na.wav,sad,../x,1\nb.wav,sad,.y,a\\b\n")
    assert reading_error(reader="table", path=path).split("\n") == [
        "3 problems:",
        f"""{path}, line 2: speaker must not contain any of / \\ : * ? " < > |, got '../x'""",
        f"{path}, line 3: speaker must not begin or end with a dot or white space, got '.y'",
        rf"""{path}, line 3: session must not contain any of / \ : * ? " < > |, got 'a\\b'""",
    ]
    line = {"id": "a", "path": "a.wav", "label": "sad", "speaker": "../x", "session": "1", "start": 0, "end": 1}
    line |= {"samples": 1, "sample_rate": 1, "sha256": "0" * 64, "style": ""}
    path.write_text(json.dumps(line))
    assert f"{path}, line 1: speaker must not contain any of / " in reading_error(reader="manifest", path=path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("path,emotion\na.wav,sad\n", ", line 1: the table must have the columns label, speaker, got path, emotion"),
        ("path,label,speaker,label\n", ", line 1: the column label occurs twice"),
        ('path,label,speaker\n"a.wav,sad,1\n', ", line 2: the row cannot be parsed: unexpected end of data"),
        ('{"path": "a.wav"}\n', ", line 1: 'label' is empty"),
        ('{"path": "a.wav", "label": "x", "speaker": "y"}\n[]\n', ", line 2: must be a JSON object, got list"),
    ],
)
def test_an_invalid_table_is_an_error_with_its_line(audio, text, sentence):
    path = audio / "t.csv"
    path.write_text(text)
    assert f"{path}{sentence}" in reading_error(reader="table", path=path)


def test_a_missing_binary_or_empty_table_is_an_error(tmp_path):
    path = tmp_path / "t.csv"
    assert reading_error(reader="table", path=path) == f"there is no table {path}"
    path.write_bytes("path,label,speaker\nä.wav".encode("utf-16"))
    assert (
        reading_error(reader="table", path=path) == f"the table {path} must be UTF-8 text, got UTF-16: save it as UTF-8"
    )
    path.write_text("path,label,speaker\n")
    assert reading_error(reader="table", path=path) == f"the table {path} must have a row for each recording, got none"


def test_labels_of_a_table_are_mapped_in_the_order_of_the_map(tmp_path):
    path = write_table(tmp_path)
    found = read_corpus(config.Corpus(reader="table", path=path, label_map={"sad": "down", "happy": "up"}))
    assert found.labels == ("down", "up")
    assert reading_error(reader="table", path=path, label_map={"sad": "down"}) == (
        "the label map lacks 'happy' (5 utterances): give each a class, or null to leave it out"
    )
    assert reading_error(reader="table", path=path, label_map={"sad": None, "happy": None, "x": "x"}) == (
        f"the label map must keep at least one label of {path}, got null for happy, sad"
    )


def test_a_folder_is_read_by_its_default_pattern(tmp_path):
    write_folder(tmp_path)
    manifest = read_corpus(config.Corpus(reader="folder", path=tmp_path))
    assert len(manifest.utterances) == 2 * 5 * 2
    assert manifest.labels == ("happy", "sad")
    first = next(u for u in manifest.utterances if u.id == "sad/dora/2")
    assert (first.label, first.speaker, first.path) == ("sad", "dora", tmp_path / "sad" / "dora" / "2.wav")
    assert {len(members) for members in groups_of(manifest).values()} == {1}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("anna_happy_1.wav", "{speaker}_{label}_{name}"),
        ("anna_happy_take_1.wav", "{speaker}_{label}_{name}"),
        ("May/anna/anna-x-happy.wav", "{month}/{speaker}/{speaker}-{take}-{label}"),
        ("day.1/anna (2) happy.wav", "{day}/{speaker} (2) {label}.wav"),
    ],
)
def test_a_pattern_finds_speaker_and_label(tmp_path, name, pattern):
    write(tmp_path / name)
    (only,) = read_corpus(config.Corpus(reader="folder", path=tmp_path, pattern=pattern)).utterances
    assert (only.speaker, only.label) == ("anna", "happy")


def test_a_long_name_with_many_fields_is_matched_without_backtracking(tmp_path):
    pattern = "{speaker}_{label}_{a}_{b}_{c}_{d}_{e}_{f}"
    write(tmp_path / f"anna_happy_{'x_' * 30}x.wav")
    (only,) = read_corpus(config.Corpus(reader="folder", path=tmp_path, pattern=pattern)).utterances
    assert (only.speaker, only.label) == ("anna", "happy")
    with pytest.raises(RecipeError, match=r"pattern must match the recordings in .*anna_happy_"):
        read_corpus(config.Corpus(reader="folder", path=tmp_path, pattern=f"{pattern}.end"))


def test_a_field_session_defines_the_folds_unless_groups_are_set(tmp_path):
    for day, (speaker, label) in itertools.product((1, 2, 3), itertools.product("ab", ("happy", "sad"))):
        write(tmp_path / f"day{day}" / f"{speaker}{day}_{label}.wav")
    options = {"reader": "folder", "path": tmp_path, "pattern": "{session}/{speaker}_{label}"}
    manifest = read_corpus(config.Corpus(**options))
    assert groups_of(manifest) == {f"day{day}": {f"a{day}", f"b{day}"} for day in (1, 2, 3)}
    assert [fold.name for fold in make_folds(manifest, "heldout")] == ["day1", "day2", "day3"]
    assert set(groups_of(read_corpus(config.Corpus(**options, groups=2)))) == {"Group1", "Group2"}
    assert "folds must be speakers unless there is a field {session} in the pattern, got published" in reading_error(
        reader="folder", path=tmp_path, pattern="{day}/{speaker}_{label}", folds="published"
    )


def test_files_that_do_not_fit_the_pattern_are_named(tmp_path):
    write_folder(tmp_path)
    stray = [write(tmp_path / "happy" / name) for name in ("extra.wav", "stray.flac")]
    assert reading_error(reader="folder", path=tmp_path).split("\n") == [
        "2 problems:",
        *(f"the file {path} does not match '{{label}}/{{speaker}}/{{name}}'" for path in stray),
    ]
    assert reading_error(reader="folder", path=tmp_path, pattern="{speaker}_{label}") == (
        f"pattern must match the recordings in {tmp_path}, such as {tmp_path}/happy/anna/1.wav, "
        "got '{speaker}_{label}'"
    )


def test_recordings_that_libsndfile_cannot_read_are_errors(tmp_path):
    write_folder(tmp_path)
    film = write(tmp_path / "happy" / "anna" / "my film.M4A", b"no")
    assert reading_error(reader="folder", path=tmp_path) == (
        f"the audio file {film} cannot be read: Format not recognised; convert it first, for example with ffmpeg -i "
        f"'{film}' '{film.with_suffix('.wav')}'"
    )


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("{lable}/{speaker}", "pattern must contain {label}, like '{label}/{speaker}/{name}', got "),
        ("{name}", "pattern must contain {label} and {speaker}, like '{label}/{speaker}/{name}', got "),
        ("{label}{speaker}", "pattern must have text between two fields, got "),
        ("{label}/{speaker}/{}", "fields of the pattern must be one word, like {take}, got {} in "),
    ],
)
def test_an_invalid_pattern_is_an_error(tmp_path, pattern, sentence):
    assert reading_error(reader="folder", path=tmp_path, pattern=pattern) == f"{sentence}{pattern!r}"


def test_any_format_rate_and_number_of_channels_is_read(tmp_path):
    kinds = [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("aiff", "AIFF"), ("WAV", "WAV")]
    rates = (8_000, 16_000, 22_050, 44_100, 48_000, 96_000)
    heard: Counter[tuple[int, int]] = Counter()
    for number, ((suffix, kind), rate) in enumerate(itertools.product(kinds, rates)):
        channels = 1 + number % 8
        speaker = f"s{number % 4}"
        write(tmp_path / "sad" / speaker / f"{number}.{suffix}", noise(number, rate // 50, rate, channels, kind))
        heard[rate, rate // 50] += 1
    manifest = read_corpus(config.Corpus(reader="folder", path=tmp_path))
    assert Counter((u.sample_rate, u.samples) for u in manifest.utterances) == heard
    assert {round(u.end, 6) for u in manifest.utterances} == {0.02}


def test_json_lines_are_detected_by_the_file_name(audio):
    path = audio / "rows.ndjson"
    path.write_text(
        "".join(json.dumps(dict(zip(("path", "label", "speaker"), row, strict=True))) + "\n" for row in FOUR)
    )
    assert four(read_corpus(config.Corpus(reader="table", path=path))) == FOUR


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_table_is_an_error_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    (tmp_path / "table.csv").write_text("path,label,speaker\na.wav,happy,anna\n")
    with pytest.raises(RecipeError, match=r"a\.wav must be a regular file, got a pipe"):
        read_corpus(config.Corpus(reader="table", path=tmp_path / "table.csv"))


def test_a_label_has_the_same_maximum_length_as_other_names(audio):
    (audio / "t.csv").write_text(f"path,label,speaker\na.wav,{'x' * 201},1\n")
    sentence = reading_error(reader="table", path=audio / "t.csv")
    assert f"{audio / 't.csv'}, line 2: label must have at most 200 bytes in UTF-8, got 'xxx" in sentence


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="requires /proc/self/mem")
def test_a_file_that_fails_while_reading_is_named_with_its_line(tmp_path):
    (tmp_path / "table.csv").write_text("path,label,speaker\n/proc/self/mem,happy,anna\n")
    with pytest.raises(RecipeError, match=r"table\.csv, line 2: the audio file /proc/self/mem cannot be read"):
        read_corpus(config.Corpus(reader="table", path=tmp_path / "table.csv"))
