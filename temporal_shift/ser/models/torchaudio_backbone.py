"""Convert torchaudio's wav2vec 2.0 base and HuBERT base to Hugging Face's names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model

from ..utils.wording import listed

KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)  # sizes and strides of the base models' convolutions
_HEAD_CHANNELS = 64  # channels of an attention head in the base models; checkpoints store neither this nor the strides
_PARTS = {  # torchaudio's prefixes of names to Hugging Face's
    "encoder.feature_projection.": "feature_projection.",
    "encoder.transformer.": "encoder.",
}
_POSITIONS = "encoder.pos_conv_embed.conv."
_WEIGHT_NORM = {  # the older names of torch's weight norm to the newer ones
    f"{_POSITIONS}weight_g": f"{_POSITIONS}parametrizations.weight.original0",
    f"{_POSITIONS}weight_v": f"{_POSITIONS}parametrizations.weight.original1",
}
_FEATURES = [f"feature_extractor.conv_layers.{layer}.conv.weight" for layer in range(len(KERNELS))]
_PROJECTION = "feature_projection.projection.weight"
_FEED_FORWARD = "encoder.layers.0.feed_forward.intermediate_dense.weight"
_DIMS = {
    **dict.fromkeys(_FEATURES, 3),
    _PROJECTION: 2,
    f"{_POSITIONS}parametrizations.weight.original1": 3,
    _FEED_FORWARD: 2,
}


def from_torchaudio(state_dict: Mapping[str, Tensor]) -> Wav2Vec2Model:
    """Build a Hugging Face model with a copy of a torchaudio model's weights, in eval mode.

    The model computes the same outputs as ``torchaudio.models.Wav2Vec2Model``, with the dropout of
    ``torchaudio.pipelines``. Both base models have the same architecture, so HuBERT base also becomes a
    ``Wav2Vec2Model``.

    Args:
        state_dict: The weights of ``torchaudio.pipelines.WAV2VEC2_BASE.get_model()`` or of ``HUBERT_BASE``. Other
            sizes of the same layers are allowed, with heads of 64 channels. The weight norm of the positional
            convolution has the names ``weight_g`` and ``weight_v``, or torch's newer ``parametrizations.weight.*``.

    Raises:
        ValueError: If names, shapes or kernel sizes do not match, or a tensor is not finite, not dense, or not of a
            floating-point dtype of at least 16 bits.

    Source: github.com/pytorch/audio, ``torchaudio/models/wav2vec2``.
    """
    named = {_hugging_face_name(name): tensor for name, tensor in state_dict.items()}
    if len(named) < len(state_dict):
        raise ValueError("the backbone must name each weight once, got the weight norm under its older and newer names")
    with torch.device("meta"):  # the weights are loaded already
        model = Wav2Vec2Model(_config(named))
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    _check_names(named, expected)
    unfit = [name for name, shape in expected.items() if named[name].shape != shape]
    if unfit:
        shapes = f"{tuple(expected[unfit[0]])}, got {tuple(named[unfit[0]].shape)}"
        raise ValueError(f"the shapes of the backbone must match each other: {unfit[0]} must be {shapes}")
    check_values(named)
    model.load_state_dict({name: tensor.detach().clone() for name, tensor in named.items()}, assign=True)
    return model.eval()


def frames_of(samples: int) -> int:
    """Number of frames that a base model returns for ``samples`` samples at 16 kHz."""
    for kernel, stride in zip(KERNELS, STRIDES, strict=True):
        samples = (samples - kernel) // stride + 1
    return max(samples, 0)


def check_values(named: Mapping[str, Tensor]) -> None:
    """Raise a ``ValueError`` unless all tensors are dense, finite, and floating point of at least 16 bits."""
    for name, tensor in named.items():
        if not tensor.is_floating_point() or tensor.itemsize < 2:
            raise ValueError(
                f"the weights must be floating-point tensors of 16 to 64 bits, got {name} of {tensor.dtype}"
            )
        if tensor.is_meta or tensor.layout != torch.strided:
            kind = "on the meta device" if tensor.is_meta else f"of {tensor.layout}"
            raise ValueError(f"the weights must be dense tensors with data, got {name} {kind}")
        if not tensor.isfinite().all():
            raise ValueError(f"the weights must be finite, got NaN or infinity in {name}")


def _hugging_face_name(name: str) -> str:
    for theirs, ours in _PARTS.items():
        if name.startswith(theirs):
            name = f"{ours}{name.removeprefix(theirs)}"
            break
    return _WEIGHT_NORM.get(name, name)


def _config(named: Mapping[str, Tensor]) -> Wav2Vec2Config:
    """The configuration, read from the shapes."""
    _check_names({name: named[name] for name in named if name in _DIMS}, _DIMS)
    for name, dims in _DIMS.items():
        if named[name].dim() != dims or 0 in named[name].shape:
            raise ValueError(
                f"{name} of the backbone must have {dims} dimensions of at least 1, got {tuple(named[name].shape)}"
            )
    kernels = tuple(named[name].shape[2] for name in _FEATURES)
    if kernels != KERNELS:
        raise ValueError(f"the kernel sizes of the backbone's convolutions must be {KERNELS}, got {kernels}")
    hidden_size = named[_PROJECTION].shape[0]
    _, grouped, positions = named[f"{_POSITIONS}parametrizations.weight.original1"].shape
    if hidden_size % _HEAD_CHANNELS or hidden_size % grouped:
        raise ValueError(
            f"the channels of the backbone must be a multiple of {_HEAD_CHANNELS} (channels of a head) and of "
            f"{grouped} (channels of a group in the positional convolution), got {hidden_size}"
        )
    return Wav2Vec2Config(
        hidden_size=hidden_size,
        num_hidden_layers=len({name.split(".")[2] for name in named if name.startswith("encoder.layers.")}),
        num_attention_heads=hidden_size // _HEAD_CHANNELS,
        intermediate_size=named[_FEED_FORWARD].shape[0],
        conv_dim=tuple(named[name].shape[0] for name in _FEATURES),
        conv_kernel=KERNELS,
        conv_stride=STRIDES,
        num_conv_pos_embeddings=positions,
        num_conv_pos_embedding_groups=hidden_size // grouped,
        hidden_dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.0,
        feat_proj_dropout=0.1,
        layerdrop=0.05,
        apply_spec_augment=False,
        mask_time_prob=0.0,  # torchaudio has neither SpecAugment nor a learned vector for masked frames
        mask_feature_prob=0.0,
    )


def _check_names(named: Mapping[str, Tensor], expected: Mapping[str, object]) -> None:
    unknown = [name for name in named if name not in expected]
    missing = [name for name in expected if name not in named]
    if unknown or missing:
        found = [f"{what} names {listed(some)}" for what, some in (("unknown", unknown), ("missing", missing)) if some]
        raise ValueError(
            "the weights of the backbone must have the names of torchaudio's wav2vec 2.0 base or HuBERT base, got, "
            f"after conversion to Hugging Face's names, {'; '.join(found)}"
        )
