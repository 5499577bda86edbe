import json
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.manifest import Manifest, Utterance, read_manifest, write_manifest
from temporal_shift.ser.utils.atomic_files import atomic_write
from temporal_shift.ser.utils.errors import RecipeError, raise_problems


def utterance(session: int, gender: str, number: int = 0, folder: Path = Path("/corpus")) -> Utterance:
    id = f"s{session}{gender}{number}"
    return Utterance(
        id=id,
        path=folder / f"{id}.wav",
        label="sad",
        speaker=f"{session}{gender}",
        session=f"Session{session}",
        start=6.2901,
        end=7.5401,
        samples=20_000,
        sample_rate=16_000,
        sha256="0123456789abcdef" * 4,
        style="improvised",
    )


def manifest_of(*utterances: Utterance) -> Manifest:
    return Manifest(utterances, ("happy", "sad"))


def with_line(path: Path, number: int, line: str) -> None:
    """Replace line ``number`` of a manifest."""
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines), encoding="utf-8")


def changed(path: Path, number: int, /, **values: object) -> str:
    """Line ``number`` of a manifest with other values."""
    return json.dumps({**json.loads(path.read_text(encoding="utf-8").split("\n")[number - 1]), **values})


@pytest.fixture
def four_sessions() -> Manifest:
    return manifest_of(*(utterance(session, gender) for session in (3, 1, 4, 2) for gender in "FM"))


def test_a_written_manifest_is_read_back_unchanged(tmp_path, four_sessions):
    write_manifest(four_sessions, tmp_path / "new" / "manifest.jsonl")
    assert read_manifest(tmp_path / "new" / "manifest.jsonl", four_sessions.labels) == four_sessions


def test_the_duration_matches_the_recording():
    assert utterance(1, "F").seconds == 1.25


def test_a_line_is_an_utterance_with_its_eleven_keys_in_order(tmp_path):
    write_manifest(manifest_of(utterance(1, "F"), utterance(1, "M", folder=tmp_path / "audio")), tmp_path / "m.jsonl")
    lines = (tmp_path / "m.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[0] == (
        '{"id": "s1F0", "path": "/corpus/s1F0.wav", "label": "sad", "speaker": "1F", "session": "Session1", '
        '"start": 6.2901, "end": 7.5401, "samples": 20000, "sample_rate": 16000, '
        f'"sha256": "{"0123456789abcdef" * 4}", "style": "improvised"}}'
    )
    assert json.loads(lines[1])["path"] == "audio/s1M0.wav"
    assert len(lines) == 2


def test_the_default_classes_are_all_labels_sorted(tmp_path):
    path = tmp_path / "m.jsonl"
    write_manifest(manifest_of(utterance(1, "F"), replace(utterance(1, "M"), label="happy")), path)
    assert read_manifest(path).labels == ("happy", "sad")
    assert read_manifest(path, ["sad", "bored", "happy"]).labels == ("sad", "bored", "happy")


def test_an_experiment_can_name_a_manifest_and_its_classes(tmp_path):
    path = tmp_path / "m.jsonl"
    two = [utterance(1, gender, folder=tmp_path) for gender in "FM"]
    for each in two:
        each.path.touch()
    write_manifest(manifest_of(two[0], replace(two[1], label="happy")), path)
    assert read_corpus(config.Corpus(reader="manifest", path=path)) == read_manifest(path)
    assert read_corpus(config.Corpus(reader="manifest", path=path, labels=("sad", "happy"))).labels == ("sad", "happy")


def test_only_the_manifest_reader_supports_labels(tmp_path):
    with pytest.raises(RecipeError, match=r"^corpus\.reader must be manifest if corpus\.labels is set, got iemocap"):
        read_corpus(config.Corpus(reader="iemocap", path=tmp_path, labels=("sad", "happy")))


def test_a_manifest_moves_with_the_audio_below_it(tmp_path):
    write_manifest(manifest_of(utterance(1, "F", folder=tmp_path / "here" / "audio")), tmp_path / "here" / "m.jsonl")
    (tmp_path / "here").rename(tmp_path / "there")
    assert read_manifest(tmp_path / "there" / "m.jsonl").utterances[0].path == tmp_path / "there" / "audio" / "s1F0.wav"


