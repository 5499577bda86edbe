"""Layers on a sequence that arrives in chunks. The outputs, concatenated, are those for the whole sequence."""

from .nets import ChainedStream, FramewiseStream, RecurrentStream, RunningMean, Stage, stream
from .shift import ShiftStream

__all__ = ["ChainedStream", "FramewiseStream", "RecurrentStream", "RunningMean", "ShiftStream", "Stage", "stream"]
