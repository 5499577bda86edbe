"""Convert checkpoints of ShiftSER, the paper's reference implementation, to this package's names, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from ..config import Shift
from .frame_classifier import FrameClassifier, FrameClassifierConfig

ShiftArgument = dict[str, Any] | Literal["by name"] | None


def from_shiftser(state_dict: Mapping[str, Tensor], shift: ShiftArgument = "by name", **config: Any) -> FrameClassifier:
    """Build the model of a ShiftSER checkpoint, in eval mode, with a copy of its weights (same dtype and device).

    Names and shapes determine the kind of blocks, the channels, the number of classes and, if there is a table of
    relative positions, the heads and the frames.

    Args:
        state_dict: The result of ``torch.load(path, weights_only=True)`` or ``safetensors.torch.load_file(path)``; for
            a whole checkpoint, its ``checkpoint["model"]``.
        shift: The fields of :class:`temporal_shift.ser.config.Shift`, or ``None`` for a plain model. Default: ``None``
            for an LSTM or Transformer, the paper's for a ShiftLSTM or Shiftformer. It is required for a CNN or
            ShiftCNN, which have the same names, and for other shifts than the paper's: checkpoints do not store it.
        config: Other arguments of :class:`~temporal_shift.ser.models.frame_classifier.FrameClassifierConfig`, such as
            ``id2label``.

    Raises:
        ValueError: If names or shapes do not match one of the six models, or ``shift`` does not fit them.
        TypeError: If ``state_dict`` is not a mapping of names to tensors.

    Example:
        >>> weights = to_shiftser(FrameClassifier(FrameClassifierConfig("lstm", hidden_size=32)).state_dict(), None)
        >>> model = from_shiftser(weights, id2label={0: "calm", 1: "tense"})
        >>> model.config.blocks, model.config.shift, model.config.hidden_size
        ('lstm', None, 32)

    Source: github.com/ECNU-Cross-Innovation-Lab/ShiftSER.
    """
    kind, named = _recognised(state_dict)
    if shift == "by name":
        shift = _shift_of(kind)
    blocks = {"CNN": "conv", "LSTM": "lstm", "ShiftLSTM": "lstm"}.get(kind, "transformer")
    model = FrameClassifier(FrameClassifierConfig(blocks, shift, **{**_sizes(named, config), **config}))
    if named.keys() != model.state_dict().keys():
        raise ValueError(
            f"shift must fit the names of a {kind} (placement='replace' if and only if they contain no token_mixer), "
            f"got {shift!r}"
        )
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    unfit = [
        f"{theirs} must be {tuple(shapes[ours])}, got {tuple(named[ours].shape)}"
        for theirs, ours in _NAMES[kind].items()
        if named[ours].shape != shapes[ours]
    ]
    if unfit:
        raise ValueError(f"the shapes must fit each other and the arguments: {'; '.join(unfit)}")
    model.load_state_dict({name: tensor.detach().clone() for name, tensor in named.items()}, assign=True)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def convert_shiftser(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a ShiftSER ``state_dict`` with the names of :class:`FrameClassifier`. Copies no tensor.

    Drops a ``module.`` in front of every name, the last dim of the weights of 1x1 convolutions (here they are linear
    layers), and the ``norm1`` of a Shiftformer, which its block does not use.

    Args:
        state_dict: As for :func:`from_shiftser`.

    Raises:
        ValueError: If the names do not match one of the six models.
        TypeError: If ``state_dict`` is not a mapping of names to tensors.
    """
    return _recognised(state_dict)[1]


def to_shiftser(state_dict: Mapping[str, Tensor], shift: ShiftArgument = "by name") -> dict[str, Tensor]:
    """Return the ``state_dict`` of a :class:`FrameClassifier` with ShiftSER's names. Copies no tensor.

    The weights of 1x1 convolutions get the shape of ``nn.Conv1d``, ``(out, in, 1)``.

    Args:
        state_dict: The ``state_dict`` of a :class:`FrameClassifier`.
        shift: Its ``config.shift``. Required only for an LSTM or ShiftLSTM: ShiftSER names them differently.

    Raises:
        ValueError: If the names do not match a :class:`FrameClassifier`, or ``shift`` is required.
        TypeError: If ``state_dict`` is not a mapping of names to tensors.
    """
    _check_tensors(state_dict)
    ours_to_theirs = {kind: {ours: theirs for theirs, ours in names.items()} for kind, names in _NAMES.items()}
    kind = _nearest(state_dict, ours_to_theirs)
    _check_names(state_dict, kind, ours_to_theirs[kind])
    if kind == "LSTM":  # or ShiftLSTM, whose names are the same
        if shift == "by name":
            raise ValueError("shift must be None for an LSTM or a dict for a ShiftLSTM, which have the same names")
        kind = "LSTM" if shift is None else "ShiftLSTM"
    converted = {ours_to_theirs[kind][name]: tensor for name, tensor in state_dict.items()}
    return {name: tensor.unsqueeze(-1) if name in _POINTWISE else tensor for name, tensor in converted.items()}


