"""Tests an installed temporal-shift with torch only: the version, the shift, a layer, its gradient and a stream."""

import importlib.metadata
import sys
from pathlib import Path

import temporal_shift

assert Path(temporal_shift.__file__).is_relative_to(sys.prefix), temporal_shift.__file__
assert importlib.metadata.version("temporal-shift") == temporal_shift.__version__

import torch  # noqa: E402

x = torch.arange(16.0).reshape(1, 2, 8)
assert temporal_shift.temporal_shift(x)[0, :, 0].tolist() == [0, 0]
y, _ = temporal_shift.ShiftLSTM(8, 4, batch_first=True)(x)
assert y.shape == (1, 2, 4)
y.sum().backward()
stream = temporal_shift.TemporalShift(n_div=4).stream()
assert torch.equal(torch.cat([stream(x[:, :1]), stream(x[:, 1:])], dim=1), temporal_shift.temporal_shift(x, n_div=4))
print(f"temporal-shift {temporal_shift.__version__} works with torch {torch.__version__}")
