"""Load a speech encoder by hub name or folder. It computes frames from clips of a fixed length."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import WhisperFeatureExtractor
from transformers.utils.hub import extract_commit_hash

from .. import config
from ..audio.resampling import SAMPLE_RATE
from ..utils.atomic_files import file_sha256
from ..utils.errors import RecipeError, reason_of
from ..utils.hugging_face import check_all_loaded, check_folder_or_hub_name, quiet_loading
from .families import check_size, encoder_class, encoder_config
from .frame_encoder import FrameEncoder, normalized
from .model_files import ModelFiles
from .preprocessor import FILES, check_encoder
from .whisper_spectrogram import HOP

Waveforms: TypeAlias = npt.NDArray[np.float32]  # (B, samples)

_WHISPER_STRIDE = 2 * HOP  # samples per position: the second convolution has a stride of 2


def load_backbone(
    backbone: config.Backbone,
    clip_seconds: float,
    average: int = 1,
    identity: dict[str, object] | None = None,
    *,
    allow_download: bool = True,
) -> PretrainedEncoder:
    """Load an encoder for clips of ``clip_seconds``, in float32 and eval mode.

    Whisper's encoder gets the log mel spectrogram, and its position table is cut to the clip; every other model gets
    the waveform. Only JSON and safetensors files are read, and no code from the model or the hub runs.

    Args:
        backbone: The settings of the encoder.
        clip_seconds: Length of a clip in seconds.
        average: Number of neighbouring frames that are averaged into one. Default: 1.
        identity: The result of :func:`backbone_identity`. Default: computed.
        allow_download: Whether to send requests to the hub; if not, only its local cache is read. Default: ``True``.
    Raises:
        RecipeError: If the encoder does not exist, is not of a known family, has an invalid configuration, expects
            another input than it gets, lacks weights or the layer, or cannot encode such a clip.
        OSError: If a request to the hub fails.
    """
    identity = identity or backbone_identity(backbone, allow_download=allow_download)
    files = ModelFiles(backbone.name, backbone.revision, allow_download).at(identity.get("revision"))
    samples = round(clip_seconds * SAMPLE_RATE)
    model = _load(files, samples)
    convert: Callable[[Waveforms], Tensor] = torch.from_numpy
    if identity["model_type"] == "whisper":
        positions = _cut_positions(model, samples, files.name)
        # check_encoder verified that the model does not change the extractor's other settings
        convert = partial(_spectrogram, WhisperFeatureExtractor(feature_size=model.config.num_mel_bins), positions)
    return PretrainedEncoder(backbone, identity, model, Preparation(backbone.normalize, convert), samples, average)


def backbone_identity(backbone: config.Backbone, *, allow_download: bool = True) -> dict[str, object]:
    """The version of an encoder and the settings of its output, as JSON data. Does not load the weights.

    A hub name is resolved to the commit of ``backbone.revision``. A folder is identified by the hashes of its
    files, so it can move.

    Args:
        backbone: The settings of the encoder.
        allow_download: Whether to send requests to the hub; if not, only its local cache is read. Default: ``True``.
    Returns:
        ``model_type``, ``layer`` and ``normalize``, with ``name`` and ``revision`` for a hub name, or ``files`` (the
        SHA-256 by name) for a folder.
    Raises:
        RecipeError: If the folder or hub name does not exist, is not an encoder of a known family, has an invalid
            configuration, or expects another input than it gets.
        OSError: If a request to the hub fails.
    """
    check_folder_or_hub_name(backbone.name, "backbone")
    files = ModelFiles(backbone.name, backbone.revision, allow_download)
    settings = files.json("config.json") or {}
    config_file = files.config()
    source: dict[str, object]
    if files.folder is not None:
        paths = [config_file, *filter(None, map(files.find, FILES)), *sorted(files.folder.glob("*.safetensors"))]
        source = {"files": {path.name: file_sha256(path) for path in paths}}
    else:
        commit = extract_commit_hash(str(config_file), None) or backbone.revision
        source = {"name": backbone.name, "revision": commit}
        files = files.at(commit)
    encoder_config(settings, f"the backbone {backbone.name}")
    check_encoder(files, settings)
    return {
        **source,
        "model_type": settings["model_type"],
        "layer": backbone.layer,
        "normalize": backbone.normalize,
    }


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
    ``"weighted"`` the output contains all ``layers`` hidden states, ``(B, layers, frames, hidden_size)``. The
    classifier learns their weights, because base checkpoints leave Hugging Face's own layer weights uninitialised.

    Raises:
        RecipeError: If the encoder cannot encode a clip of ``samples`` samples or lacks the layer, or if hidden
            states have different shapes for ``"weighted"``.
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
        except Exception as error:  # an encoder can raise anything on an unsupported length
            raise RecipeError(
                f"the backbone {backbone.name} cannot encode a clip of {samples / SAMPLE_RATE:g} s: {reason_of(error)}"
            ) from None
        self.choose(_layer(backbone, output))
        shape = self.frames_of(output).shape[1:]
        self.frames: int = shape[-2]
        self.hidden_size: int = shape[-1]
        self.layers: int = shape[0] if self.layer == "weighted" else 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a clip's frames: ``(frames, hidden_size)``, or ``(layers, frames, hidden_size)`` if weighted."""
        return (*([self.layers] if self.layers else []), self.frames, self.hidden_size)

    def encode(self, clips: Waveforms) -> Tensor:
        """Encode clips ``(B, samples)`` at 16 kHz. The frames are a float32 tensor on the CPU, without gradients."""
        inputs = self.prepare(clips).to(next(self.parameters()).device)
        with torch.inference_mode():
            return self(inputs).float().cpu()  # type: ignore[no-any-return]


