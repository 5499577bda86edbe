"""Model folders that try to run code, unpickle or download."""

from __future__ import annotations

import json
import pickle
import re
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers import HubertModel
from typer.testing import CliRunner

from temporal_shift.ser.cli import app

from ..small_model import ENCODERS, small_model

pytestmark = pytest.mark.usefixtures("one_thread")

MODULE = """
from pathlib import Path
Path({marker!r}).write_text("ran")
from transformers import PreTrainedConfig, PreTrainedModel
class EvilConfig(PreTrainedConfig):
    model_type = "evil"
class EvilModel(PreTrainedModel):
    config_class = EvilConfig
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    small_model().save_pretrained(folder / "model")
    soundfile.write(folder / "said.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 16000)
    return folder


class Hostile:
    """A copy of a model folder with Python files. They write the file ``marker`` if they are imported."""

    def __init__(self, saved: Path, root: Path) -> None:
        self.folder, self.marker = root / "model", root / "marker"
        self.folder.mkdir()
        for path in (saved / "model").iterdir():
            (self.folder / path.name).write_bytes(path.read_bytes())
        for name in ("configuration_evil", "modeling_evil"):
            self.write_module(self.folder / f"{name}.py")
        self.recording = saved / "said.wav"

    def write_module(self, path: Path) -> None:
        path.write_text(MODULE.format(marker=str(self.marker)))

    @property
    def auto_map(self) -> dict[str, object]:
        names = {"AutoConfig": "configuration_evil.EvilConfig"}
        names |= dict.fromkeys(
            ("AutoModel", "AutoModelForAudioClassification", "AutoFeatureExtractor"), "modeling_evil.EvilModel"
        )
        return {
            "auto_map": {key: f"{self.folder}--{name}" for key, name in names.items()},
            "_name_or_path": str(self.folder),
        }

    def change(self, **settings: object) -> None:
        path = self.folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    def run(self, command: str) -> tuple[int, str]:
        arguments = {
            "predict": ["predict", self.recording, "--model", self.folder],
            "export": ["export", self.folder, self.folder.parent / "model.onnx"],
            "live": ["live", "--file", self.recording, "--model", self.folder, "--seconds", 0.1],
            "demo": ["demo", "--model", self.folder, "--no-browser"],
        }[command]
        typed = CliRunner().invoke(app, ["ser", *map(str, arguments)], input="y\n" * 100, catch_exceptions=False)
        return typed.exit_code, typed.output


@pytest.fixture
def hostile(saved, tmp_path) -> Hostile:
    return Hostile(saved, tmp_path)


def nested(hostile: Hostile, family: str) -> dict[str, object]:
    """A configuration of another family. It and the models in it name code in the folder."""
    inside = {"model_type": "evil", **hostile.auto_map}
    parts = {
        "pix2struct": ("text_config", "vision_config"),
        "encoder-decoder": ("encoder", "decoder"),
        "rag": ("question_encoder", "generator"),
        "speech-encoder-decoder": ("encoder", "decoder"),
        "evil": (),
    }[family]
    return {"model_type": family, **hostile.auto_map, **{part: {**inside, "model_type": "bert"} for part in parts}}


@pytest.mark.parametrize("command", ["predict", "export", "live", "demo"])
@pytest.mark.parametrize("family", ["pix2struct", "encoder-decoder", "rag", "speech-encoder-decoder", "evil"])
def test_an_encoder_of_another_family_is_refused_and_its_code_never_runs(hostile, family, command):
    hostile.change(backbone_config=nested(hostile, family))
    code, printed = hostile.run(command)
    assert not hostile.marker.exists()
    assert code == 2
    assert printed.startswith("error: ")
    assert family in printed
    assert printed.count("\n") == 1  # one line, so no prompt was printed


@pytest.mark.parametrize("where", ["model", "model_type", "encoder", "preprocessor"])
def test_the_code_that_a_folder_names_never_runs(hostile, where):
    if where == "model":
        hostile.change(**hostile.auto_map)
    elif where == "model_type":
        hostile.change(**hostile.auto_map, model_type="evil")
    elif where == "encoder":
        hostile.change(
            backbone_config=json.loads((hostile.folder / "config.json").read_text())["backbone_config"]
            | hostile.auto_map
        )
    else:
        path = hostile.folder / "preprocessor_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | hostile.auto_map))
    code, printed = hostile.run("predict")
    assert not hostile.marker.exists()
    assert "[y/N]" not in printed
    assert code in (0, 2)


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("config.json", "attn_implementation", "flash_attention_2"),  # transformers may download its kernels
        ("config.json", "attn_implementation", "evil/kernels"),
        ("preprocessor_config.json", "sampling_rate", 8000),
        ("preprocessor_config.json", "do_normalize", True),
    ],
)
def test_unsupported_settings_of_input_and_kernels_are_errors(hostile, file, key, value):
    path = hostile.folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    code, printed = hostile.run("predict")
    assert code == 2
    assert re.fullmatch(rf"error: .*{key}.* got .*{value}.*\n", printed)


class Evil:
    """An object that creates the file ``marker`` when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (("pytorch_model.bin", "model.pt"), False),
        (("pytorch_model.bin",), True),
        (("evil.bin",), True),
    ],
)
def test_nothing_is_unpickled(hostile, names, weights):
    for name in names:
        (hostile.folder / name).write_bytes(pickle.dumps(Evil(hostile.marker)))
    if not weights:
        (hostile.folder / "model.safetensors").unlink()
    if names == ("evil.bin",):
        hostile.change(transformers_weights="evil.bin")
    code, printed = hostile.run("predict")
    assert not hostile.marker.exists()
    assert code in (0, 2)
    if not weights:
        assert "pickled weights are never read" in printed


