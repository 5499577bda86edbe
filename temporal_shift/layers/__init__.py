"""The layers: the shift before any module, and the blocks of the paper's three models."""

from .conv import ShiftConv
from .recurrent import ShiftGRU, ShiftLSTM
from .shift import TemporalShift
from .transformer import RelativeTransformerLayer, ShiftTransformerLayer

__all__ = ["RelativeTransformerLayer", "ShiftConv", "ShiftGRU", "ShiftLSTM", "ShiftTransformerLayer", "TemporalShift"]
