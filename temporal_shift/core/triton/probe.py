"""Check whether Triton works on a device. Triton needs a C compiler and a supported GPU."""

from __future__ import annotations

import warnings

import torch
import triton
import triton.language as tl

_known: dict[torch.device, bool] = {}


@triton.jit
def probe_kernel(ptr):
    """A minimal kernel, which works if Triton can compile and launch."""
    tl.store(ptr, 1)


def works_on(device: torch.device) -> bool:
    """Whether Triton can compile for a device and launch there. On failure, it warns with a ``RuntimeWarning``.

    Each device is checked once. During the capture of a CUDA graph, a device that was not checked counts as working.
    Raises a ``torch.OutOfMemoryError`` if the device has no memory left for the check.
    """
    if device not in _known:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return True  # a failure could be caused by the capture
        _known[device] = _launches_on(device)
    return _known[device]


def _launches_on(device: torch.device) -> bool:
    probe = torch.empty(1, dtype=torch.int32, device=device)
    try:
        with torch.cuda.device_of(probe):
            probe_kernel[(1,)](probe)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        warnings.warn(
            f"Triton cannot run on {device}, so the temporal shift uses PyTorch's own operations there: "
            f"{type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True