@pytest.fixture
def lookups(monkeypatch) -> list[str]:
    """The host names that are looked up; no lookup succeeds."""
    found: list[str] = []

    def refuse(host, *arguments, **options):
        found.append(str(host))
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return found


@pytest.mark.parametrize("command", ["predict", "export", "live", "demo"])
def test_the_encoder_that_a_folder_names_is_not_downloaded_unless_asked(hostile, command, lookups):
    hostile.change(holds_backbone=False, backbone={"name": "evil/encoder"})
    code, printed = hostile.run(command)
    assert code == 2
    assert lookups == []
    assert printed.startswith("error: ")
    assert "evil/encoder" in printed
    assert "--allow-download" in printed


def test_allow_download_tries_the_download(hostile, monkeypatch):
    asked: list[str] = []

    def refuse(name, filename, **options):
        asked.append(name)
        raise OSError("no network in this test")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    hostile.change(holds_backbone=False, backbone={"name": "evil/encoder"})
    arguments = ["ser", "predict", str(hostile.recording), "--model", str(hostile.folder), "--allow-download"]
    assert CliRunner().invoke(app, arguments).exit_code == 2
    assert asked == ["evil/encoder"]


def test_an_encoder_in_the_hub_cache_needs_no_download(hostile, lookups, monkeypatch):
    cache, commit = hostile.folder.parent / "hub", "0" * 40
    HubertModel(ENCODERS["hubert"]).save_pretrained(cache / "models--some--encoder" / "snapshots" / commit)
    (cache / "models--some--encoder" / "refs").mkdir()
    (cache / "models--some--encoder" / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    hostile.change(holds_backbone=False, backbone={"name": "some/encoder"})
    assert (hostile.run("predict")[0], lookups) == (0, [])


def test_an_encoder_in_a_neighbouring_folder_needs_no_download(hostile, lookups):
    HubertModel(ENCODERS["hubert"]).save_pretrained(hostile.folder.parent / "encoder")
    hostile.write_module(hostile.folder.parent / "encoder" / "modeling_evil.py")
    hostile.change(holds_backbone=False, backbone={"name": "../encoder"})
    assert hostile.run("predict")[0] == 0
    assert (lookups, hostile.marker.exists()) == ([], False)
