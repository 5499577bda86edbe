"""Folds that cannot give a meaningful result are an error; doubtful ones are a caveat."""

from __future__ import annotations

from pathlib import Path

import pytest

from temporal_shift.ser.corpora.manifest import Manifest, Utterance
from temporal_shift.ser.training.fold_caveats import fold_caveats
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.utils.errors import RecipeError


def manifest_of(sessions: list[dict[str, str]], labels: tuple[str, ...] = ("happy", "sad")) -> Manifest:
    """A manifest. Each session maps its speakers to their classes, separated by spaces."""
    rows = [(f"S{number}", *row) for number, session in enumerate(sessions, 1) for row in session.items()]
    spoken = [(session, speaker, label) for session, speaker, said in rows for label in said.split()]
    return Manifest(
        tuple(
            Utterance(
                id=f"{number:03d}",
                path=Path("/a.wav"),
                label=label,
                speaker=speaker,
                session=session,
                start=0.0,
                end=1.0,
                samples=16000,
                sample_rate=16000,
                sha256=f"{number:064x}",
                style="",
            )
            for number, (session, speaker, label) in enumerate(spoken)
        ),
        labels,
    )


def caveats_of(manifest: Manifest, kind: str = "last", groups: int | None = None) -> list[str]:
    return fold_caveats(manifest, make_folds(manifest, kind), kind, groups)


def named(session: str, said: str) -> dict[str, str]:
    return {f"{session}a": said, f"{session}b": said}


def test_balanced_folds_have_no_caveat():
    assert caveats_of(manifest_of([named(name, "happy sad " * 8) for name in "xyz"]), "heldout", groups=3) == []


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ([named(name, "sad") for name in "xyz"], r"corpus .* at least 2 classes.* sad"),
        ([named("x", "happy sad"), named("y", "sad")], r"training part of the fold S1 .*at least 2 classes.* sad"),
    ],
)
def test_a_corpus_or_training_part_with_one_class_is_an_error(sessions, message):
    with pytest.raises(RecipeError, match=message):
        caveats_of(manifest_of(sessions))


THREE = ("happy", "sad", "angry")


@pytest.mark.parametrize(
    ("sessions", "kind", "words"),
    [
        (["happy sad", "happy sad angry", "happy sad"], "last", ["training part of 1 of 3 folds (S2)", "angry"]),
        (["happy sad", "happy sad angry", "angry sad happy"], "last", ["test part of 1 of 3 folds (S1)", "angry"]),
        (["happy sad", "happy sad angry", "angry sad happy"], "heldout", ["validation part of 1 of 3 folds (S3)"]),
        (["happy sad", "happy sad", "sad happy"], "last", ["No utterance has the label angry"]),
    ],
)
def test_a_class_that_a_part_lacks_is_a_caveat(sessions, kind, words):
    found = caveats_of(manifest_of([named(f"{n}", said) for n, said in enumerate(sessions)], THREE), kind)
    assert any(all(word in caveat for word in words) for caveat in found)


def test_folds_of_one_speaker_and_fewer_folds_than_groups_are_caveats():
    manifest = manifest_of([{name: "happy sad"} for name in "abc"])
    (one,) = caveats_of(manifest)
    assert "3 of 3 folds (S1, S2, S3) has one speaker" in one
    assert not any("one speaker" in caveat for caveat in caveats_of(manifest, "speaker"))
    assert any("groups is 5" in caveat and "3 sessions" in caveat for caveat in caveats_of(manifest, groups=5))


def test_a_small_validation_part_is_a_caveat():
    small = manifest_of([named(name, "happy sad") for name in "xyz"])
    (caveat,) = caveats_of(small, "heldout")
    assert "4 utterances" in caveat
    assert caveats_of(small, "last") == []
    assert caveats_of(manifest_of([named(name, "happy sad " * 8) for name in "xyz"]), "heldout") == []
