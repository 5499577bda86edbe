"""The temporal shift for PyTorch: functions, layers, streams, and functions that add shifts to a model."""

from typing import TYPE_CHECKING

from ._lazy import lazy_exports

if TYPE_CHECKING:
    from . import functional as functional
    from . import layers as layers
    from . import streaming as streaming
    from . import surgery as surgery
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

if not TYPE_CHECKING:  # type checkers read the imports above
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "functional": ["temporal_shift", "temporal_shift_add"],
            "layers": ["ShiftConv", "ShiftGRU", "ShiftLSTM", "ShiftTransformerLayer", "TemporalShift"],
            "streaming": [],
            "surgery": ["add_temporal_shift", "find_temporal_shifts", "remove_temporal_shift"],
        },
    )