def _recognised(state_dict: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    _check_tensors(state_dict)
    wrapped = all(name.startswith("module.") for name in state_dict)  # in DistributedDataParallel
    named = {name.removeprefix("module.") if wrapped else name: tensor for name, tensor in state_dict.items()}
    kind = _nearest(named, _NAMES)
    if kind == "Shiftformer":
        named = {name: tensor for name, tensor in named.items() if name not in _UNUSED}
    _check_names(named, kind, _NAMES[kind])
    pointwise = {name for name in named.keys() & _POINTWISE if named[name].shape[2:] == (1,)}
    return kind, {
        _NAMES[kind][name]: tensor.squeeze(-1) if name in pointwise else tensor for name, tensor in named.items()
    }


def _shift_of(kind: str) -> dict[str, Any] | None:
    if kind == "CNN":
        raise ValueError(
            "shift must be None for a CNN or a dict for a ShiftCNN, which have the same names (the paper's is "
            "{'placement': 'residual', 'n_div': 16})"
        )
    if kind == "ShiftLSTM":
        return Shift(placement="inplace", n_div=4).model_dump()
    if kind == "Shiftformer":
        return Shift(placement="replace", n_div=4, bidirectional=True).model_dump()
    return None


def _sizes(named: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, int]:
    dim = named["spec_augment.masked_frame"].numel()
    sizes = {"hidden_size": dim}
    if "id2label" not in config:
        sizes["num_labels"] = named["head.bias"].numel()
    table = named.get("encoder.0.self_attn.distance_embedding.weight")
    if table is not None:
        rows, width = (max(1, size) for size in (*table.shape, 1, 1)[:2])  # any shape: checked later
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
        found = [f"{what} {', '.join(some)}" for what, some in (("unknown", unknown), ("missing", missing)) if some]
        raise ValueError(f"the names must match one model; the closest is the {kind}: {'; '.join(found)}")


def _full_names(*patterns: tuple[str, str]) -> dict[str, str]:
    """Map ShiftSER's names to ours. In a pattern ``{i}`` is the block and ``{p}`` is weight or bias."""
    shared = (("specaugment.masked_spec_embed", "spec_augment.masked_frame"), ("head.{p}", "head.{p}"))
    return {
        theirs.format(i=i, p=p): ours.format(i=i, p=p)
        for theirs, ours in (*shared, *patterns)
        for i in (0, 1)
        for p in ("weight", "bias")
    }


def _lstm(prefix: str) -> dict[str, str]:
    leaves = [f"{{p}}_{of}_l0{way}" for of in ("ih", "hh") for way in ("", "_reverse")]
    weights = ((f"{prefix}.{leaf}", f"encoder.0.lstm.{leaf}") for leaf in leaves)
    return _full_names(*weights, ("norm.{p}", "encoder.1.{p}"))


_FEED_FORWARD = (
    ("transformer.{i}.mlp.fc1.{p}", "encoder.{i}.linear1.{p}"),
    ("transformer.{i}.mlp.fc2.{p}", "encoder.{i}.linear2.{p}"),
    ("transformer.{i}.norm2.{p}", "encoder.{i}.norm2.{p}"),
)

_NAMES: dict[str, dict[str, str]] = {  # theirs to ours; a CNN is also a ShiftCNN
    "CNN": _full_names(
        ("conv_block.{i}.sequential.0.{p}", "encoder.{i}.depthwise.{p}"),
        ("conv_block.{i}.sequential.2.{p}", "encoder.{i}.norm.{p}"),
        ("conv_block.{i}.sequential.4.{p}", "encoder.{i}.expand.{p}"),
        ("conv_block.{i}.sequential.6.{p}", "encoder.{i}.contract.{p}"),
        ("norm.{p}", "encoder.2.{p}"),
    ),
    "LSTM": _lstm("rnn"),
    "ShiftLSTM": _lstm("rnn.net"),
    "Shiftformer": _full_names(*_FEED_FORWARD),
    "Transformer": _full_names(
        ("transformer.{i}.token_mixer.qkv.{p}", "encoder.{i}.self_attn.qkv.{p}"),
        (
            "transformer.{i}.token_mixer.distance_embedding.weight",
            "encoder.{i}.self_attn.distance_embedding.weight",
        ),
        ("transformer.{i}.norm1.{p}", "encoder.{i}.norm1.{p}"),
        *_FEED_FORWARD,
    ),
}
_POINTWISE = {f"conv_block.{i}.sequential.{j}.weight" for i in (0, 1) for j in (4, 6)}
_UNUSED = {f"transformer.{i}.norm1.{p}" for i in (0, 1) for p in ("weight", "bias")}
