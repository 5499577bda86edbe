"""What no form can go below: a copy of the same bytes, and the bandwidth of this machine's memory."""

from __future__ import annotations

import torch
from torch import Tensor

from .devices import tensor_device
from .measurements import Measurement
from .timing import Functions, sampled

BEYOND_CACHES = 256 << 20  # bytes; a server's last cache has tens of MiB


def bandwidth(device: str, seconds: float) -> Measurement:
    """Bytes a second of a copy that no cache holds, each byte read and written once, as STREAM counts them.

    STREAM is McCalpin's, https://www.cs.virginia.edu/stream/. Like its own, the figure leaves out that a CPU may read
    what it is about to overwrite.
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
    """``clone``, which has to find memory for its result, and ``copy_`` into memory that is there."""
    target = torch.empty_like(x)
    return {"clone": x.clone, "copy_": lambda: target.copy_(x)}
