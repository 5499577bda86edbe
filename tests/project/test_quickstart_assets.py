"""The quickstart's corpus, encoder, experiment and results match their pages."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from temporal_shift.ser.config import read_experiment
from temporal_shift.ser.corpora.readers.iemocap import read_iemocap
from temporal_shift.ser.reports import report_tables
from temporal_shift.ser.training.folds import make_folds
from temporal_shift.ser.utils.table import percent, signed

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "examples" / "quickstart"
PAGE = (QUICKSTART / "README.md").read_text(encoding="utf-8")
CORPUS = QUICKSTART / "corpus"
METRICS = json.loads((QUICKSTART / "metrics.json").read_text())


@pytest.mark.parametrize("folder", [CORPUS, QUICKSTART / "backbone" / "whisper-tiny-en-encoder"])
def test_every_file_matches_its_checksum(folder):
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert (folder / "LICENSE").exists() or "CC0-1.0" in (folder / "README.md").read_text()


def test_the_iemocap_reader_reads_the_corpus_unchanged():
    manifest = read_iemocap(CORPUS)
    assert Counter(u.label for u in manifest.utterances) == dict.fromkeys(("happy", "angry", "sad", "neutral"), 100)
    assert Counter(u.speaker for u in manifest.utterances) == {f"Ses0{k}{g}": 40 for k in range(1, 6) for g in "FM"}
    folds = {kind: len(make_folds(manifest, kind)) for kind in ("heldout", "last", "paper", "speaker")}
    assert folds == {"heldout": 5, "last": 5, "paper": 5, "speaker": 10}
    assert max(u.seconds for u in manifest.utterances) < 2.5  # the experiment's clip_seconds: no utterance is cut


def test_the_corpus_is_small_enough_for_a_repository():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 6e6


def test_the_words_do_not_depend_on_the_class():
    """Each speaker says each of their sentences in all four classes."""
    rows = subprocess.run(
        [sys.executable, "-c", _LINES], cwd=QUICKSTART, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    classes = Counter(tuple(row.split("|")) for row in rows)
    assert classes
    assert set(classes.values()) == {4}


_LINES = """
import sys, types
sys.modules["espeakng_loader"] = types.ModuleType("espeakng_loader")  # only needed to render the lines
from render_corpus import SEED, utterances
for dialog, utterance, emotion, speaker, sentence in utterances(SEED):
    if emotion.label in ("hap", "exc", "ang", "sad", "neu"):
        print(speaker.voice, sentence, sep="|")
"""


def test_the_experiment_has_the_six_models_and_the_identity_mixer():
    experiment = read_experiment(QUICKSTART / "experiment.yaml")
    assert [model.name for model in experiment.models] == [
        *("CNN", "ShiftCNN", "LSTM", "ShiftLSTM", "Transformer", "Shiftformer", "Identity mixer")
    ]
    shiftformer, identity = experiment.models[-2:]
    assert identity.shift == shiftformer.shift.model_copy(update={"stride": 0})
    assert shiftformer.baseline == (identity.name, "Transformer")


def test_the_tables_of_the_page_match_the_recorded_results():
    tables = (report_tables.results(METRICS), report_tables.pairs(METRICS["pairs"]), report_tables.selection(METRICS))
    assert [table.markdown() for table in tables if table.markdown() not in PAGE] == []


def test_the_figures_in_the_text_of_the_page_match_the_recorded_results():
    text = " ".join(PAGE.split())
    pairs = {pair["baseline"]: pair for pair in METRICS["pairs"] if pair["model"] == "Shiftformer"}
    identity, transformer = pairs["Identity mixer"], pairs["Transformer"]
    difference, low, high = map(signed, (identity["ua_difference"], *identity["interval"]))
    most = max(model["selection_bias"]["ua"] for model in METRICS["models"])
    assert re.search(rf"{difference} points.{{,30}} {low} to {high}", text)
    assert f"{percent(-transformer['ua_difference'])} points below" in text
    assert f"up to {percent(most)} points" in text


@pytest.mark.parametrize("path", ["examples/quickstart/metrics.json", "results/quickstart/metrics.json"])
def test_every_model_of_the_quickstart_is_above_chance(path):
    if not (ROOT / path).exists():
        pytest.skip("no results of the quickstart")  # .ci/run runs the quickstart before the tests
    metrics = json.loads((ROOT / path).read_text(encoding="utf-8"))
    assert len(metrics["models"]) == 7
    assert [model["name"] for model in metrics["models"] if model["ua"]["mean"] <= metrics["chance"]] == []
