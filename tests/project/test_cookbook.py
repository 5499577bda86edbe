"""The recipes of docs/cookbook.md that need more than the page: a corpus, HTTP requests, a microphone."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

from temporal_shift import find_temporal_shifts
from temporal_shift.ser import Recognizer
from temporal_shift.ser.inference.microphone import microphone
from temporal_shift.ser.utils.errors import RecipeError

from ..ser.small_model import LABELS, local_model
from ..ser.tiny import TINY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.usefixtures("one_thread")


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / "examples" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A table of twelve clips by three speakers; each clip is a low or a high tone."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = ["path,label,speaker"]
    for number in range(12):
        label, speaker = ("low", "high")[number % 2], ("anna", "bert", "cleo")[number // 4]
        tone = np.sin(np.arange(4000) * (0.1, 0.5)[number % 2] * (1 + number / 100))
        soundfile.write(folder / f"{number}.wav", 0.3 * tone, 16000)
        lines.append(f"{number}.wav,{label},{speaker}")
    (folder / "corpus.csv").write_text("\n".join(lines))
    return folder / "corpus.csv"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    torch.manual_seed(0)
    Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**TINY, layerdrop=0.0, num_labels=5)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def test_fine_tuning_saves_a_model_that_loads_with_its_shifts_and_is_tested_on_other_speakers(
    pretrained, corpus, tmp_path, capsys
):
    finetune = script("cookbook/finetune.py")
    options = {"--epochs": 1, "--batch-size": 4, "--seconds": 0.25, "--held-out": "Group2"}
    words = [str(word) for option in options.items() for word in option]
    out = tmp_path / "tuned"
    results = finetune.main([str(pretrained), str(corpus), str(out), *words])
    assert re.search(r"WA [01]\.\d+, UA [01]\.\d+ on Group2: \w+\n", capsys.readouterr().out)
    assert 0 <= results["eval_ua"] <= 1

    model = finetune.load(out)
    assert list(find_temporal_shifts(model)) == [f"wav2vec2.encoder.layers.{layer}" for layer in range(3)]
    assert set(model.config.id2label.values()) == {"low", "high"}
    plain = Wav2Vec2ForSequenceClassification.from_pretrained(out)
    before = Wav2Vec2ForSequenceClassification.from_pretrained(pretrained)
    wave = torch.randn(1, 4000)
    assert not torch.equal(model(wave).logits, plain(wave).logits)
    tuned, original = (each.wav2vec2.encoder.layers[0].attention.q_proj.weight for each in (model, before))
    assert not torch.equal(tuned, original)


def test_fine_tuning_rejects_an_unknown_speaker_group(pretrained, corpus, tmp_path, capsys):
    with pytest.raises(SystemExit):
        script("cookbook/finetune.py").main([str(pretrained), str(corpus), str(tmp_path), "--held-out", "Group9"])
    assert re.search("--held-out must be one of Group1, Group2.*, got Group9", capsys.readouterr().err)


def test_fine_tuning_overwrites_no_files(pretrained, corpus, capsys):
    with pytest.raises(SystemExit):
        script("cookbook/finetune.py").main([str(pretrained), str(corpus), str(pretrained)])
    assert f"out must be a new or empty folder, got {pretrained}" in " ".join(capsys.readouterr().err.split())


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("model")
    local_model("last").save_pretrained(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL", str(folder))
        app = script("serve/app.py")
    with TestClient(app.app) as client:
        client.module = app
        yield client


def posted(client: TestClient, data: bytes):
    return client.post("/predict", files={"file": ("recording.wav", data)})


def wav(samples: np.ndarray, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_the_server_answers_with_the_label_and_the_probabilities(client):
    samples = 0.1 * np.random.default_rng(0).normal(size=(48000, 2)).astype(np.float32)
    answer = posted(client, wav(samples, 48000))
    assert answer.status_code == 200
    found = answer.json()
    assert list(found["probabilities"]) == list(LABELS)
    assert found["label"] == max(found["probabilities"], key=found["probabilities"].get)
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"this is no audio" * 99, r"the audio file in memory cannot be read: .*"),
        (b"", r"the audio file in memory .*"),
        (wav(np.zeros(100)), r"the recording must be at least 0\.1 s long, got .*"),
        (wav(np.full(8000, np.nan)), r"the audio file in memory contains samples that are not finite"),
    ],
    ids=["text", "empty", "short", "nan"],
)
def test_the_server_answers_bad_audio_with_status_400_and_one_sentence(client, data, sentence):
    answer = posted(client, data)
    assert answer.status_code == 400
    assert re.fullmatch(sentence, answer.json()["detail"])


def test_the_server_limits_the_size_of_uploads_and_the_length_of_recordings(client, monkeypatch):
    monkeypatch.setattr(client.module, "MAX_SECONDS", 2)
    assert posted(client, wav(np.zeros(32000))).status_code == 200
    answer = posted(client, wav(np.zeros(48001)))
    assert (answer.status_code, answer.json()["detail"]) == (400, "the recording must be at most 2 s long")
    monkeypatch.setattr(client.module, "MAX_BYTES", 10_000)
    answer = posted(client, wav(np.zeros(8000)))
    assert (answer.status_code, answer.json()["detail"][:42]) == (413, "Content-Length must be at most 10000, got ")
    chunked = client.post("/predict", content=iter([b"x" * 99]))  # without the header Content-Length
    assert chunked.status_code == 413


def test_the_default_model_of_the_server_is_in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("MODEL", raising=False)
    recording = next((ROOT / "examples" / "quickstart" / "corpus").rglob("*.ogg"))
    answer = posted(TestClient(script("serve/app.py").app), recording.read_bytes())
    assert list(answer.json()["probabilities"]) == ["angry", "happy", "neutral", "sad"]


def test_the_recipe_for_a_microphone_yields_an_update_for_each_hop(monkeypatch):
    unplugged = Event()

    class Microphone:
        """A device that gives 0.6 s of sound, and is later unplugged."""

        def __init__(self, rate: float, **_: object) -> None:
            self.left = round(0.6 * rate)

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            pass

        def read(self, samples: int):
            self.left -= samples
            if self.left < 0 and unplugged.wait(timeout=60):
                raise OSError("device unplugged")
            return np.full((samples, 1), 0.1, dtype=np.float32), False

    device = {"name": "USB", "index": 1, "default_samplerate": 16000.0, "max_input_channels": 1}
    fake = types.SimpleNamespace(PortAudioError=RuntimeError, query_devices=lambda *_: device, InputStream=Microphone)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    monkeypatch.setattr(Recognizer, "load", lambda name: Recognizer(local_model("last")))
    (block,) = [each for each in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "def listen" in each]
    names: dict[str, object] = {}
    exec(block.partition("corpus = ")[0], names)
    answers = names["listen"](microphone("USB"))
    assert next(answers).keys() == set(LABELS)
    unplugged.set()
    with pytest.raises(RecipeError, match="USB cannot be read: device unplugged"):
        list(answers)


def test_the_settings_in_the_page_match_the_scripts():
    assert json.loads(re.search(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)[1]).keys() == {"label", "probabilities"}
    app = script_text("serve/app.py")
    assert "MAX_BYTES = 20_000_000" in app
    assert "MAX_SECONDS = 300" in app
    page = " ".join(PAGE.split())
    assert "is longer than 5 minutes, the server answers with status 400" in page
    assert "larger than 20 MB or does not state its length, the server answers with status 413" in page


def script_text(path: str) -> str:
    return (ROOT / "examples" / path).read_text(encoding="utf-8")
