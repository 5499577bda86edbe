"""``python -m benchmarks op``: the shift against its floor and its peers, and how its time grows.

The floor of a shift is a copy, ``x.clone()``; of a fused sum, ``x + residual``. A ratio to a floor is how many times
longer ours takes, a ratio to a peer how many times longer the peer takes. Nothing is timed before it was compared.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from temporal_shift import temporal_shift, temporal_shift_add

from . import baselines, records
from .goals import Goal, table_of
from .timing import Functions, bytes_kept_for_backward, medians

SETTINGS = {
    "one way, n_div 16": {"n_div": 16},
    "both ways, n_div 4": {"n_div": 4, "bidirectional": True},
}
PEERS = {
    "slice assignment": baselines.slice_assignment,
    "pad and cat": baselines.pad_and_cat,
    "gather": baselines.gather,
}
MAIN = (8, 374, 768)
SHAPES = (MAIN, (32, 374, 768), (8, 3740, 768))
SHORT = ((1, 374, 768), (1, 1, 768))


@dataclass
class Row:
    """One measurement: seconds of ours, of the floor and of each peer."""

    what: str
    setting: str
    shape: tuple[int, ...]
    seconds: dict[str, float]
    goals: list[Goal] = field(default_factory=list)

    @property
    def to_floor(self) -> float:
        return self.seconds["ours"] / self.seconds["floor"]

    def to_peer(self, name: str) -> float:
        return self.seconds[name] / self.seconds["ours"]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks op", description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each function is timed (default: 1)")
    parser.add_argument("--json", type=Path, help="default: benchmarks/records/op-DEVICE.json")
    options = parser.parse_args(argv)
    console = Console(width=max(Console().width, 160))  # what the tables take
    rows = []
    for row in measure(options.device, options.seconds):
        rows.append(row)
        console.print(f"[dim]{row.what}, {row.setting}, {row.shape}: {row.to_floor:.2f}x the floor[/]")
    growth = slopes(options.device, options.seconds / 4)
    kept = bytes_kept_for_backward(lambda: temporal_shift(torch.randn(MAIN, requires_grad=True)))
    goals = [goal for row in rows for goal in row.goals] + [Goal("bytes kept for backward", kept, 0)]
    console.print(_table_of_rows(rows), _table_of_growth(growth), table_of(goals))
    path = options.json or records.FOLDER / f"op-{options.device}.json"
    record = {
        **records.environment(options.device),
        "rows": [{**asdict(row), "goals": [goal.what for goal in row.goals], "to_floor": row.to_floor} for row in rows],
        "growth": growth,
        "goals": [goal.record() for goal in goals],
    }
    records.write(path, record)
    console.print(f"{sum(goal.held for goal in goals)} of {len(goals)} goals held; record: {path}")


def measure(device: str, seconds: float) -> Iterator[Row]:
    """Every row of the table, one after another."""

    def timed(functions: Functions) -> dict[str, float]:
        return medians(functions, device=device, seconds=seconds)

    for shape in SHAPES:
        x = torch.randn(shape, device=device)
        for name, arguments in SETTINGS.items():
            yield _forward(x, name, arguments, timed)
            yield _forward_and_backward(x, name, arguments, timed)
            yield _in_place(x, name, arguments, timed)
            yield _fused_sum(x, name, arguments, timed)
    for name, arguments in SETTINGS.items():
        yield _channels_first(torch.randn(8, 768, 374, device=device), name, arguments, timed)
        yield _compiled(torch.randn(MAIN, device=device), name, arguments, timed)
    for shape in SHORT:
        yield _short(torch.randn(shape, device=device), timed)


Timed = Callable[[Functions], dict[str, float]]


def _forward(x: Tensor, name: str, arguments: dict, timed: Timed) -> Row:
    with torch.inference_mode():
        functions = {"ours": lambda: temporal_shift(x, **arguments), **_peers(x, arguments)}
        _compare(functions)
        row = Row("forward", name, tuple(x.shape), timed({"floor": x.clone, **functions}))
    if x.shape == MAIN and x.device.type == "cpu":
        row.goals.append(Goal(f"forward / clone, {name}", row.to_floor, 1.25 if arguments["n_div"] == 16 else 1.6))
    if x.device.type == "cuda":
        row.goals += _bandwidth_goal(row, x)
    return row


def _forward_and_backward(x: Tensor, name: str, arguments: dict, timed: Timed) -> Row:
    x = x.detach().clone().requires_grad_()
    upstream = torch.randn_like(x)

    def both(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(function(), x, upstream)[0]

    functions = {"ours": lambda: temporal_shift(x, **arguments), **_peers(x, arguments)}
    functions = {peer: both(function) for peer, function in functions.items()}
    _compare(functions)
    row = Row("forward + backward", name, tuple(x.shape), timed({"floor": both(x.clone), **functions}))
    least = {"slice assignment": 4, "pad and cat": 1.2, "gather": 1.2} if x.shape == MAIN else dict.fromkeys(PEERS, 1)
    for peer in PEERS:
        what = f"{peer} / ours, forward + backward, {name}, {tuple(x.shape)}"
        row.goals.append(Goal(what, row.to_peer(peer), least[peer], least=True))
    return row


def _in_place(x: Tensor, name: str, arguments: dict, timed: Timed) -> Row:
    expected = temporal_shift(x, **arguments)
    x = x.clone()
    assert torch.equal(temporal_shift(x, **arguments, inplace=True), expected)
    with torch.inference_mode():
        x = x.clone()
        functions = {"floor": x.clone, "ours": lambda: temporal_shift(x, **arguments, inplace=True)}
        row = Row("in place", name, tuple(x.shape), timed(functions))
    if x.shape == MAIN and arguments["n_div"] == 16:
        row.goals.append(Goal(f"in place / clone, {name}", row.to_floor, 0.35))
    return row


def _fused_sum(x: Tensor, name: str, arguments: dict, timed: Timed) -> Row:
    residual = torch.randn_like(x)
    with torch.inference_mode():
        functions = {
            "ours": lambda: temporal_shift_add(x, residual, **arguments),
            "shift, then add": lambda: temporal_shift(x, **arguments) + residual,
        }
        _compare(functions)
        row = Row("fused sum", name, tuple(x.shape), timed({"floor": lambda: x + residual, **functions}))
    if x.shape == MAIN:
        row.goals.append(Goal(f"temporal_shift_add / (x + residual), {name}", row.to_floor, 1.25))
    return row


def _channels_first(x: Tensor, name: str, arguments: dict, timed: Timed) -> Row:
    with torch.inference_mode():
        last = x.transpose(1, 2)
        functions = {
            "ours": lambda: temporal_shift(x, **arguments, time_dim=-1, channel_dim=-2),
            **{peer: lambda f=f: f().transpose(1, 2) for peer, f in _peers(last, arguments).items()},
        }
        _compare(functions)
        return Row("forward, (B, D, L)", name, tuple(x.shape), timed({"floor": x.clone, **functions}))


def _compiled(x: Tensor, name: str, arguments: dict, timed: Timed) -> Row:
    h, weight, bias = torch.randn_like(x), torch.randn_like(x[0, 0]), torch.randn_like(x[0, 0])

    def plain(x: Tensor, h: Tensor) -> Tensor:
        return F.layer_norm(x + h, weight.shape, weight, bias)

    def shifted(x: Tensor, h: Tensor) -> Tensor:
        return F.layer_norm(temporal_shift(x, **arguments) + h, weight.shape, weight, bias)

    with torch.inference_mode():
        floor, ours = torch.compile(plain, fullgraph=True), torch.compile(shifted, fullgraph=True)
        torch.testing.assert_close(ours(x, h), shifted(x, h))
        functions = {"floor": lambda: floor(x, h), "ours": lambda: ours(x, h), "eager": lambda: shifted(x, h)}
        row = Row("compiled layer_norm(shift(x) + h)", name, tuple(x.shape), timed(functions))
    row.goals.append(Goal(f"compiled layer_norm(shift(x) + h) / layer_norm(x + h), {name}", row.to_floor, 1.35))
    return row


def _short(x: Tensor, timed: Timed) -> Row:
    name, arguments = next(iter(SETTINGS.items()))
    with torch.inference_mode():
        row = Row(
            "forward", name, tuple(x.shape), timed({"floor": x.clone, "ours": lambda: temporal_shift(x, **arguments)})
        )
    overhead = (row.seconds["ours"] - row.seconds["floor"]) * 1e6
    if x.device.type == "cpu":
        row.goals.append(Goal(f"microseconds over clone, {tuple(x.shape)}", overhead, 40))
    return row


def _bandwidth_goal(row: Row, x: Tensor) -> list[Goal]:
    if x.numel() * x.element_size() < 64 << 20:
        return []
    return [Goal(f"share of copy bandwidth, {row.setting}, {row.shape}", 1 / row.to_floor, 0.92, least=True)]


def _peers(x: Tensor, arguments: dict) -> dict[str, Callable[[], Tensor]]:
    width = x.shape[-1] // arguments["n_div"]
    groups = [(width, 1), (width, -1)] if arguments.get("bidirectional") else [(width, 1)]
    groups.append((x.shape[-1] - len(groups) * width, 0))
    return {name: lambda peer=peer: peer(x, groups) for name, peer in PEERS.items()}


def _compare(functions: dict[str, Callable[[], Tensor]]) -> None:
    expected = functions["ours"]()
    for name, function in functions.items():
        if not torch.equal(function(), expected):
            raise AssertionError(f"{name} is not what ours is: nothing of it is timed")


def slopes(device: str, seconds: float) -> list[dict]:
    """How time grows with each dim: the exponent of a power law, fitted over sizes that are far from overhead."""
    sizes = {"B": [(b, 374, 768) for b in (4, 8, 16, 32)], "L": [(8, n, 768) for n in (187, 374, 748, 1496)]}
    sizes["D"] = [(8, 374, d) for d in (384, 768, 1536, 3072)]
    growth = []
    for dim, shapes in sizes.items():
        for name, arguments in SETTINGS.items():
            with torch.inference_mode():
                inputs = [torch.randn(shape, device=device) for shape in shapes]
                functions = {
                    str(tuple(x.shape)): lambda x=x, given=arguments: temporal_shift(x, **given) for x in inputs
                } | {f"clone {tuple(x.shape)}": x.clone for x in inputs}
                times = medians(functions, device=device, seconds=seconds)
            ours, floor = list(times.values())[: len(shapes)], list(times.values())[len(shapes) :]
            exponents = {"ours": _exponent(inputs, ours), "clone": _exponent(inputs, floor)}
            growth.append({"dim": dim, "setting": name, "seconds": times, "exponent": exponents})
    return growth


def _exponent(inputs: list[Tensor], seconds: list[float]) -> float:
    x, y = [math.log(i.numel()) for i in inputs], [math.log(s) for s in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def summary(record: dict) -> str:
    """The rows of the main shape as Markdown: ours over the floor, and the peers over ours."""
    lines = ["| " + " | ".join(["", "setting", "over the floor", *(f"{peer} over ours" for peer in PEERS)]) + " |"]
    lines.append("| :-- | :-- " + "| --: " * (1 + len(PEERS)) + "|")
    for row in record["rows"]:
        if tuple(row["shape"]) == MAIN:
            seconds = row["seconds"]
            peers = [f"{seconds[peer] / seconds['ours']:.2f}" if peer in seconds else "" for peer in PEERS]
            lines.append("| " + " | ".join([row["what"], row["setting"], f"{row['to_floor']:.2f}", *peers]) + " |")
    return "\n".join(lines)


def _table_of_rows(rows: list[Row]) -> Table:
    table = Table("what", "setting", "shape", "ours, ms", "floor, ms", "ours / floor", title="The shift and its peers")
    for peer in PEERS:
        table.add_column(f"{peer} / ours")
    for row in rows:
        peers = [f"{row.to_peer(peer):.2f}" if peer in row.seconds else "" for peer in PEERS]
        times = [f"{1e3 * row.seconds[name]:.3f}" for name in ("ours", "floor")]
        table.add_row(row.what, row.setting, "x".join(map(str, row.shape)), *times, f"{row.to_floor:.2f}", *peers)
    return table


def _table_of_growth(growth: list[dict]) -> Table:
    table = Table("dim", "setting", "exponent of ours", "exponent of clone", title="Growth of time with each dim")
    for row in growth:
        table.add_row(row["dim"], row["setting"], *(f"{row['exponent'][name]:.2f}" for name in ("ours", "clone")))
    return table
