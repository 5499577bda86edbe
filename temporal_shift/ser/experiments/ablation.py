"""The ablation: a grid over the kind of blocks, and the placement, proportion, direction and stride of the shift."""

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
from ..utils.table import Table, p_value, percent, signed, signed_interval

Direction = Literal["past", "future", "both"]


@dataclass(frozen=True, slots=True)
class Grid:
    """The axes of an ablation. Each combination that :meth:`experiment` supports is a model."""

    blocks: tuple[str, ...] = ("conv", "lstm", "transformer")
    placements: tuple[str, ...] = ("residual", "inplace", "replace")
    n_divs: tuple[int, ...] = (2, 4, 8, 16)
    directions: tuple[str, ...] = ("past", "both")
    strides: tuple[int, ...] = (1,)

    def experiment(self, base: Experiment) -> Experiment:
        """Return a copy of ``base`` with the models of the grid, and one model without a shift per kind of blocks.

        The models leave out placements that a kind of blocks does not support, and both directions with ``n_div`` 1.

        Raises:
            RecipeError: If an axis is empty or contains an invalid or a repeated value, or no combination is left.
        """
        self._check()
        models = [Model(name=blocks, blocks=blocks) for blocks in self.blocks]  # type: ignore[arg-type]
        for blocks, placement, n_div, direction, stride in product(
            self.blocks, self.placements, self.n_divs, self.directions, self.strides
        ):
            if placement in PLACEMENTS[blocks] and not (direction == "both" and n_div < 2):
                models.append(_model(blocks, placement, n_div, direction, stride))
        if len(models) == len(self.blocks):
            if any({*self.placements} & {*PLACEMENTS[blocks]} for blocks in self.blocks):
                raise RecipeError("n_div must be at least 2 for the direction both, got 1")
            allowed = (f"{' or '.join(PLACEMENTS[blocks])} for {blocks}" for blocks in self.blocks)
            raise RecipeError(f"placement must be {', '.join(allowed)}, got {', '.join(self.placements)}")
        return base.model_copy(update={"models": models})

    def _check(self) -> None:
        allowed: dict[str, tuple[str, ...]] = {
            "blocks": tuple(name for name, placements in PLACEMENTS.items() if placements),
            "placements": tuple(dict.fromkeys(name for names in PLACEMENTS.values() for name in names)),
            "directions": get_args(Direction),
        }
        for axis in ("blocks", "placements", "directions", "n_divs", "strides"):
            values, name = getattr(self, axis), axis if axis == "blocks" else axis.removesuffix("s")
            if not values or len({*values}) < len(values):
                given = ",".join(map(str, values)) or "none"
                raise RecipeError(f"{name} must be one or more different values, got {given}")
            for value in values:
                if axis in allowed and value not in allowed[axis]:
                    raise RecipeError(f"{name} must be one of {', '.join(allowed[axis])}, got {value!r}")
                if axis not in allowed and value < 1:
                    raise RecipeError(f"{name} must be at least 1, got {value}")


_HOW_TO_READ = (
    "There is one map per kind of blocks, direction and stride. Rows are placements of the shift. Columns are the "
    "proportions of the channels that move in each direction. A cell shows UA in percent and, below it, the difference "
    "to the same blocks without a shift, ± the half-width of its 95 % interval. A frame marks an interval that "
    "excludes 0. A star marks a p below 0.05 after Holm's correction for all cells. Among many cells, some intervals "
    "exclude 0 by chance, and the best cell is partly luck: rely on the stars."
)


def ablation_section(results: Results, metrics: dict[str, Any]) -> list[Section]:
    """The section of a report with the heatmaps and the table of an ablation, as a list.

    Args:
        results: The results of an experiment from :meth:`Grid.experiment`.
        metrics: The content of its ``metrics.json``.
    """
    models = results.experiment.models
    heatmaps = plots.heatmaps(ablation_maps(models, metrics))
    picture = Picture("ablation", "UA by placement and proportion", to_png(heatmaps))
    return [Section("Ablation", _HOW_TO_READ, ablation_table(models, metrics), picture=picture)]


def ablation_maps(models: Sequence[Model], metrics: dict[str, Any]) -> list[plots.Heatmap]:
    """A map per kind of blocks, direction and stride, from the models of a grid and their ``metrics.json``."""
    maps: dict[str, dict[tuple[str, str], plots.Cell]] = {}
    for model, shift, ua, pair in _shifted(models, metrics):
        title = f"{model.blocks}, {_direction(shift)}, stride {abs(shift.stride)}"
        low, high = pair["interval"]
        cell = plots.Cell(ua, pair["ua_difference"], (low, high), pair["holm_p"])
        maps.setdefault(title, {})[shift.placement, f"1/{shift.n_div}"] = cell
    return [plots.Heatmap(title, cells) for title, cells in maps.items()]


def ablation_table(models: Sequence[Model], metrics: dict[str, Any]) -> Table:
    """A table with one row per model with a shift, best UA first."""
    rows = [
        (
            *(model.blocks, shift.placement, f"1/{shift.n_div}", _direction(shift), str(abs(shift.stride))),
            *(percent(ua), signed(pair["ua_difference"]), signed_interval(pair["interval"]), p_value(pair["holm_p"])),
        )
        for model, shift, ua, pair in sorted(_shifted(models, metrics), key=lambda each: -each[2])
    ]
    header = ("Blocks", "placement", "proportion", "direction", "stride", "UA, %", "minus no shift", "95 %", "p, Holm")
    return Table(header, rows)


def _shifted(models: Sequence[Model], metrics: dict[str, Any]) -> list[tuple[Model, Shift, float, dict[str, Any]]]:
    """Each model with a shift, its UA, and its comparison with the same blocks without a shift."""
    ua = {model["name"]: model["ua"]["mean"] for model in metrics["models"]}
    pairs = {pair["model"]: pair for pair in metrics["pairs"]}
    return [(model, model.shift, ua[model.name], pairs[model.name]) for model in models if model.shift is not None]


def _model(blocks: str, placement: str, n_div: int, direction: str, stride: int) -> Model:
    shift = Shift(
        placement=placement,  # type: ignore[arg-type]
        n_div=n_div,
        stride=-stride if direction == "future" else stride,
        bidirectional=direction == "both",
    )
    name = f"{blocks} {placement} n_div={n_div} {direction} stride={stride}"
    return Model(name=name, blocks=blocks, shift=shift, baseline=(blocks,))  # type: ignore[arg-type]


def _direction(shift: Shift) -> Direction:
    if shift.bidirectional:
        return "both"
    return "future" if shift.stride < 0 else "past"