def _layer(backbone: config.Backbone, output: Any) -> int | str:
    """The layer of the settings; ``"last"`` for the index of the last hidden state if the output has its shape.

    Raises:
        RecipeError: If the model lacks the layer, or the layers of ``"weighted"`` have different shapes.
    """
    states, name = output.hidden_states, f"the backbone {backbone.name}"
    last, whole = len(states) - 1, tuple(output.last_hidden_state.shape[1:])
    of_layers = {tuple(state.shape[1:]) for state in states[:-1]}
    if backbone.layer == "weighted" and of_layers - {whole}:
        raise RecipeError(
            f"layer must be last or in [{-last - 1}, {last}] for {name}, got weighted: the output has the shape "
            f"{whole}, but the hidden states have {', '.join(map(str, sorted(of_layers)))}, so they cannot be added"
        )
    if isinstance(backbone.layer, str):
        return backbone.layer
    if not -last - 1 <= backbone.layer <= last:
        raise RecipeError(f"layer must be last, weighted or in [{-last - 1}, {last}] for {name}, got {backbone.layer}")
    # if an adapter or SEW's upsampling follows the last layer, the output has another shape than the last hidden state
    is_output = tuple(states[last].shape[1:]) == whole
    return "last" if is_output and backbone.layer % (last + 1) == last else backbone.layer


def _load(files: ModelFiles, samples: int) -> Any:
    """Load the model in float32, after checking that clips of ``samples`` take bounded time and memory."""
    name = f"the backbone {files.name}"
    settings = encoder_config(files.json("config.json") or {}, name)
    weights = files.weights()
    check_size(settings, weights, samples, name)
    # a whole Whisper prefixes its encoder's weights with "model.encoder." or "encoder."
    names = {r"^(model\.)?encoder\.": ""} if settings.model_type == "whisper" else None
    try:
        with quiet_loading():
            # from a dictionary: from a folder, transformers also loads adapters and files that config.json names
            model, loading = encoder_class(settings).from_pretrained(
                None,
                config=settings,
                state_dict=weights,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # check_all_loaded reports them
                key_mapping=names,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise RecipeError(f"{name} cannot be loaded: {reason_of(error)}") from None
    check_all_loaded(model, loading, name)
    return model


def whisper_positions(longest: int, samples: int, name: str) -> int:
    """Number of positions of a Whisper encoder for clips of ``samples`` samples at 16 kHz.

    Args:
        longest: Length of the encoder's position table.
        name: The encoder, for the message.
    Raises:
        RecipeError: If the table is too short.
    """
    positions = math.ceil(samples / _WHISPER_STRIDE)
    if positions > longest:
        raise RecipeError(
            f"clip_seconds must be at most {longest * _WHISPER_STRIDE / SAMPLE_RATE:g} for {name}, "
            f"got {samples / SAMPLE_RATE:g}"
        )
    return positions


def _cut_positions(model: Any, samples: int, name: str) -> int:
    """Cut the position table of a Whisper encoder to clips of ``samples`` samples; returns its length."""
    table = model.embed_positions.weight
    positions = whisper_positions(len(table), samples, f"the backbone {name}")
    model.embed_positions = nn.Embedding(positions, table.shape[1], _weight=table[:positions].detach().clone())
    model.config.max_source_positions = model.max_source_positions = positions
    return positions


def _spectrogram(extractor: WhisperFeatureExtractor, positions: int, clips: Waveforms) -> Tensor:
    samples = positions * _WHISPER_STRIDE
    features = extractor(
        list(clips), sampling_rate=SAMPLE_RATE, padding="max_length", max_length=samples, return_tensors="pt"
    )
    return features["input_features"]  # type: ignore[no-any-return]  # (B, mel bins, 2 * positions)
