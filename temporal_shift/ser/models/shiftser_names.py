"""Names in the checkpoints of ShiftSER's six models, and the corresponding names here."""

from __future__ import annotations


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

NAMES: dict[str, dict[str, str]] = {  # ShiftSER's names to ours; a ShiftCNN has the names of a CNN
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
POINTWISE = {f"conv_block.{i}.sequential.{j}.weight" for i in (0, 1) for j in (4, 6)}
UNUSED = {f"transformer.{i}.norm1.{p}" for i in (0, 1) for p in ("weight", "bias")}
