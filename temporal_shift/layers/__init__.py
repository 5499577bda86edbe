"""The layers, each standing where one of torch's stands."""

from .conv import ShiftConv
from .lstm import ShiftLSTM
from .shift import TemporalShift
from .transformer import ShiftTransformerLayer

__all__ = ["ShiftConv", "ShiftLSTM", "ShiftTransformerLayer", "TemporalShift"]
