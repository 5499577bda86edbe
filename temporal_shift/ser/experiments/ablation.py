"""The paper's two strategies as a grid: where the shift sits, how much it moves, which way and how far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, get_args

from ..config import PLACEMENTS, Experiment, Model, Shift
from ..reports import plots
from ..reports.results import Results
from ..reports.writer import Picture, Section
from ..utils.errors import RecipeError
from ..utils.plot_style import to_png
from ..utils.table import Table, percent, signed

Direction = Literal["past", "future", "both"]


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes of an ablation; every combination that a kind of blocks can have is a model."""

    blocks: tuple[str, ...] = ("conv", "lstm", "transformer")
    placements: tuple[str, ...] = ("residual", "inplace", "replace")
    n_divs: tuple[int, ...] = (2, 4, 8, 16)
    directions: tuple[str, ...] = ("past", "both")
    strides: tuple[int, ...] = (1, 2)

    def experiment(self, base: Experiment) -> Experiment:
        """``base`` with the models of the grid instead of its own, and beside them each kind of blocks without a shift.

        Raises:
            RecipeError: If an axis holds a value that does not exist, or the grid is empty.
        """
        self._check()
        models = [Model(name=blocks, blocks=blocks) for blocks in self.blocks]  # type: ignore[arg-type]
        for blocks, placement, n_div, direction, stride in product(
            self.blocks, self.placements, self.n_divs, self.directions, self.strides
        ):
            if placement in PLACEMENTS[blocks] and not (direction == "both" and n_div < 2):
                models.append(_model(blocks, placement, n_div, direction, stride))
        if len(models) == len(self.blocks):
            raise RecipeError(f"no blocks of {', '.join(self.blocks)} take the placement {', '.join(self.placements)}")
        return base.model_copy(update={"models": models})

    def _check(self) -> None:
        known: dict[str, tuple[str, ...]] = {
            "blocks": tuple(PLACEMENTS),
            "placements": tuple(dict.fromkeys(name for names in PLACEMENTS.values() for name in names)),
            "directions": get_args(Direction),
        }
        for axis, values in known.items():
            for value in getattr(self, axis):
                if value not in values:
                    raise RecipeError(f"there is no {axis.removesuffix('s')} {value!r}: it can be {', '.join(values)}")
        for axis in ("n_divs", "strides"):
            for value in getattr(self, axis):
                if value < 1:
                    raise RecipeError(f"{axis.removesuffix('s')} is {value} in the grid: it must be 1 or more")


def ablation_section(results: Results, metrics: dict[str, Any]) -> list[Section]:
    """The heatmap and the table of a grid."""
    ua = {model["name"]: model["ua"]["mean"] for model in metrics["models"]}
    shifted = [model for model in results.experiment.models if model.shift is not None]
    panels = list(dict.fromkeys(_panel(model) for model in shifted))
    maps = []
    for panel in panels:
        of_panel = [model for model in shifted if _panel(model) == panel]
        cells = {_cell(model.shift): ua[model.name] for model in of_panel if model.shift}
        rows = tuple(dict.fromkeys(row for row, _ in cells))
        columns = tuple(dict.fromkeys(column for _, column in cells))
        maps.append(plots.Heatmap(panel, rows, columns, cells))
    picture = Picture("ablation", "UA by placement and proportion", to_png(plots.heatmaps(maps)))
    text = (
        "UA in percent by placement (down) and proportion of the channels that move each way (across), a map for each "
        "kind of blocks, direction and stride. Read it with the intervals of the table above: the best of many cells "
        "is better than the others by luck, too. Each difference is to the same blocks without a shift."
    )
    return [Section("Ablation", text, _table(shifted, ua), picture=picture)]


def _table(shifted: Sequence[Model], ua: dict[str, float]) -> Table:
    rows = []
    for model in sorted(shifted, key=lambda model: -ua[model.name]):
        shift = model.shift
        assert shift is not None
        difference = signed(ua[model.name] - ua[model.blocks])
        rows.append(
            (
                model.blocks,
                shift.placement,
                _proportion(shift),
                _direction(shift),
                str(abs(shift.stride)),
                percent(ua[model.name]),
                difference,
            )
        )
    return Table(("Blocks", "placement", "proportion", "direction", "stride", "UA, %", "to no shift"), rows)


def _model(blocks: str, placement: str, n_div: int, direction: str, stride: int) -> Model:
    shift = Shift(
        placement=placement,  # type: ignore[arg-type]
        n_div=n_div,
        stride=-stride if direction == "future" else stride,
        bidirectional=direction == "both",
    )
    name = f"{blocks} {placement} n_div={n_div} {direction} stride={stride}"
    return Model(name=name, blocks=blocks, shift=shift, baseline=blocks)  # type: ignore[arg-type]


def _panel(model: Model) -> str:
    assert model.shift is not None
    return f"{model.blocks}, {_direction(model.shift)}, stride {abs(model.shift.stride)}"


def _cell(shift: Shift) -> tuple[str, str]:
    return shift.placement, _proportion(shift)


def _proportion(shift: Shift) -> str:
    return f"1/{shift.n_div}"


def _direction(shift: Shift) -> Direction:
    if shift.bidirectional:
        return "both"
    return "future" if shift.stride < 0 else "past"
