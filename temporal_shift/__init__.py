"""The temporal shift: channels that read their neighbours in time, as a function and as drop-in layers."""

from .functional import temporal_shift, temporal_shift_add
from .layers import ShiftConv, ShiftGRU, ShiftLSTM, ShiftTransformerLayer, TemporalShift

__all__ = [
    "ShiftConv",
    "ShiftGRU",
    "ShiftLSTM",
    "ShiftTransformerLayer",
    "TemporalShift",
    "temporal_shift",
    "temporal_shift_add",
]
__version__ = "0.1.0"
