"""Caveats of a corpus: duplicate recordings, and differences from the published corpus."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora import caveats
from temporal_shift.ser.corpora.caveats import leaks
from temporal_shift.ser.corpora.manifest import Manifest, Utterance

from ..corpus_trees import EMODB_SPEAKERS

COUNTS = {"angry": 127, "bored": 81, "disgust": 46, "fearful": 69, "happy": 71, "sad": 62, "neutral": 79}
EMODB = config.Corpus(reader="emodb", path=Path("emodb"))


def emodb(*, shortest: float = 1.2255, longest: float = 8.97825, mean: float = 2.78, rate: int = 16_000) -> Manifest:
    """A manifest with the published counts, without audio."""
    labels = [label for label, count in COUNTS.items() for _ in range(count)]
    utterances = []
    for number, label in enumerate(labels):
        seconds = {0: shortest, 1: longest}.get(number, mean)
        speaker = EMODB_SPEAKERS[number % 10]
        utterances.append(
            Utterance(
                id=f"u{number}",
                path=Path(f"/emodb/u{number}.wav"),
                label=label,
                speaker=speaker,
                session=f"Group{number % 5 + 1}",
                start=0.0,
                end=seconds,
                samples=round(seconds * rate),
                sample_rate=rate,
                sha256=hashlib.sha256(str(number).encode()).hexdigest(),
                style="",
            )
        )
    return Manifest(tuple(utterances), tuple(COUNTS))


def test_the_published_corpus_has_no_caveats():
    assert caveats(emodb(), EMODB) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shortest": 2.0, "longest": 2.0, "mean": 2.0}, ["all recordings last 2.00 s", "last 0.30 h", "0.4 h"]),
        ({"rate": 8_000}, ["535 of 535 recordings have 8000 Hz", "16000 Hz"]),
        ({"longest": 12.0}, ["1 of 535 recordings last less than 1.23 s or more than 8.98 s"]),
        ({"shortest": 0.3}, ["1 of 535 recordings last less than 1.23 s or more than 8.98 s"]),
        ({"mean": 3.6}, ["last 0.54 h", "0.4 h"]),
    ],
    ids=["re-cut", "resampled", "padded", "cut", "stretched"],
)
def test_other_recordings_than_the_published_ones_are_a_caveat(changes, words):
    (caveat,) = caveats(emodb(**changes), EMODB)
    for word in words:
        assert word in caveat


def test_a_manifest_is_recognized_by_the_names_of_its_utterances_and_a_table_is_not():
    recut = emodb(shortest=2.0, longest=2.0, mean=2.0)
    corpus = config.Corpus(reader="manifest", path=Path("m.jsonl"))
    assert caveats(recut, corpus) == []
    sentences = [f"{half}{number:02d}{letter}" for number in range(10) for half in "ab" for letter in "WLEAFTN"]
    names = [f"wav/{speaker}{sentence}a" for sentence in sentences for speaker in EMODB_SPEAKERS]
    utterances = [replace(each, id=name) for each, name in zip(recut.utterances, names, strict=False)]
    named = Manifest(tuple(utterances), recut.labels)
    (caveat,) = caveats(named, corpus)
    assert caveat.startswith("This is not EmoDB as published: all recordings last 2.00 s")
    assert caveats(named, config.Corpus(reader="table", path=Path("t.csv"))) == []


def test_other_counts_are_a_caveat_unless_the_label_map_makes_other_classes():
    whole = emodb()
    part = Manifest(whole.utterances[:-9], whole.labels)
    (caveat,) = caveats(part, EMODB)
    assert "the corpus has 526 utterances, the published corpus 535" in caveat
    assert caveats(part, EMODB.model_copy(update={"label_map": {"W": "angry"}})) == []
    assert caveats(part, config.Corpus(reader="table", path=Path("t.csv"))) == []


def test_a_note_on_a_corpus_replaces_the_comparison_with_the_published_one():
    noted = EMODB.model_copy(update={"note": "Synthetic speech under the names of EmoDB."})
    assert caveats(emodb(rate=8_000), noted) == []
    copied = emodb()
    twice = replace(copied.utterances[1], sha256=copied.utterances[0].sha256)
    assert len(caveats(Manifest((copied.utterances[0], twice, *copied.utterances[2:]), copied.labels), noted)) > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speaker": "x", "session": "y"}, ["2 recordings", "another speaker or session", "u3 (10, angry)", "u9 (x, "]),
        ({"speaker": "x"}, ["another speaker or session"]),
        ({"session": "y"}, ["another speaker or session"]),
        ({"label": "sad"}, ["another label", "u3 (10, angry)", "u9 (10, sad)"]),
        ({}, None),
    ],
)
def test_copies_across_speakers_sessions_and_labels_are_a_caveat(changes, words):
    whole = emodb()
    original = whole.utterances[3]
    copy = replace(original, id="u9", path=Path("/emodb/u9.wav"), **changes)
    utterances = tuple(copy if each.id == "u9" else each for each in whole.utterances)
    found = caveats(Manifest(utterances, whole.labels), config.Corpus(reader="table", path=Path("t.csv")))
    if words is None:
        assert found == []  # both copies are in the same part of every fold
    else:
        (caveat,) = found
        for word in words:
            assert word in caveat


def test_the_example_of_copies_differs_in_what_the_sentence_says():
    first, second, third = emodb().utterances[:3]
    same = {"speaker": first.speaker, "session": first.session, "sha256": first.sha256}
    second = replace(second, **same, label="sad")
    third = replace(third, sha256=first.sha256, label=first.label)
    across, unsure = leaks(Manifest((first, second, third), tuple(COUNTS)))
    assert f"such as u0 ({first.speaker}, angry) and u2 ({third.speaker}, angry)" in across
    assert f"such as u0 ({first.speaker}, angry) and u1 ({first.speaker}, sad)" in unsure