def test_an_id_cannot_occur_twice():
    with pytest.raises(RecipeError, match=r"^the utterance s1F0 occurs twice$"):
        manifest_of(utterance(1, "F"), utterance(1, "F"))


def test_a_label_is_one_of_the_classes():
    with pytest.raises(RecipeError, match=r"label .* happy, sad, got 'bored'$"):
        manifest_of(replace(utterance(1, "F"), label="bored"))


def test_a_manifest_without_utterances_is_an_error():
    with pytest.raises(RecipeError, match=r"^the manifest must contain utterances, got none$"):
        manifest_of()


def test_a_missing_manifest_is_an_error(tmp_path):
    with pytest.raises(RecipeError, match=r"^there is no manifest .*m\.jsonl$"):
        read_manifest(tmp_path / "m.jsonl")


def test_an_empty_manifest_is_an_error(tmp_path):
    (tmp_path / "m.jsonl").write_text("\n")
    with pytest.raises(RecipeError, match=r"^the manifest .*m\.jsonl must contain utterances, got none$"):
        read_manifest(tmp_path / "m.jsonl")


@pytest.mark.parametrize("broken", ["{", "null"])
def test_a_line_that_is_not_an_object_is_named(tmp_path, four_sessions, broken):
    path = tmp_path / "m.jsonl"
    write_manifest(four_sessions, path)
    with_line(path, 5, broken)
    with pytest.raises(RecipeError) as raised:
        read_manifest(path)
    assert str(raised.value).startswith(f"{path}, line 5: must be a JSON object, got ")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"id": ""}, "id must have at least 1 character"),
        ({"path": 7}, "path must be a valid string, got 7"),
        ({"path": ""}, "path must be a path on this machine.*, got ''"),
        ({"path": "https://host/a.wav"}, "path must be a path on this machine.*, got 'https://host/a.wav'"),
        ({"path": "~/a.wav"}, "path must be a path on this machine.*, got '~/a.wav'"),
        ({"path": "a\0.wav"}, "path must be a path on this machine"),
        ({"samples": True}, "samples must be a valid integer, got True"),
        ({"samples": 10**4000}, "samples must be less .*, got an integer of 13288 bits$"),
        ({"samples": 10**30}, "samples must be less than or equal to 9007199254740992"),
        ({"sample_rate": 10**9}, "sample_rate must be less than or equal to 768000, got 1000000000"),
        ({"end": float("inf")}, "end must be a finite number"),
        ({"start": -1.0}, r"start must be greater than or equal to 0, got -1\.0"),
        ({"label": "\u200b"}, "label must not be empty"),
        ({"label": "a\nb"}, r"label must be one line of UTF-8 text without control characters, got 'a\\nb'"),
        ({"speaker": "nan"}, "speaker must not be a missing value, got 'nan'"),
        ({"speaker": ["x"]}, "speaker must be a valid string, got list"),
        ({"samples": "20000"}, "samples must be .* integer, got '20000'"),
        ({"sample_rate": 0}, "sample_rate must be greater than 0, got 0"),
        ({"start": float("nan")}, "start must be .* finite"),
        ({"end": 6.0}, r"end must be .* 6\.2901, got 6\.0"),
        ({"sha256": "0123"}, "sha256 must match pattern .*, got '0123'"),
        ({"style": "sung"}, "style must be 'improvised', 'scripted' or '', got 'sung'"),
        ({"colour": "red"}, "the key 'colour' is not known"),
        ({"label": "bored"}, "label must be one of happy, sad, got 'bored'"),
        ({"id": "s3M0"}, "the utterance s3M0 already occurs in .*, line 2"),
    ],
)
def test_an_invalid_value_is_named_with_its_line(tmp_path, four_sessions, values, reason):
    path = tmp_path / "m.jsonl"
    write_manifest(four_sessions, path)
    with_line(path, 5, changed(path, 5, **values))
    with pytest.raises(RecipeError, match=rf"m\.jsonl, line 5: {reason}"):
        read_manifest(path, ("happy", "sad"))


