"""``temporal-shift ser prepare`` with the readers of corpora, and the same options in an experiment's file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from temporal_shift.ser import config
from temporal_shift.ser.corpora import READERS, read_corpus
from temporal_shift.ser.corpora.manifest import read_manifest
from temporal_shift.ser.reports.results import Plan
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import EMODB, write_emobox_emodb, write_emobox_emovo, write_emodb, write_folder, write_table
from .test_describe import typed
from .test_readers import write_small


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("reader", [name for name in READERS if name != "manifest"])
def test_prepare_writes_the_manifest_that_an_experiment_reads(here, reader):
    corpus = write_small(reader, here / "corpus")
    printed = typed("prepare", reader, corpus.path)
    found = read_corpus(corpus)
    assert read_manifest(Path("manifest.jsonl"), found.labels) == found
    assert f"manifest.jsonl: {len(found.utterances)} utterances\n" in printed
    assert ("differs: " in printed) == (reader in ("iemocap", "ravdess", "cremad", "emodb"))


def test_the_counts_of_the_whole_emodb_equal_the_published_ones(here):
    write_emodb(here / "corpus")
    printed = typed("prepare", "emodb", here / "corpus", "--groups", 3)
    assert "differs: the corpus has" not in printed
    assert "differs: all recordings last 0.01 s" in printed
    assert re.search(r"warning: 535 recordings have the same bytes .* another label", printed)
    Path("two.yaml").write_text("W: high\nF: high\nA: high\nT: low\nL: low\nN: null\nE: null\n")
    printed = typed("prepare", "emodb", here / "corpus", "--label-map", "two.yaml", "--out", "two.jsonl")
    assert "differs" not in printed
    assert "not compared with the published counts, because two.yaml defines other classes\n" in printed
    rows = [json.loads(line) for line in Path("two.jsonl").read_text().splitlines()]
    assert sum(row["label"] == "high" for row in rows) == EMODB["W"] + EMODB["F"] + EMODB["A"]
    assert {row["session"] for row in map(json.loads, Path("manifest.jsonl").read_text().splitlines())} == {
        "Group1",
        "Group2",
        "Group3",
    }


@pytest.mark.parametrize("out", ["audio/sad0.wav", "map.yaml"])
def test_prepare_does_not_replace_a_file_that_it_reads(here, out):
    table = write_table(here / "corpus")
    (here / "corpus" / "map.yaml").write_text("happy: happy\nsad: sad\n")
    before = (here / "corpus" / out).read_bytes()
    options = ("--out", here / "corpus" / out, "--label-map", here / "corpus" / "map.yaml")
    assert "--out must not be a file that the command reads, got " in typed("prepare", "table", table, *options, code=2)
    assert (here / "corpus" / out).read_bytes() == before


def test_the_default_manifest_is_not_replaced_by_another_one(here):
    write_folder(here / "folder")
    typed("prepare", "folder", here / "folder")
    before = Path("manifest.jsonl").read_bytes()
    typed("prepare", "folder", here / "folder")
    printed = typed("prepare", "folder", here / "folder", "--groups", 2, code=2)
    assert printed == "error: --out must be given: the default manifest manifest.jsonl exists and has other content\n"
    assert Path("manifest.jsonl").read_bytes() == before
    typed("prepare", "folder", here / "folder", "--groups", 2, "--out", "manifest.jsonl")
    assert Path("manifest.jsonl").read_bytes() != before


def test_a_folder_as_output_is_an_error(here):
    table = write_table(here / "corpus")
    for out in (".", here):
        assert typed("prepare", "table", table, "--out", out, code=2) == f"error: {out}: Is a directory\n"


def test_the_options_of_prepare_are_passed_to_the_reader(here):
    write_folder(here / "folder")
    typed("prepare", "folder", here / "folder", "--pattern", "{label}/{speaker}/{take}", "--groups", 2)
    assert {u.session for u in read_manifest(Path("manifest.jsonl")).utterances} == {"Group1", "Group2"}
    table = write_table(here / "tables")
    (here / "tables" / "audio").rename(here / "audio")
    typed("prepare", "table", table, "--audio", here, "--out", "table.jsonl")
    table.write_text(table.read_text().replace("path,label,speaker", "file,emotion,who"))
    typed(
        "prepare",
        "table",
        table,
        "--audio",
        here,
        "--columns",
        "path=file,label=emotion,speaker=who",
        "--out",
        "t2.jsonl",
    )
    assert Path("t2.jsonl").read_bytes() == Path("table.jsonl").read_bytes()
    typed("prepare", "emobox", write_emobox_emovo(here / "EmoBox"), "--folds", "published", "--out", "emovo.jsonl")
    assert "fold_6" in Path("emovo.jsonl").read_text()
    leaking = write_emobox_emodb(here / "again")
    printed = typed("prepare", "emobox", leaking, "--folds", "published", code=2)
    assert printed.startswith("error: the published fold_1 of emodb has the speaker 03 and 9 more in both its train ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("meld",), "corpus must be one of iemocap, ravdess, cremad, emodb, emobox, table, folder, got 'meld'"),
        (
            ("manifest",),
            "corpus must be one of iemocap, ravdess, cremad, emodb, emobox, table, folder, got 'manifest'",
        ),
        (("ravdess", "--pattern", "{label}"), "reader must be folder if pattern is set, got ravdess"),
        (("folder", "--audio", "."), "reader must be one of emobox, table if audio is set, got folder"),
        (("emodb", "--folds", "published"), "reader must be one of emobox, table, folder if folds is set, got emodb"),
        (("table", "--folds", "mine"), "folds must be 'speakers' or 'published', got 'mine'"),
        (
            ("iemocap", "--groups", "5"),
            "reader must be one of ravdess, cremad, emodb, emobox, table, folder, auto if groups is set, got i",
        ),
        (("emodb", "--groups", "1"), "groups must be greater than or equal to 2, got 1"),
        (
            ("table", "--groups", "3", "--folds", "published"),
            "groups and folds: published are mutually exclusive, got groups=3",
        ),
        (
            ("table", "--columns", "path"),
            "--columns must have the form path=file,label=emotion,speaker=who, got 'path'",
        ),
        (
            ("table", "--columns", "id=a,id=b"),
            "--columns must have different keys, got 'id' twice in 'id=a,id=b'",
        ),
        (("emodb", "--label-map", "gone.yaml"), "there is no label map gone.yaml"),
        (("emodb", "--out", "corpus/m.jsonl"), "--out must be outside the corpus corpus, got corpus/m.jsonl"),
    ],
)
def test_invalid_arguments_are_errors(here, arguments, sentence):
    reader, *options = arguments
    printed = typed("prepare", reader, "corpus", *options, code=2)
    assert printed.startswith(f"error: {sentence}")
    assert printed.count("\n") == 1


def test_an_unknown_corpus_is_an_error_that_names_every_reader(here):
    known = re.search(r"corpus must be one of (.*), got 'nonsense'", typed("prepare", "nonsense", "corpus", code=2))[1]
    assert known.split(", ") == [name for name in READERS if name != "manifest"]


def experiment(folder: Path, corpus: dict[str, object]) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({"name": "x", "corpus": corpus, "models": [{"name": "m", "blocks": "conv"}]}))
    return path


def test_an_experiment_names_a_corpus_with_its_options_and_paths_from_its_folder(here):
    write_table(here / "corpus")
    path = experiment(here, {"reader": "table", "path": "corpus/table.csv", "audio": "corpus", "groups": 3})
    corpus = config.read_experiment(path).corpus
    assert (corpus.path, corpus.audio) == (here / "corpus" / "table.csv", here / "corpus")
    assert len({u.session for u in read_corpus(corpus).utterances}) == 3


def test_an_option_of_another_reader_is_an_error(here):
    path = experiment(here, {"reader": "manifest", "path": "m.jsonl", "groups": 3})
    with pytest.raises(RecipeError, match=r"reader must be one of ravdess, .*, auto if groups is set, got manifest"):
        config.read_experiment(path)
    path = experiment(here, {"reader": "emodb", "path": "x", "label_map": {"W": None}})
    with pytest.raises(RecipeError, match=r"corpus\.label_map: .*at least one class, got none$"):
        config.read_experiment(path)


def test_an_experiment_json_of_an_earlier_version_is_read(here):
    content = {
        "experiment": {
            "name": "old",
            "corpus": {"reader": "iemocap", "path": "/IEMOCAP", "labels": None, "note": ""},
            "models": [
                {"name": "CNN", "blocks": "conv", "twin": None},
                {"name": "LSTM", "blocks": "lstm", "twin": "CNN"},
            ],
        },
        "labels": ["happy", "sad"],
        "folds": ["Session1"],
    }
    (here / "experiment.json").write_text(json.dumps(content))
    plan = Plan.read(here)
    assert plan.experiment.corpus == config.Corpus(path=Path("/IEMOCAP"))
    assert [model.baseline for model in plan.experiment.models] == [(), ("CNN",)]
    plan.write(here)
    assert Plan.read(here) == plan
