"""Export a whole model, from waveform to probabilities, to one ONNX file, and compare it with PyTorch."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.export import Dim

from ..._extras import not_installed
from ..audio.resampling import SAMPLE_RATE
from ..utils.atomic_files import atomic_path
from ..utils.errors import RecipeError
from ..utils.hugging_face import quiet
from .speech_classifier import SpeechClassifier

TOLERANCE = 1e-5  # maximum difference between probabilities
LARGEST = 1_900_000_000  # bytes of weights: a protobuf file has at most 2 GiB


def export_onnx(model: SpeechClassifier, path: Path) -> float:
    """Write the model to ``path``, and compare onnxruntime with PyTorch on random waveforms.

    The input ``waveform`` is float32 ``(batch, samples)`` at 16 kHz; both dimensions are dynamic. The waveform is
    cut or zero-padded to one window, as in the model. The output ``probabilities`` is ``(batch, classes)``. The file's
    metadata contains ``labels`` (a JSON list), ``sample_rate`` and ``window_seconds``. Requires the extra ``onnx``.

    Args:
        model: The model, with at most 1.9 GB of weights. It is put into eval mode.
        path: The file to write, atomically.

    Returns:
        The largest difference between a probability of onnxruntime and of PyTorch, at most 1e-5.

    Raises:
        RecipeError: If a required package is missing, the model is too large for the format, or a probability differs
            by more than 1e-5. ``path`` is then unchanged.
        OSError: If the file cannot be written.
    """
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise RecipeError(not_installed(error.name or "onnx", "onnx")) from None
    size = sum(weight.numel() * weight.element_size() for weight in model.state_dict().values())
    if size > LARGEST:
        raise RecipeError(
            f"the weights must have at most {LARGEST / 1e9:.1f} GB to fit into an ONNX file, got {size / 1e9:.1f} GB"
        )
    network = _Probabilities(model).eval()
    with atomic_path(path) as temporary:
        _write(network, temporary)
        difference = _largest_difference(network, temporary, model.config.clip_samples)
        if not difference <= TOLERANCE:
            raise RecipeError(
                "the difference between the exported model's probabilities and PyTorch's must be at most "
                f"{TOLERANCE:g}, got {difference:.1e}"
            )
    return difference


class _Probabilities(nn.Module):
    def __init__(self, model: SpeechClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor:
        return self.model(waveform).logits.softmax(dim=1)  # type: ignore[no-any-return]


def _write(network: _Probabilities, path: Path) -> None:
    example = torch.zeros(2, network.model.config.clip_samples // 2 + 1)  # unlikely to equal another size in the model
    reporters = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    with quiet(*reporters), redirect_stdout(StringIO()), torch.inference_mode(False), torch.no_grad():
        program = torch.export.export(network, (example,), dynamic_shapes=({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},))
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["waveform"],
            output_names=["probabilities"],
            dynamic_shapes=({0: "batch", 1: "samples"},),
            verbose=False,
        )
    if written is None:
        raise AssertionError("the exporter returned no program")
    written.model.metadata_props.update(
        labels=json.dumps(network.model.labels),
        sample_rate=str(SAMPLE_RATE),
        window_seconds=str(network.model.config.clip_seconds),
    )
    written.save(str(path))


def _largest_difference(network: _Probabilities, path: Path, window: int) -> float:
    """The largest difference of probabilities for noise of 25 ms, half a window, one window and two windows.

    Shorter clips are almost only padding, where variances are almost 0 and layer norms amplify rounding errors.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(0)
    differences = [0.0]
    for batch, samples in ((1, SAMPLE_RATE // 40), (3, window // 2), (2, window), (1, 2 * window)):
        waves: npt.NDArray[np.float32] = generator.normal(scale=0.1, size=(batch, samples)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(waves)).numpy()
        (got,) = session.run(None, {"waveform": waves})
        differences.append(float(np.abs(got - expected).max()))
    return max(differences)
