"""Read the metadata of a dataset of EmoBox. The audio comes from the corpus itself."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from ... import config
from ...utils.errors import RecipeError, raise_problems, shortened
from ...utils.names import clean_label_map
from ...utils.text_files import json_lines, read_text, unique_keys
from ..folders import corpus_folder, sorted_entries
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest

MAPS = ("label_map.json", "label_dict.json")  # the second is EMOVO's
_PARTS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True)
class _Fold:
    """A published fold: the rows of the parts ``train``, ``valid`` and ``test``, by key."""

    name: str
    parts: dict[str, dict[str, Row]]


def read_emobox(corpus: config.Corpus) -> Manifest:
    """Read ``EmoBox/data/<dataset>``: its ``label_map.json``, ``<dataset>.jsonl`` and ``fold_*/``.

    Without ``<dataset>.jsonl``, the utterances are from the first fold. Paths of recordings, such as
    ``downloads/emodb/wav/03a01Fa.wav``, are relative to ``corpus.audio``, by default the folder ``EmoBox``. The speaker
    is part of an utterance's key, and ``emobox_speakers.yaml`` has the patterns of keys.

    The session of an utterance is a group of speakers, or, with ``folds: published``, the fold that tests it.

    Raises:
        RecipeError: If the folder is not a dataset with known speakers, if lines or the label map cannot be read, or as
            :func:`.make_manifest`. The message lists up to 20 problems. With ``folds: published``, also if a fold has a
            speaker both in its test part and in another part, or if an utterance is tested in two folds or in none.
    """
    folder = corpus_folder(corpus.path)
    dataset = folder.name
    if dataset not in speaker_patterns():
        raise RecipeError(
            f"the folder must be the metadata of a dataset with speakers in its keys "
            f"({', '.join(speaker_patterns())}), got {folder}: use reader: table for others"
        )
    audio = (corpus.audio or folder.parent.parent).resolve()
    problems: list[str] = []
    folds = _folds(folder, dataset, audio, problems)
    whole = folder / f"{dataset}.jsonl"
    rows = _rows(whole, dataset, audio, problems) if whole.is_file() else []
    if not rows and folds:
        rows = [row for part in folds[0].parts.values() for row in part.values()]
    if not rows and not problems:
        problems.append(
            f"{folder} must contain utterances in {dataset}.jsonl or fold_1/{dataset}_test_fold_1.jsonl, got none"
        )
    if corpus.folds == "published":
        raise_problems(problems)
        rows = _tested(rows, folds, dataset)
    return make_manifest(rows, list(dict.fromkeys(problems)), corpus, own=_label_map(folder, rows))


def _folds(folder: Path, dataset: str, audio: Path, problems: list[str]) -> list[_Fold]:
    found = []
    numbers = [match[1] for path in sorted_entries(folder) if (match := re.fullmatch(r"fold_([0-9]+)", path.name))]
    for number in sorted(numbers, key=int):
        paths = {part: folder / f"fold_{number}" / f"{dataset}_{part}_fold_{number}.jsonl" for part in _PARTS}
        parts = {
            part: {row.id: row for row in _rows(path, dataset, audio, problems)}
            for part, path in paths.items()
            if path.is_file()
        }
        found.append(_Fold(f"fold_{number}", parts))
    return found


def _rows(path: Path, dataset: str, audio: Path, problems: list[str]) -> list[Row]:
    rows = []
    for where, entry in json_lines(read_text(path), path, dict[str, Any], problems):
        key, wav, label = (entry.get(name) for name in ("key", "wav", "emo"))
        if not (isinstance(key, str) and isinstance(wav, str) and isinstance(label, str) and key and wav and label):
            got = ", ".join(map(shortened, (key, wav, label)))
            problems.append(f"{where}: 'key', 'wav' and 'emo' must be non-empty strings, got {got}")
        elif (said := re.match(speaker_patterns()[dataset], key, re.ASCII)) is None:
            problems.append(f"{where}: the key must match {speaker_patterns()[dataset]!r}, got {key!r}")
        else:
            rows.append(Row(key, audio / wav, label, "".join(said.groups()), where=where))
    return rows


def _tested(rows: list[Row], folds: list[_Fold], dataset: str) -> list[Row]:
    """The rows, each with the fold that tests it as its session."""
    instead = "use folds: speakers, which keeps all utterances of a speaker in one group"
    sessions: dict[str, str] = {}
    for fold in folds:
        speakers = {part: {row.speaker for row in keyed.values()} for part, keyed in fold.parts.items()}
        for part in ("train", "valid"):
            if shared := sorted(speakers.get(part, set()) & speakers.get("test", set())):
                more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
                raise RecipeError(
                    f"the published {fold.name} of {dataset} has the speaker {shared[0]}{more} in both its {part} and "
                    f"its test part: {instead}"
                )
        for key in fold.parts.get("test", {}):
            if (other := sessions.setdefault(key, fold.name)) != fold.name:
                raise RecipeError(
                    f"the published folds of {dataset} test {key} twice, in {other} and {fold.name}: {instead}"
                )
    untested = [row.id for row in rows if row.id not in sessions]
    if untested:
        raise RecipeError(
            f"the published folds of {dataset} do not test {len(untested)} of {len(rows)} utterances, such as "
            f"{untested[0]}: {instead}"
        )
    return [Row(row.id, row.path, row.label, row.speaker, sessions[row.id], row.where) for row in rows]


def _label_map(folder: Path, rows: list[Row]) -> dict[str, str | None] | None:
    path = next((folder / name for name in MAPS if (folder / name).is_file()), None)
    if path is None:
        return None
    text = read_text(path, "label map")
    try:
        found = json.loads(text, object_pairs_hook=unique_keys)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecipeError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise RecipeError(f"{path} must be a JSON object, got {type(found).__name__}")
    for code, label in found.items():
        if not (isinstance(label, str) and label):
            raise RecipeError(f"{path} must contain a class for each label, got {shortened(label)} for {code!r}")
    found = clean_label_map(found)
    capitals = {code.lower(): label for code, label in found.items()}
    for row in rows:  # EmoDB's rows have neutral, its map has Neutral
        if row.label not in found and row.label.lower() in capitals:
            found[row.label] = capitals[row.label.lower()]
    return found


@cache
def speaker_patterns() -> dict[str, str]:
    """A regular expression for the keys of each dataset. Its groups, concatenated, are the speaker."""
    patterns: dict[str, str] = yaml.safe_load((files(__package__) / "emobox_speakers.yaml").read_text(encoding="utf-8"))
    return patterns
