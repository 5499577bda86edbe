"""The layers, each standing where one of torch's stands."""

from .conv import ShiftConv
from .recurrent import ShiftGRU, ShiftLSTM
from .shift import TemporalShift
from .transformer import RelativeTransformerLayer, ShiftTransformerLayer

__all__ = ["RelativeTransformerLayer", "ShiftConv", "ShiftGRU", "ShiftLSTM", "ShiftTransformerLayer", "TemporalShift"]
