"""What the arguments of several layers mean."""

from __future__ import annotations

from torch import Tensor


def check_placement(placement: str, allowed: tuple[str, ...]) -> str:
    """Return ``placement``, or raise a ``ValueError`` that names the ones allowed."""
    if placement not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise ValueError(f"placement={placement!r} is not known here: it must be one of {names}")
    return placement


def time_dim_of(x: Tensor, batch_first: bool) -> int:
    """Where torch's sequence layers expect the frames: unbatched ``(L, D)``, ``(B, L, D)`` or ``(L, B, D)``."""
    return 1 if batch_first and x.dim() == 3 else 0
