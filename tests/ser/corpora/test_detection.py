"""``reader: auto``: the same settings read corpora of several layouts."""

from __future__ import annotations

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.detection import with_reader
from temporal_shift.ser.corpora.manifest import write_manifest
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import write
from .test_readers import write_small


@pytest.mark.parametrize("reader", ["iemocap", "ravdess", "cremad", "emodb", "emobox", "table", "folder"])
def test_the_reader_that_is_found_reads_what_the_named_one_reads(tmp_path, reader):
    named = write_small(reader, tmp_path / "corpus")
    found = with_reader(config.Corpus(reader="auto", path=named.path))
    assert found.reader == reader
    assert read_corpus(config.Corpus(reader="auto", path=named.path)) == read_corpus(named)


def test_a_manifest_takes_a_label_map_as_its_corpus_does(tmp_path):
    corpus = write_small("emodb", tmp_path / "corpus")
    write_manifest(read_corpus(corpus), tmp_path / "emodb.jsonl")
    classes = {"sad": "low", "bored": "low", "angry": "high"}
    four = {**classes, **dict.fromkeys(("disgust", "fearful", "happy", "neutral"))}
    of_manifest = read_corpus(config.Corpus(reader="auto", path=tmp_path / "emodb.jsonl", label_map=four))
    assert of_manifest == read_corpus(corpus.model_copy(update={"label_map": four}))
    assert of_manifest.labels == ("low", "high")
    with pytest.raises(RecipeError, match=r"label map lacks 'neutral' "):
        read_corpus(config.Corpus(reader="manifest", path=tmp_path / "emodb.jsonl", label_map=classes))
    others = {**dict.fromkeys(four), "calm": "calm"}
    with pytest.raises(RecipeError, match=r"label map leaves out all labels"):
        read_corpus(config.Corpus(reader="manifest", path=tmp_path / "emodb.jsonl", label_map=others))


def test_a_folder_of_an_unknown_layout_is_one_sentence_that_names_a_file(tmp_path):
    write(tmp_path / "corpus" / "one.wav")
    with pytest.raises(RecipeError, match=r"corpus folder .* must .*ravdess, cremad, emodb or iemocap.* got one\.wav"):
        read_corpus(config.Corpus(reader="auto", path=tmp_path / "corpus"))
    with pytest.raises(RecipeError, match=r"there is no corpus folder"):
        read_corpus(config.Corpus(reader="auto", path=tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"must contain recordings, got none"):
        read_corpus(config.Corpus(reader="auto", path=tmp_path / "empty"))


def test_an_option_that_the_found_reader_lacks_is_an_error(tmp_path):
    corpus = write_small("iemocap", tmp_path / "corpus")
    with pytest.raises(RecipeError, match=r"groups needs a reader of .*, got iemocap"):
        read_corpus(config.Corpus(reader="auto", path=corpus.path, groups=3))
