"""What was set beforehand, and whether it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Goal:
    """A bound on a ratio, or on a figure whose unit stands in ``what``."""

    what: str
    measured: float
    bound: float
    least: bool = False  # whether the bound is the least it must be, rather than the most it may be
    kind = "goal"

    @property
    def held(self) -> bool:
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def line(self) -> dict:
        return {**asdict(self), "held": self.held}
