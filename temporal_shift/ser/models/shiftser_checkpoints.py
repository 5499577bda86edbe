"""Convert checkpoints of ShiftSER, the paper's reference implementation, to this package's names, and back."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ..audio.resampling import SAMPLE_RATE
from ..config import Shift
from ..utils.wording import listed
from .frame_classifier import FrameClassifier, FrameClassifierConfig
from .shiftser_names import NAMES, POINTWISE, UNUSED
from .speech_classifier import SpeechClassifier
from .speech_classifier_config import SpeechClassifierConfig
from .torchaudio_backbone import check_values, frames_of, from_torchaudio

ShiftArgument = dict[str, Any] | Literal["by name"] | None


def from_shiftser(
    state_dict: Mapping[str, Tensor],
    shift: ShiftArgument = "by name",
    *,
    position: str | None = None,
    **config: Any,
) -> FrameClassifier:
    """Build the model of a ShiftSER checkpoint, in eval mode, with a copy of its weights (same dtype and device).

    Names and shapes determine the kind of blocks, the channels, the number of classes and, if there is a table of
    relative positions, the heads and the frames.

    Args:
        state_dict: The result of ``torch.load(path, weights_only=True)`` or ``safetensors.torch.load_file(path)``; for
            a whole checkpoint, its ``checkpoint["model"]``. If it also contains the encoder, as ShiftSER saves it,
            names start with ``model.`` and ``pretrain.``; weights named ``pretrain.*`` are ignored with a warning. To
            keep them, use :func:`speech_classifier_from_shiftser`.
        shift: The fields of :class:`temporal_shift.ser.config.Shift`, or ``None`` for a plain model. Default:
            ``"by name"``, which means ``None`` for an LSTM or Transformer, and the paper's shift for a ShiftLSTM or
            Shiftformer. ``shift`` is required for a CNN or ShiftCNN, which have the same weight names, and for other
            shifts than the paper's, because checkpoints do not store the shift.
        position: ShiftSER's option ``MODEL.Trans.POSITION`` with which a Transformer was trained. It must be
            ``"relative_key_query"``, ShiftSER's default. A checkpoint trained with ``"relative_key"`` has the same
            names and shapes, so without this argument a Transformer is converted with a warning.
        config: Other arguments of :class:`~temporal_shift.ser.models.frame_classifier.FrameClassifierConfig`, such as
            ``id2label``.

    Raises:
        ValueError: If names or shapes do not match one of the six models, a weight is not dense, finite and floating
            point of at least 16 bits, ``shift`` or ``config`` is invalid or does not fit the weights, or ``position``
            is not ``"relative_key_query"``.
        TypeError: If ``state_dict`` is not a mapping of names to tensors.

    Example:
        >>> weights = to_shiftser(FrameClassifier(FrameClassifierConfig("lstm", hidden_size=32)).state_dict(), None)
        >>> model = from_shiftser(weights, id2label={0: "calm", 1: "tense"})
        >>> model.config.blocks, model.config.shift, model.config.hidden_size
        ('lstm', None, 32)

    Source: github.com/ECNU-Cross-Innovation-Lab/ShiftSER.
    """
    downstream, backbone = _parts(state_dict)
    _warn_of_left_out(backbone)
    return _classifier(downstream, shift, position, config)


def speech_classifier_from_shiftser(
    state_dict: Mapping[str, Tensor],
    shift: ShiftArgument = "by name",
    *,
    position: str | None = None,
    clip_seconds: float = 7.5,
    **config: Any,
) -> SpeechClassifier:
    """Build the whole model of a ShiftSER checkpoint, in eval mode, with a copy of its weights (same dtype and device).

    This is the ``state_dict`` of the whole model in ShiftSER's code: the names of torchaudio's wav2vec 2.0 base
    (fine-tuning) or HuBERT base (feature extraction) start with ``pretrain.``, and the names of the classifier start
    with ``model.``.

    Args:
        state_dict: As for :func:`from_shiftser`.
        shift: As for :func:`from_shiftser`.
        position: As for :func:`from_shiftser`.
        clip_seconds: Length that waveforms are cut or zero-padded to, in seconds. Default: 7.5, as in ShiftSER.
        config: As for :func:`from_shiftser`. ShiftSER's classes on IEMOCAP are, in this order, happy, angry, sad and
            neutral.

    Raises:
        ValueError: As :func:`from_shiftser`; also if there is no encoder, ``clip_seconds`` is not a positive, finite
            number, or encoder, classifier and ``clip_seconds`` do not fit each other.
        TypeError: As :func:`from_shiftser`.
    """
    downstream, backbone = _parts(state_dict)
    if not backbone:
        raise ValueError(
            "state_dict must contain the weights of a backbone (names that start with pretrain.), got none"
        )
    if not isinstance(clip_seconds, (int, float)) or not 0 < clip_seconds < math.inf:
        raise ValueError(f"clip_seconds must be a positive, finite number, got {clip_seconds!r}")
    encoder = from_torchaudio(backbone)
    frames = frames_of(round(clip_seconds * SAMPLE_RATE))
    if not any(name.endswith("distance_embedding.weight") for name in downstream):
        config.setdefault("num_frames", frames)
    classifier = _classifier(downstream, shift, position, config)
    settings = classifier.config
    if settings.hidden_size != encoder.config.hidden_size:
        raise ValueError(
            f"the backbone must return the {settings.hidden_size} channels that the classifier reads, "
            f"got {encoder.config.hidden_size}"
        )
    if not 1 <= frames <= settings.num_frames:
        raise ValueError(
            f"clip_seconds must give 1 to {settings.num_frames} frames, the classifier's maximum, got {clip_seconds}, "
            f"which gives {frames}"
        )
    fields = settings.to_diff_dict()
    names = {key: fields.pop(key) for key in ("id2label", "label2id") if key in fields}
    with torch.device("meta"):  # the weights are loaded already
        model = SpeechClassifier(
            SpeechClassifierConfig(encoder.config.to_dict(), fields, clip_seconds=clip_seconds, **names)
        )
    model.backbone.model, model.classifier = encoder, classifier
    model.eval()
    return model


def convert_shiftser(state_dict: Mapping[str, Tensor], *, position: str | None = None) -> dict[str, Tensor]:
    """Return a ShiftSER ``state_dict`` with the names of :class:`FrameClassifier`. Copies no tensor.

    It drops the prefixes ``module.`` and ``model.``, the encoder (``pretrain.``, with a warning), the last dim of the
    weights of 1x1 convolutions (here they are linear layers), and, if stored, the ``norm1`` of a Shiftformer, which
    has no effect.

    Args:
        state_dict: As for :func:`from_shiftser`.
        position: As for :func:`from_shiftser`.

    Raises:
        ValueError: If the names do not match one of the six models, a weight is not dense, finite and floating point of
            at least 16 bits, or ``position`` is not ``"relative_key_query"``.
        TypeError: If ``state_dict`` is not a mapping of names to tensors.

    Example:
        >>> weights = FrameClassifier(FrameClassifierConfig("lstm", hidden_size=32)).state_dict()
        >>> convert_shiftser(to_shiftser(weights, shift=None)).keys() == weights.keys()
        True
    """
    downstream, backbone = _parts(state_dict)
    _warn_of_left_out(backbone)
    return _recognised(downstream, position)[1]


def to_shiftser(state_dict: Mapping[str, Tensor], shift: ShiftArgument = "by name") -> dict[str, Tensor]:
    """Return the ``state_dict`` of a :class:`FrameClassifier` with ShiftSER's names. Copies no tensor.

    The weights of 1x1 convolutions get the shape of ``nn.Conv1d``, ``(out, in, 1)``.

    Args:
        state_dict: The ``state_dict`` of a :class:`FrameClassifier`.
        shift: The model's ``config.shift``. It is used, and required, for an LSTM or ShiftLSTM, which have different
            names in ShiftSER.

    Raises:
        ValueError: If the names do not match one of ShiftSER's six models, or ``shift`` is required. The linear model
            and weighted layers have no ShiftSER names.
        TypeError: If ``state_dict`` is not a mapping of names to tensors.

    Example:
        >>> weights = FrameClassifier(FrameClassifierConfig("lstm", hidden_size=32)).state_dict()
        >>> sorted(to_shiftser(weights, shift=None))[:3]
        ['head.bias', 'head.weight', 'norm.bias']
    """
    _check_tensors(state_dict)
    ours_to_theirs = {kind: {ours: theirs for theirs, ours in names.items()} for kind, names in NAMES.items()}
    kind = _nearest(state_dict, ours_to_theirs)
    _check_names(state_dict, kind, ours_to_theirs[kind])
    if kind == "LSTM":  # a ShiftLSTM has the same names
        if shift == "by name":
            raise ValueError(
                "shift must be None for an LSTM or a dict for a ShiftLSTM, got 'by name': both have the same names"
            )
        kind = "LSTM" if shift is None else "ShiftLSTM"
    converted = {ours_to_theirs[kind][name]: tensor for name, tensor in state_dict.items()}
    return {name: tensor.unsqueeze(-1) if name in POINTWISE else tensor for name, tensor in converted.items()}


def _parts(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the classifier and of the encoder, without the prefixes of their names."""
    _check_tensors(state_dict)
    named = dict(state_dict)
    if all(name.startswith("module.") for name in named):  # DataParallel
        named = {name.removeprefix("module."): tensor for name, tensor in named.items()}
    unknown = [name for name in named if not name.startswith(("model.", "pretrain."))]
    if len(unknown) == len(named):
        return named, {}
    if unknown:
        raise ValueError(
            "all names of state_dict must start with model. or pretrain., if one name starts with either, got "
            f"{listed(unknown)}"
        )
    downstream, backbone = (
        {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
        for prefix in ("model.", "pretrain.")
    )
    if backbone and not downstream:
        raise ValueError(
            "state_dict must contain the weights of a classifier (names that start with model.), got a backbone only"
        )
    return downstream, backbone


def _warn_of_left_out(backbone: Mapping[str, Tensor]) -> None:
    if backbone:
        warnings.warn(
            f"state_dict contains a backbone, {len(backbone)} tensors named pretrain.*, which is ignored. If it was "
            "fine-tuned, call speech_classifier_from_shiftser, which also converts it",
            stacklevel=3,
        )


def _classifier(
    downstream: Mapping[str, Tensor], shift: ShiftArgument, position: str | None, config: Mapping[str, Any]
) -> FrameClassifier:
    kind, named = _recognised(downstream, position)
    if shift == "by name":
        shift = _shift_of(kind)
    blocks = {"CNN": "conv", "LSTM": "lstm", "ShiftLSTM": "lstm"}.get(kind, "transformer")
    settings = FrameClassifierConfig(blocks, shift, **{**_sizes(named, config), **config})
    if settings.num_layers:
        raise ValueError(f"num_layers must be 0 for a ShiftSER checkpoint, got {settings.num_layers}")
    with torch.device("meta"):  # the weights are loaded already
        model = FrameClassifier(settings)
    if named.keys() != model.state_dict().keys():
        raise ValueError(
            f"shift must fit the weights of a {kind} (placement='replace' for a Shiftformer; None or another placement "
            f"for a Transformer), got {shift!r}"
        )
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    unfit = [
        f"{theirs} must be {tuple(shapes[ours])}, got {tuple(named[ours].shape)}"
        for theirs, ours in NAMES[kind].items()
        if named[ours].shape != shapes[ours]
    ]
    if unfit:
        raise ValueError(f"state_dict must have shapes that match each other and the arguments: {listed(unfit)}")
    model.load_state_dict({name: tensor.detach().clone() for name, tensor in named.items()}, assign=True)
    model.eval()
    return model


def _recognised(named: Mapping[str, Tensor], position: str | None) -> tuple[str, dict[str, Tensor]]:
    if position not in (None, "relative_key_query"):
        raise ValueError(f"position must be 'relative_key_query', got {position!r}: other options cannot be converted")
    kind = _nearest(named, NAMES)
    if kind == "Shiftformer":
        named = {name: tensor for name, tensor in named.items() if name not in UNUSED}
    _check_names(named, kind, NAMES[kind])
    check_values(named)
    if kind == "Transformer" and position is None:
        warnings.warn(
            "position is assumed to be 'relative_key_query', ShiftSER's default. A checkpoint trained with "
            "MODEL.Trans.POSITION: relative_key has the same names and shapes, and would be converted wrongly. Pass "
            "position='relative_key_query' if the checkpoint was trained with this option",
            stacklevel=4,
        )
    pointwise = {name for name in named.keys() & POINTWISE if named[name].shape[2:] == (1,)}
    return kind, {
        NAMES[kind][name]: tensor.squeeze(-1) if name in pointwise else tensor for name, tensor in named.items()
    }


def _shift_of(kind: str) -> dict[str, Any] | None:
    if kind == "CNN":
        raise ValueError(
            "shift must be None for a CNN or a dict for a ShiftCNN, got 'by name': both have the same names. The "
            "paper's ShiftCNN has {'placement': 'residual', 'n_div': 16}"
        )
    if kind == "ShiftLSTM":
        return Shift(placement="inplace", n_div=4).model_dump()
    if kind == "Shiftformer":
        return Shift(placement="replace", n_div=4, bidirectional=True).model_dump()
    return None


def _sizes(named: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, int]:
    dim = (1, *named["spec_augment.masked_frame"].shape)[-1]  # shapes are checked later
    sizes = {"hidden_size": dim}
    if "id2label" not in config:
        sizes["num_labels"] = named["head.bias"].numel()
    table = named.get("encoder.0.self_attn.distance_embedding.weight")
    if table is not None:
        rows, width = (max(1, size) for size in (*table.shape, 1, 1)[:2])
        sizes.update(num_frames=(rows + 1) // 2, num_attention_heads=dim // width)
    return sizes


def _check_tensors(state_dict: object) -> None:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must map names to tensors, got {type(state_dict).__name__}")
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            nested = [key for key in ("model", "state_dict") if isinstance(state_dict.get(key), Mapping)]
            advice = f": pass checkpoint[{nested[0]!r}] of a whole checkpoint" if nested else ""
            raise TypeError(f"state_dict must map names to tensors, got {name!r}: {type(value).__name__}{advice}")


def _nearest(given: Mapping[str, Tensor], kinds: Mapping[str, Mapping[str, str]]) -> str:
    return min(kinds, key=lambda kind: len(kinds[kind].keys() ^ given.keys()))


def _check_names(given: Mapping[str, Tensor], kind: str, names: Mapping[str, str]) -> None:
    unknown = [name for name in given if name not in names]
    missing = [name for name in names if name not in given]
    if unknown or missing:
        found = [f"{what} names {listed(some)}" for what, some in (("unknown", unknown), ("missing", missing)) if some]
        raise ValueError(
            f"state_dict must have the names of the most similar model, the {kind}, got {'; '.join(found)}"
        )
