"""README's tables: a short selection from the records. The pages of the docs show more rows."""

from __future__ import annotations

from collections.abc import Iterable

from temporal_shift.ser.utils.table import Table

from ..measure.measurements import Line, of_kind
from .real_speech_tables import overview
from .tables import quantity

_ONE_WAY, _BIDIRECTIONAL = "one way, n_div 16", "both ways, n_div 4"
_STEP = "forward + backward"
_SPEED = (  # name in README, operation, setting, shape, timer on a GPU
    ("temporal_shift, forward", "forward", _ONE_WAY, [8, 374, 768], None),
    ("temporal_shift, forward and backward", _STEP, _ONE_WAY, [8, 374, 768], None),
    ("temporal_shift, bidirectional, forward", "forward", _BIDIRECTIONAL, [8, 3740, 768], "device"),
    ("ShiftLSTM, forward and backward", "ShiftLSTM", _STEP, [8, 374, 768], None),
    ("ShiftTransformerLayer, forward and backward", "ShiftTransformerLayer", _STEP, [8, 374, 768], None),
)
_ALTERNATIVES = ("slice assignment", "pad and cat", "nn.LSTM", "nn.TransformerEncoderLayer")
_PAIRS = ("ShiftCNN − CNN", "ShiftLSTM − LSTM", "Shiftformer − Identity mixer", "Shiftformer − Transformer")


def speed(lines: Iterable[Line]) -> Table:
    """One row per operation: shape, device, time, ratio to the floor, and the ratios of ``_ALTERNATIVES`` to ours."""
    measured = of_kind(list(lines), "measurement")
    rows = []
    for name, what, setting, shape, timer in _SPEED:
        (line,) = (
            line
            for line in measured
            if (line["what"], line["setting"], line["shape"], line.get("timer")) == (what, setting, shape, timer)
        )
        floor = f"{line['ratio_to_floor']:.2f} × {line['floor']}" if line["floor"] else ""
        others = [f"{form} {ratio:.2f} ×" for form, ratio in line["ratio_to_peers"].items() if form in _ALTERNATIVES]
        device = line["device"].removeprefix("NVIDIA ")
        time, size = quantity(line["median"], line["unit"]), "×".join(map(str, shape))
        rows.append((name, size, device, time, floor, ", ".join(others)))
    return Table(("", "shape", "device", "time", "time / floor", "alternative / ours"), rows)


def real_speech(lines: Iterable[Line]) -> Table:
    """The rows of the overview that compare a shift model with its baselines."""
    table = overview(lines)
    return Table(table.header, [row for row in table.rows if row[0] in _PAIRS])
