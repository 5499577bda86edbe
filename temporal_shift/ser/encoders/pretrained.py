"""Load any Hugging Face speech encoder by hub name or folder; it maps clips of one length to frames."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import huggingface_hub.constants
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils.hub import cached_file, extract_commit_hash

from .. import config
from ..audio.resampling import SAMPLE_RATE
from ..utils.atomic_files import file_sha256
from ..utils.errors import RecipeError, reason_of
from ..utils.hugging_face import check_all_loaded, check_folder_or_hub_name, quiet_loading
from .frame_encoder import FrameEncoder, normalized
from .whisper_spectrogram import HOP, WINDOW

Waveforms: TypeAlias = npt.NDArray[np.float32]  # (B, samples)

_WHISPER_STRIDE = 2 * HOP  # samples a position: the second convolution halves the frames


def load_backbone(
    backbone: config.Backbone, clip_seconds: float, average: int = 1, identity: dict[str, object] | None = None
) -> PretrainedEncoder:
    """Load an encoder for clips of ``clip_seconds``, in eval mode.

    Whisper's encoder gets the log mel spectrogram, and its position table is cut to the clip; every other model gets
    the waveform. Only safetensors files are read, and no code from the hub runs.

    Args:
        average: Number of neighbouring frames that are averaged into one.
        identity: The result of :func:`backbone_identity`, if the caller has it already.
    Raises:
        RecipeError: If the encoder does not exist, lacks weights or the layer, or cannot encode such a clip.
    """
    identity = identity or backbone_identity(backbone)
    samples = round(clip_seconds * SAMPLE_RATE)
    with quiet_loading():
        if identity["model_type"] == "whisper":
            model, convert = _load_whisper(backbone, samples)
        else:
            model, convert = _load_waveform_model(backbone), torch.from_numpy
    return PretrainedEncoder(backbone, identity, model, Preparation(backbone.normalize, convert), samples, average)


def backbone_identity(backbone: config.Backbone) -> dict[str, object]:
    """Everything that determines an encoder's output, as JSON-serialisable data. Does not load the weights.

    A hub name is resolved to its current commit. A folder is identified by the hashes of its files, so it can move.

    Raises:
        RecipeError: If the folder or hub name does not exist or contains no model.
    """
    config_file = _find_config(backbone)
    try:
        model_type = json.loads(config_file.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, TypeError, KeyError):
        raise RecipeError(f"the config.json of the backbone {backbone.name} names no model_type") from None
    source: dict[str, object]
    if Path(backbone.name).is_dir():
        files = [config_file, *config_file.parent.glob("preprocessor_config.json")]
        files += sorted(config_file.parent.glob("*.safetensors"))
        source = {"files": {file.name: file_sha256(file) for file in files}}
    else:
        commit = extract_commit_hash(str(config_file), None)
        source = {"name": backbone.name, "revision": commit or backbone.revision}
    return {**source, "model_type": model_type, "layer": backbone.layer, "normalize": backbone.normalize}


@dataclass(frozen=True, slots=True)
class Preparation:
    """Turns clips ``(B, samples)`` at 16 kHz into an encoder's input: waveforms, normalised or not, or spectrograms."""

    normalize: bool
    convert: Callable[[Waveforms], Tensor]

    def __call__(self, clips: Waveforms) -> Tensor:
        return self.convert(normalized(torch.from_numpy(clips)).numpy() if self.normalize else clips)


class PretrainedEncoder(FrameEncoder):
    """An encoder with the preparation of its input: prepared clips to frames ``(B, frames, hidden_size)``.

    There is no attention mask: as in the paper, clips are zero-padded and the padding is encoded. With the layer
    ``"weighted"`` the output has all ``layers`` hidden states, ``(B, layers, frames, hidden_size)``, for the downstream
    model to weight: base checkpoints leave Hugging Face's own layer weights uninitialised.
    """

    def __init__(
        self,
        backbone: config.Backbone,
        identity: dict[str, object],
        model: Any,
        prepare: Preparation,
        samples: int,
        average: int,
    ) -> None:
        super().__init__(model.eval(), "last", average)
        self.identity = identity
        self.prepare = prepare
        try:
            with torch.inference_mode():
                silence = self.prepare(np.zeros((1, samples), dtype=np.float32))
                output = self.model(silence, output_hidden_states=True)
                frames, hidden_size = output.last_hidden_state.shape[1:]
        except Exception as error:  # a model that is not a speech encoder can fail in any way
            raise RecipeError(
                f"the backbone {backbone.name} cannot encode a clip of {samples / SAMPLE_RATE:g} s: {reason_of(error)}"
            ) from None
        last = len(output.hidden_states) - 1
        self.choose(_layer(backbone, last))
        self.frames: int = math.ceil(frames / average)
        self.hidden_size: int = hidden_size
        self.layers: int = last + 1 if self.layer == "weighted" else 0  # 0 unless the layers are weighted

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a clip's frames: ``(frames, hidden_size)``, or ``(layers, frames, hidden_size)`` if weighted."""
        return (*([self.layers] if self.layers else []), self.frames, self.hidden_size)

    def encode(self, clips: Waveforms) -> Tensor:
        """Encode clips ``(B, samples)``: frames in float32 on the CPU, without gradients."""
        inputs = self.prepare(clips).to(next(self.parameters()).device)
        with torch.inference_mode():
            return self(inputs).float().cpu()  # type: ignore[no-any-return]


