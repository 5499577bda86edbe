"""The worked examples of docs/corpora.md, run on folders in the layouts of the corpora."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from temporal_shift.ser import config
from temporal_shift.ser.cli import app
from temporal_shift.ser.corpora import read_corpus
from temporal_shift.ser.corpora.manifest import Manifest, read_manifest

from ..corpus_trees import write_emovo, write_nemo, write_urdu

PAGE = (Path(__file__).parents[3] / "docs" / "corpora.md").read_text(encoding="utf-8")


def executed(name: str) -> tuple[str, Manifest]:
    """The output of the page's command ``name``, and the manifest that the command wrote."""
    (command,) = re.findall(rf"<!-- command: {name} -->\n```bash\n(.*)\n```", PAGE)
    done = CliRunner().invoke(app, shlex.split(command)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output, read_manifest(Path(f"{name}.jsonl"), check_audio=True)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_nemo_is_a_table_with_other_headers():
    write_nemo(Path("nEMO"))
    _, manifest = executed("nemo")
    assert manifest.labels == ("anger", "fear", "happiness", "neutral", "sadness", "surprised")
    assert len(manifest.count("speaker")) == 9
    assert len(manifest.utterances) == 54


def test_urdu_is_a_folder_with_labels_and_speakers_in_its_paths():
    write_urdu(Path("URDU-Dataset"))
    _, manifest = executed("urdu")
    assert manifest.labels == ("Angry", "Happy", "Neutral", "Sad")
    assert set(manifest.count("speaker")) == {"SF1", "SM2", "SF3", "SM4", "SF5", "SM6"}


def test_emovo_is_a_folder_with_a_label_map_and_a_warning_that_the_choice_of_a_channel_resolves():
    (labels,) = re.findall(r"```yaml\n(dis:.*?)```", PAGE, flags=re.DOTALL)
    Path("emovo.yaml").write_text(labels)
    write_emovo(Path("EMOVO"))
    printed, manifest = executed("emovo")
    assert set(manifest.labels) == {"disgust", "happy", "fearful", "angry", "surprised", "sad", "neutral"}
    assert set(manifest.count("speaker")) == {"f1", "f2", "f3", "m1", "m2", "m3"}
    assert "choose one with channel: 0" in printed
    (chosen,) = re.findall(r"```yaml\n(corpus:\n  reader: manifest.*?)```", PAGE, flags=re.DOTALL)
    assert read_corpus(config.Corpus.checked(**yaml.safe_load(chosen)["corpus"])).channel == 0
