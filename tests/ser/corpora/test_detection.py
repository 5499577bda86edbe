"""``reader: auto``: the same settings read corpora of several layouts."""

from __future__ import annotations

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.detection import with_reader
from temporal_shift.ser.corpora.label_maps import shipped_map
from temporal_shift.ser.corpora.manifest import write_manifest
from temporal_shift.ser.utils.errors import RecipeError

from ..corpus_trees import write, write_emodb
from .test_readers import write_small


@pytest.mark.parametrize("reader", ["iemocap", "ravdess", "cremad", "emodb", "emobox", "table", "folder"])
def test_the_detected_reader_gives_the_same_manifest_as_the_named_one(tmp_path, reader):
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
    with pytest.raises(RecipeError, match=r"label map must keep at least one label"):
        read_corpus(config.Corpus(reader="manifest", path=tmp_path / "emodb.jsonl", label_map=others))


def test_a_folder_of_unknown_layout_is_an_error_that_names_a_file(tmp_path):
    write(tmp_path / "corpus" / "one.wav")
    with pytest.raises(
        RecipeError, match=r"corpus folder .* must .*iemocap.*emobox.*ravdess, cremad, emodb.* got one\.wav"
    ):
        read_corpus(config.Corpus(reader="auto", path=tmp_path / "corpus"))
    with pytest.raises(RecipeError, match=r"there is no corpus folder"):
        read_corpus(config.Corpus(reader="auto", path=tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"must contain recordings, got none"):
        read_corpus(config.Corpus(reader="auto", path=tmp_path / "empty"))


def found_in(root, label_map=None):
    return with_reader(config.Corpus(reader="auto", path=root, label_map=label_map)).reader


@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "cremad"])
def test_folders_that_are_named_like_shipped_classes_are_labels(tmp_path, corpus):
    for label in {*shipped_map(corpus).values()} | {"Anger", "JOY", "Surprise"}:
        write(tmp_path / label / "anna" / "1.wav")
    assert found_in(tmp_path) == "folder"


def test_folders_of_other_names_are_labels_only_if_the_label_map_has_all_of_them(tmp_path):
    for label in ("Rabbia", "tristezza"):
        write(tmp_path / label / "anna" / "1.wav")
    assert found_in(tmp_path, {"rabbia": "angry", "tristezza": "sad", "gioia": "happy"}) == "folder"
    for label_map, first in ((None, "Rabbia"), ({"rabbia": "angry"}, "tristezza")):
        with pytest.raises(RecipeError, match=rf"{first}/anna/1\.wav.*reader: folder"):
            found_in(tmp_path, label_map)


@pytest.mark.parametrize("label_map", [None, {"angry": "angry", "happy": "happy"}])
def test_speakers_are_never_read_as_labels(tmp_path, label_map):
    for speaker in ("0011", "0012"):  # as in ESD
        for label in ("Angry", "Happy"):
            write(tmp_path / speaker / label / "x.wav")
    with pytest.raises(RecipeError, match=r"'0011' .*'Angry' .*folder .*--pattern \"{speaker}/{label}/{name}\""):
        found_in(tmp_path, label_map)
    assert read_corpus(
        config.Corpus(reader="folder", path=tmp_path, pattern="{speaker}/{label}/{name}", groups=2)
    ).labels == ("Angry", "Happy")


def test_two_levels_that_could_both_be_labels_are_an_error(tmp_path):
    write(tmp_path / "calm" / "Joy" / "1.wav")  # Joy can be a speaker
    with pytest.raises(RecipeError, match=r"calm/Joy/1\.wav"):
        found_in(tmp_path)


def test_a_stray_recording_in_a_known_corpus_is_named(tmp_path):
    write_emodb(tmp_path, {"W": 20})
    write(tmp_path / "wav" / "test.wav")
    with pytest.raises(RecipeError, match=r"20 of 21 are named as in emodb, but wav/test\.wav is not"):
        found_in(tmp_path)
    for number in range(30):
        write(tmp_path / "wav" / f"test{number}.wav")
    with pytest.raises(RecipeError, match=r"got wav/test\.wav"):
        found_in(tmp_path)


def test_an_option_that_the_detected_reader_lacks_is_an_error(tmp_path):
    corpus = write_small("iemocap", tmp_path / "corpus")
    with pytest.raises(RecipeError, match=r"reader must be one of .* if groups is set, got iemocap"):
        read_corpus(config.Corpus(reader="auto", path=corpus.path, groups=3))