def _layer(backbone: config.Backbone, last: int) -> int | str:
    if isinstance(backbone.layer, str):
        return backbone.layer
    if not -last - 1 <= backbone.layer <= last:
        raise RecipeError(
            f"the backbone {backbone.name} has no layer {backbone.layer}: "
            f"it must be between 0 and {last}, or between {-last - 1} and -1 from the end"
        )
    return "last" if backbone.layer in (-1, last) else backbone.layer


def _load_waveform_model(backbone: config.Backbone) -> Any:
    model = _load_weights(AutoModel, backbone, trust_remote_code=False)
    if model.main_input_name != "input_values":
        raise RecipeError(
            f"the backbone {backbone.name} ({model.config.model_type}) reads {model.main_input_name}, not a waveform"
        )
    return model


def _load_whisper(backbone: config.Backbone, samples: int) -> tuple[Any, Callable[[Waveforms], Tensor]]:
    # A whole Whisper names its encoder's weights "model.encoder." or "encoder.", an encoder alone does not.
    model = _load_weights(WhisperEncoder, backbone, key_mapping={r"^(model\.)?encoder\.": ""})
    try:
        extractor = WhisperFeatureExtractor.from_pretrained(backbone.name, revision=backbone.revision or "main")
    except (OSError, ValueError) as error:
        raise RecipeError(f"the backbone {backbone.name} has no feature extractor: {reason_of(error)}") from None
    found = (extractor.n_fft, extractor.hop_length, extractor.sampling_rate, extractor.feature_size, extractor.dither)
    expected = (WINDOW, HOP, SAMPLE_RATE, model.config.num_mel_bins, 0.0)
    if found != expected:  # models/speech_classifier.py computes this spectrogram
        raise RecipeError(
            f"the backbone {backbone.name} has a feature extractor with n_fft, hop_length, sampling_rate, feature_size "
            f"and dither {found}: it must be Whisper's own, {expected}"
        )

    positions = math.ceil(samples / _WHISPER_STRIDE)
    table = model.embed_positions.weight
    if positions > len(table):
        raise RecipeError(
            f"clip_seconds must be at most {len(table) * _WHISPER_STRIDE / SAMPLE_RATE:g} for the backbone "
            f"{backbone.name}, got {samples / SAMPLE_RATE:g}"
        )
    model.embed_positions = nn.Embedding(positions, table.shape[1], _weight=table[:positions].detach().clone())
    model.config.max_source_positions = model.max_source_positions = positions
    return model, partial(_spectrogram, extractor, positions)


def _spectrogram(extractor: WhisperFeatureExtractor, positions: int, clips: Waveforms) -> Tensor:
    samples = positions * _WHISPER_STRIDE
    features = extractor(
        list(clips), sampling_rate=SAMPLE_RATE, padding="max_length", max_length=samples, return_tensors="pt"
    )
    return features["input_features"]  # type: ignore[no-any-return]  # (B, mel bins, 2 * positions)


def _load_weights(model_class: Any, backbone: config.Backbone, **options: object) -> Any:
    folder = Path(backbone.name)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise RecipeError(f"the backbone folder {folder} has no .safetensors file: pickled weights are never read")
    try:
        model, loading = model_class.from_pretrained(
            backbone.name,
            revision=backbone.revision or "main",
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with the missing ones
            **options,
        )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        advice = "" if folder.is_dir() else "; if it has only pickled weights, name a revision with safetensors"
        raise RecipeError(f"the backbone {backbone.name} cannot be loaded: {reason_of(error)}{advice}") from None
    check_all_loaded(loading, f"the backbone {backbone.name}")
    return model


def _find_config(backbone: config.Backbone) -> Path:
    check_folder_or_hub_name(backbone.name, "backbone")
    folder = Path(backbone.name)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise RecipeError(f"the backbone folder {folder} has no config.json")
        return folder / "config.json"
    try:
        with quiet_loading():
            found = cached_file(backbone.name, "config.json", revision=backbone.revision or "main")
    except (OSError, ValueError) as error:
        offline = "offline mode is on (HF_HUB_OFFLINE) and the hub's cache on this machine lacks it"
        raise RecipeError(
            f"the backbone {backbone.name} is not a local folder, and the download from the Hugging Face hub failed: "
            f"{offline if huggingface_hub.constants.HF_HUB_OFFLINE else reason_of(error)}; "
            f"where there is a network, `hf download {backbone.name} --local-dir FOLDER`, and name that folder here"
        ) from None
    return Path(str(found))
