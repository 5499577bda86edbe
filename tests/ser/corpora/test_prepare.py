"""The manifest of IEMOCAP and the published counts."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from temporal_shift.ser.corpora.manifest import Manifest, read_manifest, write_manifest
from temporal_shift.ser.corpora.readers.iemocap import PUBLISHED, read_iemocap
from temporal_shift.ser.utils.errors import RecipeError

from ..iemocap_tree import COUNTS, EMOTIONS, IMPROVISED, write_iemocap

CLASSES = {"hap": "happy", "exc": "happy", "ang": "angry", "sad": "sad", "neu": "neutral"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A tree with all utterances. All tests share it: change only a copy."""
    root = tmp_path_factory.mktemp("IEMOCAP_full_release")
    write_iemocap(root)
    return root


@pytest.fixture(scope="module")
def manifest(whole) -> Manifest:
    return read_iemocap(whole)


@pytest.fixture
def part(tmp_path, whole) -> Path:
    """A copy of two dialogs of Session1."""
    root = tmp_path / "part"
    for dialog in ("Ses01F_impro01", "Ses01M_script01_1b"):
        for path in ("dialog/EmoEvaluation/{}.txt", "dialog/EmoEvaluation/._{}.txt", "sentences/wav/{}"):
            source = whole / "Session1" / path.format(dialog)
            target = root / source.relative_to(whole)
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
    return root


def without(manifest: Manifest, id: str) -> Manifest:
    return Manifest(tuple(utterance for utterance in manifest.utterances if utterance.id != id), manifest.labels)


def contents(root: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (root, *root.rglob("*"))
    }


def test_the_whole_corpus_has_the_papers_counts(manifest):
    assert len(manifest.utterances) == 5531
    assert Counter(utterance.session for utterance in manifest.utterances) == {
        "Session1": 1085,
        "Session2": 1023,
        "Session3": 1151,
        "Session4": 1031,
        "Session5": 1241,
    }
    assert Counter(utterance.label for utterance in manifest.utterances) == {
        "happy": 1636,
        "angry": 1103,
        "sad": 1084,
        "neutral": 1708,
    }
    assert len({utterance.speaker for utterance in manifest.utterances}) == 10


def test_the_counts_of_each_session_and_class_match_the_label_files(manifest):
    labelled: Counter[tuple[str, str]] = Counter()
    for session, counts in COUNTS.items():
        for emotion, count in zip(EMOTIONS, counts, strict=True):
            if emotion in CLASSES:
                labelled[f"Session{session}", CLASSES[emotion]] += count
    assert Counter((utterance.session, utterance.label) for utterance in manifest.utterances) == labelled


def test_improvised_and_scripted_utterances_are_distinguished(manifest):
    assert Counter(utterance.style for utterance in manifest.utterances) == {"improvised": 2943, "scripted": 2588}
    improvised = Counter(u.session for u in manifest.utterances if u.style == "improvised")
    assert improvised == {f"Session{session}": count for session, count in IMPROVISED.items()}


def test_the_whole_corpus_has_no_differences_from_the_published_one(manifest):
    assert PUBLISHED.differences(manifest) == []


def test_the_published_counts_add_up():
    assert (PUBLISHED.utterances, PUBLISHED.speakers) == (5531, 10)
    sums: Counter[str] = Counter()
    for (session, label), count in PUBLISHED.cells.items():
        sums[session] += count
        sums[label] += count
    assert [sums[f"Session{k}"] for k in range(1, 6)] == [1085, 1023, 1151, 1031, 1241]
    assert [sums[label] for label in ("happy", "angry", "sad", "neutral")] == [1636, 1103, 1084, 1708]


def test_a_missing_utterance_is_reported_in_every_count(manifest):
    sad = next(u for u in manifest.utterances if u.session == "Session1" and u.label == "sad")
    assert PUBLISHED.differences(without(manifest, sad.id)) == [
        "the corpus has 5530 utterances, the published corpus 5531",
        "Session1 has 1084 utterances, the published corpus 1085",
        "the corpus has 1083 sad utterances, the published corpus 1084",
        "Session1 has 193 sad utterances, the published corpus 194",
    ]


def test_a_wrong_class_is_reported_for_both_classes(manifest):
    utterances = list(manifest.utterances)
    index = next(k for k, u in enumerate(utterances) if u.session == "Session5" and u.label == "neutral")
    utterances[index] = replace(utterances[index], label="angry")
    assert PUBLISHED.differences(Manifest(tuple(utterances), manifest.labels)) == [
        "the corpus has 1104 angry utterances, the published corpus 1103",
        "the corpus has 1707 neutral utterances, the published corpus 1708",
        "Session5 has 171 angry utterances, the published corpus 170",
        "Session5 has 383 neutral utterances, the published corpus 384",
    ]


