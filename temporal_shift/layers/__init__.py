"""The layers, each standing where one of torch's stands."""

from contextlib import suppress

from .conv import ShiftConv
from .recurrent import ShiftGRU, ShiftLSTM
from .shift import TemporalShift
from .transformer import RelativeTransformerLayer, ShiftTransformerLayer

with suppress(ImportError):  # torch has deprecated what this stands on
    from . import quantized  # noqa: F401

__all__ = ["RelativeTransformerLayer", "ShiftConv", "ShiftGRU", "ShiftLSTM", "ShiftTransformerLayer", "TemporalShift"]
