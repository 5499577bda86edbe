"""The folds of a corpus under each protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.corpora.speaker_groups import group_speakers
from temporal_shift.ser.training.folds import Kind, make_folds
from temporal_shift.ser.utils.errors import RecipeError

KINDS = get_args(Kind)
BY_SESSION = ("heldout", "last", "paper")
SESSIONS = ["Session1", "Session2", "Session3", "Session4"]
SPEAKERS = ["1F", "1M", "2F", "2M", "3F", "3M", "4F", "4M"]


def utterance(session: int, gender: str, number: int = 0, speaker: str | None = None) -> Utterance:
    id = f"s{session}{gender}{number}"
    return Utterance(
        id=id,
        path=Path(f"/corpus/{id}.wav"),
        label="sad",
        speaker=speaker or f"{session}{gender}",
        session=f"Session{session}",
        start=0.0,
        end=1.25,
        samples=20_000,
        sample_rate=16_000,
        sha256="0123456789abcdef" * 4,
        style="",
    )


def manifest_of(*utterances: Utterance) -> Manifest:
    return Manifest(utterances, ("happy", "sad"))


@pytest.fixture
def four_sessions() -> Manifest:
    """Two utterances per speaker, not in the order of sessions or speakers."""
    return manifest_of(
        *(utterance(session, gender, number) for number in (1, 0) for session in (3, 1, 4, 2) for gender in "MF")
    )


def names(manifest, indices, attribute):
    return sorted({getattr(manifest.utterances[index], attribute) for index in indices})


def test_the_protocols_are_those_that_an_experiment_can_name():
    assert get_args(config.Protocol.model_fields["kind"].annotation) == KINDS


@pytest.mark.parametrize("kind", BY_SESSION)
def test_each_session_is_tested_once_in_the_order_of_their_names(four_sessions, kind):
    folds = make_folds(four_sessions, kind)
    assert [fold.name for fold in folds] == SESSIONS
    assert [names(four_sessions, fold.test, "session") for fold in folds] == [[name] for name in SESSIONS]


def test_each_speaker_is_tested_once_in_the_order_of_their_names(four_sessions):
    folds = make_folds(four_sessions, "speaker")
    assert [fold.name for fold in folds] == SPEAKERS
    assert [names(four_sessions, fold.test, "speaker") for fold in folds] == [[name] for name in SPEAKERS]


def test_under_heldout_the_next_session_validates_and_after_the_last_the_first(four_sessions):
    validating = [names(four_sessions, fold.validation, "session") for fold in make_folds(four_sessions, "heldout")]
    assert validating == [["Session2"], ["Session3"], ["Session4"], ["Session1"]]


@pytest.mark.parametrize("kind", ["last", "paper"])
def test_without_validation_all_other_sessions_train(four_sessions, kind):
    for fold in make_folds(four_sessions, kind):
        assert fold.validation == ()
        assert names(four_sessions, fold.train, "session") == [name for name in SESSIONS if name != fold.name]


def test_under_speaker_the_other_speaker_of_the_session_validates_and_the_other_sessions_train(four_sessions):
    validating = [names(four_sessions, fold.validation, "speaker") for fold in make_folds(four_sessions, "speaker")]
    assert validating == [["1M"], ["1F"], ["2M"], ["2F"], ["3M"], ["3F"], ["4M"], ["4F"]]


def test_the_next_session_validates_if_a_session_has_one_speaker():
    manifest = manifest_of(*(utterance(session, "F") for session in (1, 2, 3)), utterance(3, "M"))
    validating = [names(manifest, fold.validation, "speaker") for fold in make_folds(manifest, "speaker")]
    assert validating == [["2F"], ["3F", "3M"], ["3M"], ["3F"]]


def test_with_three_speakers_per_session_the_two_others_validate():
    manifest = manifest_of(*(utterance(session, gender) for session in (1, 2, 3) for gender in "FMX"))
    folds = {fold.name: fold for fold in make_folds(manifest, "speaker")}
    assert names(manifest, folds["2M"].validation, "speaker") == ["2F", "2X"]
    assert names(manifest, folds["2M"].train, "session") == ["Session1", "Session3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_uses_each_utterance_exactly_once_in_file_order(four_sessions, kind):
    for fold in make_folds(four_sessions, kind):
        assert sorted(fold.train + fold.validation + fold.test) == list(range(16))
        for part in (fold.train, fold.validation, fold.test):
            assert list(part) == sorted(part)


@pytest.mark.parametrize("kind", KINDS)
def test_no_speaker_is_in_two_parts_of_a_fold(four_sessions, kind):
    for fold in make_folds(four_sessions, kind):
        parts = [names(four_sessions, part, "speaker") for part in (fold.train, fold.validation, fold.test)]
        assert sorted(speaker for part in parts for speaker in part) == SPEAKERS


@pytest.mark.parametrize(
    ("kind", "fold"), [("heldout", "Session1"), ("last", "Session1"), ("paper", "Session1"), ("speaker", "1F")]
)
def test_a_speaker_in_two_parts_is_an_error_that_names_speaker_and_fold(kind, fold):
    others = (utterance(session, gender) for session in (1, 2) for gender in "FM")
    with pytest.raises(RecipeError, match=f"train and test parts of the fold {fold} .*1F"):
        make_folds(manifest_of(*others, utterance(3, "F", speaker="1F")), kind)


def test_a_speaker_who_validates_and_trains_or_tests_is_an_error_too():
    others = [utterance(session, "F") for session in (1, 2, 3, 4)]
    with pytest.raises(RecipeError, match=r"train and validation parts of the fold .*2F"):
        make_folds(manifest_of(*others, utterance(4, "M", speaker="2F")), "heldout")
    with pytest.raises(RecipeError, match=r"validation and test parts of the fold .*1F"):
        make_folds(manifest_of(*others, utterance(2, "M", speaker="1F")), "heldout")


@pytest.mark.parametrize("kind", ["heldout", "speaker"])
@pytest.mark.parametrize("sessions", [1, 2])
def test_a_protocol_with_validation_needs_three_sessions(kind, sessions):
    manifest = manifest_of(*(utterance(session, "F") for session in range(sessions)))
    with pytest.raises(RecipeError, match=f"at least 3 sessions for the protocol '{kind}', got {sessions}"):
        make_folds(manifest, kind)


@pytest.mark.parametrize(
    ("speakers", "got"),
    [
        (["a1", "a2"], r"3 speakers for .*'heldout', got 2 \(a1, a2\)$"),
        (["a1", "a2", "a3"], "3 groups of speakers .* 2$"),
    ],
)
def test_the_error_counts_speakers_if_the_corpus_has_no_sessions(speakers, got):
    spoken = [replace(utterance(1, "F", number), speaker=speaker) for number, speaker in enumerate(speakers)]
    groups = group_speakers(dict.fromkeys(speakers, 1), groups=2)
    manifest = manifest_of(*(replace(each, session=groups[each.speaker]) for each in spoken))
    with pytest.raises(RecipeError, match=f"at least {got}"):
        make_folds(manifest, "heldout")


@pytest.mark.parametrize("kind", ["last", "paper"])
def test_a_protocol_without_validation_needs_two_sessions(kind):
    pair = manifest_of(utterance(1, "F"), utterance(2, "F"))
    assert [(fold.train, fold.test) for fold in make_folds(pair, kind)] == [((1,), (0,)), ((0,), (1,))]
    with pytest.raises(RecipeError, match=f"at least 2 sessions for the protocol '{kind}', got 1"):
        make_folds(manifest_of(utterance(1, "F")), kind)
