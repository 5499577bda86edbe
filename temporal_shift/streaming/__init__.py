"""Sequences that come in chunks: the outputs, one after another, are those of the whole sequence."""

from .nets import ChainedStream, FramewiseStream, RecurrentStream, RunningMean, Stage, stream
from .shift import ShiftStream

__all__ = ["ChainedStream", "FramewiseStream", "RecurrentStream", "RunningMean", "ShiftStream", "Stage", "stream"]