def test_a_key_that_occurs_twice_is_named_with_its_line(tmp_path, four_sessions):
    path = tmp_path / "m.jsonl"
    write_manifest(four_sessions, path)
    with_line(path, 5, changed(path, 5)[:-1] + ', "label": "happy"}')
    with pytest.raises(RecipeError, match=r"m\.jsonl, line 5: the key 'label' occurs twice$"):
        read_manifest(path)


@pytest.mark.parametrize(
    "text",
    [
        "path,label,speaker\na.wav,sad,x\n",
        "path\tlabel\tspeaker\n",
        '{"path": "a.wav", "label": "sad", "speaker": "x"}',
        "[1, 2]",
    ],
)
def test_a_table_in_place_of_a_manifest_is_an_error_that_suggests_prepare(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(RecipeError, match=r"manifest .*t\.csv must be .*temporal-shift ser prepare table .*t\.csv$"):
        read_manifest(tmp_path / "t.csv")


def test_a_run_needs_every_audio_file_of_its_manifest(tmp_path):
    path = tmp_path / "m.jsonl"
    for name in ("s1F0.wav", "s1M0.wav"):
        (tmp_path / name).touch()
    write_manifest(manifest_of(*(utterance(session, sex, folder=tmp_path) for session in (1, 2) for sex in "FM")), path)
    (tmp_path / "s2F0.wav").mkdir()
    with pytest.raises(RecipeError) as raised:
        read_corpus(config.Corpus(reader="manifest", path=path))
    assert str(raised.value).split("\n")[1:] == [
        f"{path}, line 3: path must be an audio file, got the folder {tmp_path}/s2F0.wav",
        f"{path}, line 4: path must be an audio file, but {tmp_path}/s2M0.wav does not exist",
    ]
    assert len(read_manifest(path).utterances) == 4  # without check_audio, no audio is needed


def test_every_key_is_required(tmp_path, four_sessions):
    path = tmp_path / "m.jsonl"
    write_manifest(four_sessions, path)
    with_line(path, 5, "{}")
    with pytest.raises(RecipeError) as raised:
        read_manifest(path)
    for key in (
        "id",
        "path",
        "label",
        "speaker",
        "session",
        "start",
        "end",
        "samples",
        "sample_rate",
        "sha256",
        "style",
    ):
        assert f"line 5: the key '{key}' is missing" in str(raised.value)


def test_all_problems_are_in_one_message(tmp_path, four_sessions):
    path = tmp_path / "m.jsonl"
    write_manifest(four_sessions, path)
    with_line(path, 2, "{")
    with_line(path, 4, changed(path, 4, samples=-1, colour="red"))
    with_line(path, 8, changed(path, 8, id="s3F0", label="bored"))
    with pytest.raises(RecipeError) as raised:
        read_manifest(path, ("happy", "sad"))
    first, *problems = str(raised.value).split("\n")
    assert first == "5 problems:"
    assert problems == [
        f"{path}, line 2: must be a JSON object, got '{{'",
        f"{path}, line 4: samples must be greater than 0, got -1",
        f"{path}, line 4: the key 'colour' is not known: is it misspelt?",
        f"{path}, line 8: the utterance s3F0 already occurs in {path}, line 1",
        f"{path}, line 8: label must be one of happy, sad, got 'bored'",
    ]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1, "0"),
        (2, "2 problems:\n0\n1"),
        (20, "20 problems:\n" + "\n".join(str(k) for k in range(20))),
        (23, "23 problems:\n" + "\n".join(str(k) for k in range(20)) + "\n... and 3 more"),
    ],
)
def test_a_message_has_at_most_twenty_problems(count, message):
    with pytest.raises(RecipeError) as raised:
        raise_problems([str(k) for k in range(count)])
    assert str(raised.value) == message


def test_no_problems_raise_no_error():
    raise_problems([])


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def write_half(path: Path) -> None:
    with atomic_write(path) as file:
        file.write(b"half of the n")
        raise KeyboardInterrupt


def test_two_writers_of_one_path_do_not_interfere(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as slow:
        slow.write(b"slow and ")
        with atomic_write(path) as fast:
            fast.write(b"fast")
        assert path.read_bytes() == b"fast"
        slow.write(b"whole")
    assert path.read_bytes() == b"slow and whole"
