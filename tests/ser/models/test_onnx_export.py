"""A whole model as an ONNX file: it gives the results of PyTorch at several lengths, and does not need PyTorch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from temporal_shift.ser import Recognizer, SpeechClassifier
from temporal_shift.ser.audio.reading import read_blocks
from temporal_shift.ser.models import onnx_export
from temporal_shift.ser.models.onnx_export import TOLERANCE, export_onnx
from temporal_shift.ser.utils.errors import RecipeError

from ..small_model import LABELS, SECONDS, small_model

SCRIPT = Path(__file__).parents[3] / "examples" / "serve" / "predict_onnx.py"
SAMPLES = round(SECONDS * 16000)
SHALLOW = {"num_hidden_layers": 1}  # an export takes longer with more layers


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "deep" / "model.onnx"
    export_onnx(whisper(), path)
    return path


def whisper() -> SpeechClassifier:
    return small_model("whisper", shifted=False, encoder={"encoder_layers": 1})


def assert_same_probabilities(path: Path, model: SpeechClassifier) -> None:
    session = onnxruntime.InferenceSession(path)
    assert [each.shape for each in session.get_inputs()] == [["batch", "samples"]]
    generator = np.random.default_rng(1)
    for batch, samples in ((1, 400), (4, SAMPLES - 1), (2, SAMPLES + 1), (3, 5 * SAMPLES)):
        waves = generator.normal(scale=0.3, size=(batch, samples)).astype(np.float32)
        with torch.no_grad():
            expected = model(torch.from_numpy(waves)).logits.softmax(1).numpy()
        np.testing.assert_allclose(session.run(None, {"waveform": waves})[0], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("family", "blocks"), [("wav2vec2", "conv"), ("hubert", "lstm"), ("wavlm", "transformer")])
def test_onnxruntime_and_pytorch_give_the_same_probabilities_at_every_length(family, blocks, tmp_path):
    model = small_model(family, blocks, normalize=family == "wavlm", encoder=SHALLOW)
    assert export_onnx(model, tmp_path / "model.onnx") <= TOLERANCE
    assert_same_probabilities(tmp_path / "model.onnx", model)


def test_onnxruntime_and_pytorch_give_the_same_probabilities_on_whisper_without_a_shift(exported):
    assert [each.name for each in exported.parent.iterdir()] == ["model.onnx"]
    assert_same_probabilities(exported, whisper())


def test_the_metadata_has_labels_rate_and_window(exported):
    onnx.checker.check_model(str(exported))
    facts = onnxruntime.InferenceSession(exported).get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == list(LABELS)
    assert (float(facts["window_seconds"]), int(facts["sample_rate"])) == (SECONDS, 16000)


def test_the_script_runs_without_pytorch_and_prints_the_same_predictions(exported, tmp_path):
    generator = np.random.default_rng(2)
    files = {"short.wav": (0.3, 16000), "long.flac": (1.5, 48000)}
    for name, (seconds, rate) in files.items():
        soundfile.write(tmp_path / name, 0.1 * generator.normal(size=(round(seconds * rate), 2)), rate)
    for hidden in ("torch", "transformers", "temporal_shift"):  # importing one of these fails
        (tmp_path / "hidden" / hidden).mkdir(parents=True)
        (tmp_path / "hidden" / hidden / "__init__.py").write_text("raise ImportError('not installed')")
    paths = [str(tmp_path / name) for name in files]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(exported), *paths],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "hidden")},
        capture_output=True,
        text=True,
        check=True,
    )
    recognizer = Recognizer(whisper())
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line, path in zip(lines, paths, strict=True):
        windows = list(recognizer.windows(read_blocks(Path(path))))
        expected = np.mean([window.probabilities for window in windows], axis=0)
        said = [float(word.rstrip(")")) for word in line.split() if word.rstrip(")").replace(".", "").isdigit()]
        np.testing.assert_allclose(said, expected, atol=2e-3)
        assert line.startswith(f"{path}: {LABELS[int(expected.argmax())]} (")
    assert len(SCRIPT.read_text().splitlines()) <= 40


def test_a_graph_with_other_probabilities_is_not_kept(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_text("an older one")
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)  # always exceeded
    with pytest.raises(RecipeError, match=r"probabilities .* at most -1, got \d\.\de-\d+"):
        export_onnx(small_model(blocks="conv", encoder=SHALLOW), tmp_path / "model.onnx")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("model.onnx", "an older one")]


def test_a_model_too_large_for_one_file_is_refused_before_the_export(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "LARGEST", 1000)
    with pytest.raises(RecipeError, match=r"weights .* at most 0\.0 GB .*, got 0\.0 GB"):
        export_onnx(small_model(), tmp_path / "model.onnx")


def test_a_missing_package_is_a_one_line_error(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RecipeError, match=r'^onnxscript is not installed: pip install .*\[onnx\]"$'):
        export_onnx(small_model(), tmp_path / "model.onnx")
