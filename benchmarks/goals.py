"""What was set beforehand, and whether it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from rich.table import Table


@dataclass(frozen=True)
class Goal:
    """A bound on a ratio, or on a difference in microseconds."""

    what: str
    measured: float
    bound: float
    least: bool = False  # whether the bound is the least it must be, rather than the most it may be

    @property
    def held(self) -> bool:
        return self.measured >= self.bound if self.least else self.measured <= self.bound

    def record(self) -> dict:
        return {**asdict(self), "held": self.held}


def table_of(goals: list[Goal]) -> Table:
    table = Table("goal", "measured", "bound", "", title="Goals")
    for goal in goals:
        bound = f"{'at least' if goal.least else 'at most'} {goal.bound:g}"
        table.add_row(goal.what, f"{goal.measured:.2f}", bound, "held" if goal.held else "[bold red]MISSED[/]")
    return table
