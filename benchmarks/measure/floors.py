"""References for the time of a shift: copies of the same size, and the memory bandwidth of the machine."""

from __future__ import annotations

import torch
from torch import Tensor

from .devices import tensor_device
from .measurements import Measurement
from .timing import Functions, sampled

BEYOND_CACHES = 256 << 20  # bytes; larger than the last-level cache of most machines


def bandwidth(device: str, seconds: float) -> Measurement:
    """Bandwidth of a copy larger than the caches, in bytes read and written per second.

    It is counted as in STREAM (McCalpin, https://www.cs.virginia.edu/stream/): the figure ignores that a CPU may read
    memory before it overwrites it.
    """
    source = torch.ones(BEYOND_CACHES // 4, device=tensor_device(device))
    target = torch.empty_like(source)
    times = sampled({"copy_": lambda: target.copy_(source)}, device=device, seconds=seconds)["copy_"]
    rates = [2 * BEYOND_CACHES / time for time in times]
    return Measurement(
        "bandwidth of a copy beyond the caches",
        {"copy_": rates},
        shape=source.shape,
        unit="B/s",
        form="copy_",
    )


def copies(x: Tensor) -> Functions:
    """``clone``, which allocates its result, and ``copy_`` into existing memory."""
    target = torch.empty_like(x)
    return {"clone": x.clone, "copy_": lambda: target.copy_(x)}
