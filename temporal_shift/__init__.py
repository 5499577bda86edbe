"""The temporal shift: channels that read their neighbours in time, as a function and as drop-in layers."""

from .functional import temporal_shift, temporal_shift_add
from .layers import ShiftConv, ShiftGRU, ShiftLSTM, ShiftTransformerLayer, TemporalShift
from .surgery import add_temporal_shift, find_temporal_shifts, remove_temporal_shift

__all__ = [
    "ShiftConv",
    "ShiftGRU",
    "ShiftLSTM",
    "ShiftTransformerLayer",
    "TemporalShift",
    "add_temporal_shift",
    "find_temporal_shifts",
    "remove_temporal_shift",
    "temporal_shift",
    "temporal_shift_add",
]
__version__ = "0.1.0"
