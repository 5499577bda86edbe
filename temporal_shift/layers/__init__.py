"""The shift as a layer before any module, and convolutional, recurrent and Transformer layers with a shift."""

from .conv import ShiftConv
from .recurrent import ShiftGRU, ShiftLSTM
from .shift import TemporalShift
from .transformer import RelativeTransformerLayer, ShiftTransformerLayer

__all__ = ["RelativeTransformerLayer", "ShiftConv", "ShiftGRU", "ShiftLSTM", "ShiftTransformerLayer", "TemporalShift"]
