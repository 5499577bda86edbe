"""Streams, which run layers on a sequence in chunks.

In eval mode, the concatenated outputs equal the output for the whole sequence, up to rounding.
"""

from .nets import ChainedStream, FramewiseStream, RecurrentStream, RunningMean, Stage, stream
from .shift import ShiftStream

__all__ = ["ChainedStream", "FramewiseStream", "RecurrentStream", "RunningMean", "ShiftStream", "Stage", "stream"]