def test_classes_that_swap_sessions_are_reported(manifest):
    utterances = list(manifest.utterances)
    for session, before, after in (("Session2", "sad", "happy"), ("Session3", "happy", "sad")):
        index = next(k for k, u in enumerate(utterances) if u.session == session and u.label == before)
        utterances[index] = replace(utterances[index], label=after)
    assert PUBLISHED.differences(Manifest(tuple(utterances), manifest.labels)) == [
        "Session2 has 328 happy utterances, the published corpus 327",
        "Session2 has 196 sad utterances, the published corpus 197",
        "Session3 has 285 happy utterances, the published corpus 286",
        "Session3 has 306 sad utterances, the published corpus 305",
    ]


def test_a_missing_and_an_additional_session_are_reported(manifest):
    moved = tuple(replace(u, session="Session6") if u.session == "Session5" else u for u in manifest.utterances)
    differences = PUBLISHED.differences(Manifest(moved, manifest.labels))
    assert differences[0] == "Session5 has 0 utterances, the published corpus 1241"
    assert "Session6 has 1241 utterances, the published corpus 0" in differences
    assert len(differences) == 2 * (1 + 4)


def test_missing_speakers_are_reported(manifest):
    merged = tuple(replace(u, speaker=u.speaker.replace("Ses05M", "Ses05F")) for u in manifest.utterances)
    assert PUBLISHED.differences(Manifest(merged, manifest.labels)) == [
        "the corpus has 9 speakers, the published corpus 10"
    ]


def test_a_part_of_the_corpus_is_read_and_reported_as_incomplete(part):
    manifest = read_iemocap(part)
    assert {utterance.speaker for utterance in manifest.utterances} == {"Ses01F", "Ses01M"}
    count = len(manifest.utterances)
    assert f"the corpus has {count} utterances, the published corpus 5531" in PUBLISHED.differences(manifest)
    assert "the corpus has 2 speakers, the published corpus 10" in PUBLISHED.differences(manifest)


def list_folders_reversed(monkeypatch: pytest.MonkeyPatch) -> None:
    list_folders(monkeypatch, lambda paths: paths[::-1])


def list_folders_shuffled(monkeypatch: pytest.MonkeyPatch) -> None:
    list_folders(monkeypatch, lambda paths: random.Random(1).sample(paths, len(paths)))


def list_folders(monkeypatch: pytest.MonkeyPatch, reorder: Callable[[list[Path]], list[Path]]) -> None:
    for name in ("glob", "rglob", "iterdir"):
        listed = getattr(Path, name)
        monkeypatch.setattr(
            Path, name, lambda self, *pattern, listed=listed: iter(reorder(sorted(listed(self, *pattern))))
        )


def test_the_manifest_does_not_depend_on_the_order_of_the_files(whole, manifest, tmp_path, monkeypatch):
    write_manifest(manifest, tmp_path / "before.jsonl")
    list_folders_shuffled(monkeypatch)
    write_manifest(read_iemocap(whole), tmp_path / "after.jsonl")
    assert (tmp_path / "after.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()


def test_the_problems_do_not_depend_on_the_order_of_the_files(part, monkeypatch):
    labels, other = sorted(part.glob("Session1/dialog/EmoEvaluation/Ses*.txt"))
    with other.open("ab") as file:
        file.write(b"\n[broken\n" + labels.read_bytes().split(b"\n")[2])
    list_folders_reversed(monkeypatch)
    with pytest.raises(RecipeError) as raised:
        read_iemocap(part)
    broken = other.read_bytes().split(b"\n").index(b"[broken") + 1
    assert str(raised.value).split("\n") == [
        "2 problems:",
        f"{other}, line {broken}: the line must be '[start - end]<tab>utterance<tab>emotion<tab>...', got '[broken'",
        f"{other}, line {broken + 1}: the utterance Ses01F_impro01_F000 already occurs in {labels}, line 3",
    ]


def test_the_corpus_is_not_changed(part, tmp_path):
    before = contents(part)
    write_manifest(read_iemocap(part), tmp_path / "manifest.jsonl")
    assert contents(part) == before


def test_the_written_manifest_is_read_back_unchanged(manifest, tmp_path):
    write_manifest(manifest, tmp_path / "manifest.jsonl")
    assert read_manifest(tmp_path / "manifest.jsonl", manifest.labels) == manifest


def test_the_manifest_is_one_json_object_a_line_with_its_keys_in_order(manifest, tmp_path):
    write_manifest(manifest, tmp_path / "manifest.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 5531
    keys = "id path label speaker session start end samples sample_rate sha256 style channels"
    assert {tuple(row) for row in rows} == {tuple(keys.split())}
    assert {(row["samples"], row["sample_rate"]) for row in rows} == {(160, 16_000)}
    assert all(row["path"].endswith(f"/{row['id']}.wav") for row in rows)


def test_a_manifest_beside_the_corpus_moves_with_it(part):
    write_manifest(read_iemocap(part), part.parent / "manifest.jsonl")
    first = json.loads((part.parent / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["path"].startswith("part/Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F0")
