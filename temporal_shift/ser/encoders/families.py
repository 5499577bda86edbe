"""The families of speech encoders, and their configurations from an untrusted ``config.json``.

Only these families are built, by classes of transformers that contain no other model, and only the arguments that a
class declares are read from the file. So a configuration cannot name code to run (``auto_map``, a nested model), a
kernel to download (``attn_implementation``), or other files to read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, MODEL_MAPPING, PreTrainedConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ..audio.resampling import SAMPLE_RATE
from ..utils.errors import RecipeError, reason_of
from ..utils.hugging_face import quiet_loading
from .whisper_spectrogram import HOP

WAVEFORM_FAMILIES = (
    *("data2vec-audio", "hubert", "sew", "sew-d", "unispeech", "unispeech-sat"),
    *("wav2vec2", "wav2vec2-conformer", "wavlm"),
)
FAMILIES = (*WAVEFORM_FAMILIES, "whisper")
_SIZES = (
    *("hidden_size", "output_hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("conv_dim", "conv_kernel", "conv_stride", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups"),
    *("conv_pos_kernel_size", "squeeze_factor", "num_adapter_layers", "adapter_kernel_size", "adapter_stride"),
    *("d_model", "encoder_ffn_dim", "encoder_layers", "encoder_attention_heads", "num_mel_bins"),
    *("max_source_positions", "max_position_embeddings"),
)
_CHOICES = {  # for SEW-D; transformers ignores other values without an error
    "pos_att_type": ("c2p", "p2c"),
    "norm_rel_ebd": ("layer_norm", "none"),
}
_MAX_SIZE = 1_000_000  # bounds the vectors that transformers allocates even if no weights are loaded
_MAX_EPS = 0.01  # epsilon of layer norms; published encoders have 1e-5 or 1e-7
_MAX_REASON = 200  # characters of a library's message
_MAX_RATE = 200  # frames per second: the cost of attention is quadratic. Published encoders have 50.


def encoder_config(settings: Mapping[str, Any], name: str) -> Any:
    """The configuration of an encoder, from the content of a ``config.json``.

    Args:
        settings: The content of the file.
        name: The model, for messages.
    Raises:
        RecipeError: If the family is not one of :data:`FAMILIES`, the weights are quantised, or a value is invalid.
    """
    family = settings.get("model_type")
    if family not in FAMILIES:
        raise RecipeError(f"model_type of {name} must be one of {', '.join(FAMILIES)}, got {family!r}")
    if settings.get("quantization_config"):
        raise RecipeError(f"{name} must have weights that are not quantised, got a quantization_config")
    config_class: Any = CONFIG_MAPPING[family]
    known = inspect.signature(config_class).parameters.keys() - inspect.signature(PreTrainedConfig).parameters.keys()
    try:
        with quiet_loading():
            found = config_class(**{key: value for key, value in settings.items() if key in known})
            _check_sizes(found)
    except Exception as error:  # each family validates its values and may raise anything
        reason = re.sub(r"^Validation error for field '\w+': \w+: |\. Errors: .*", "", reason_of(error))
        raise RecipeError(f"the configuration of {name} is invalid: {reason[:_MAX_REASON]}") from None
    return found


def encoder_class(config: PreTrainedConfig) -> Any:
    """The class of the encoder. For Whisper, this is the encoder without the decoder."""
    return WhisperEncoder if config.model_type == "whisper" else MODEL_MAPPING[type(config)]


def frame_count(config: Any, samples: int) -> int:
    """Number of frames that the convolutions compute from ``samples`` samples at 16 kHz; 0 for too few samples.

    For Whisper, the number is at most the length of the encoder's position table.
    """
    if config.model_type == "whisper":
        return min(int(config.max_source_positions), -(-samples // (2 * HOP)))
    frames = samples
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        frames = max(0, (frames - kernel) // stride + 1)
    return frames


def check_size(config: PreTrainedConfig, weights: Mapping[str, Tensor], samples: int, name: str) -> None:
    """Check, before the encoder is built, that building it and encoding a clip take bounded time and memory.

    Args:
        config: The result of :func:`encoder_config`.
        weights: The weights by name.
        samples: Length of the clip in samples at 16 kHz.
        name: The model, for messages.
    Raises:
        RecipeError: If the configuration is invalid, or describes more layers than there are weight tensors, more than
            twice the parameters of the weights, or more than 200 frames per second.
    """
    limit = len(weights)  # every layer has weights
    for key in ("encoder_layers", "num_hidden_layers", "num_adapter_layers"):
        if (found := getattr(config, key, 0)) > limit:
            raise RecipeError(f"{key} of {name} must be at most {limit}, the number of weight tensors, got {found}")
    frames, limit = frame_count(config, samples), max(1, _MAX_RATE * samples // SAMPLE_RATE)
    if frames > limit:
        raise RecipeError(
            f"conv_stride of {name} must give at most {limit} frames in {samples / SAMPLE_RATE:g} s, got {frames}"
        )
    try:
        with quiet_loading(), torch.device("meta"):  # no memory
            described = sum(parameter.numel() for parameter in encoder_class(config)(config).parameters())
    except Exception as error:  # some families validate only here
        raise RecipeError(f"the configuration of {name} is invalid: {reason_of(error)}") from None
    stored = sum(weight.numel() for weight in weights.values())
    if described > 2 * stored:  # check_all_loaded reports smaller gaps
        raise RecipeError(
            f"the configuration of {name} must describe at most {2 * stored} parameters, twice the number in the "
            f"weights, got {described}"
        )


def _check_sizes(config: PreTrainedConfig) -> None:
    """Raise unless sizes, choices and epsilons are valid. With -1 layers, transformers would build an empty encoder."""
    for key in _SIZES:
        found = getattr(config, key, None)
        if found is None or ("adapter" in key and not getattr(config, "add_adapter", False)):
            continue
        sizes = found if isinstance(found, (list, tuple)) else [found]
        if not sizes or not all(type(size) is int and 1 <= size <= _MAX_SIZE for size in sizes):
            own = config.attribute_map.get(key, key)  # Whisper's num_hidden_layers is encoder_layers
            kind = "a list of integers" if isinstance(found, (list, tuple)) else "an integer"
            raise ValueError(f"{own} must be {kind} in [1, {_MAX_SIZE}], got {found!r}")
    for key, choices in _CHOICES.items():
        if (found := getattr(config, key, None)) is None:
            continue
        if not found or not {*([found] if isinstance(found, str) else found)} <= {*choices}:
            raise ValueError(f"{key} must be {' or '.join(choices)}, got {found!r}")
    for key, found in config.to_dict().items():
        if key.endswith("eps") and not 0 <= found <= _MAX_EPS:
            raise ValueError(f"{key} must be a number in [0, {_MAX_EPS}], got {found!r}")
