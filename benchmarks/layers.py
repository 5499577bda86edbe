"""``python -m benchmarks layers``: each layer against what it stands for, its published form, and its floor.

Forward and backward, all gradients, (8, 374, 768). The floor of a layer with a feed-forward half is that half's two
matrix products alone, which every form must make. Nothing is timed before its output and gradients were compared with
those of the form that computes the same.

On the CPU all is timed twice: as a user's process does, where glibc gives the memory of every tensor beyond 32 MB back
to the system and takes it anew, and with freed memory kept. The goals are of the first; the difference of the two is
what large intermediate tensors cost beside their arithmetic.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from temporal_shift import ShiftConv, ShiftLSTM, ShiftTransformerLayer
from temporal_shift.layers import RelativeTransformerLayer
from temporal_shift.layers.attention import relative_attention
from temporal_shift.streaming import RunningMean, stream

from . import baselines, records
from .goals import Goal, table_of
from .memory import peak_bytes
from .timing import medians

B, L, D, HEADS = 8, 374, 768, 12
FLOOR = "two matrix products"


@dataclass
class Row:
    """One layer: seconds of ours and of each form it is compared with, and bytes at the peak where they are counted."""

    what: str
    seconds: dict[str, float]
    seconds_with_memory_kept: dict[str, float] = field(default_factory=dict)
    peak: dict[str, int] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)

    def over(self, other: str) -> float:
        """How many times as long as ours the other takes."""
        return self.seconds[other] / self.seconds["ours"]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks layers", description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each function is timed (default: 5)")
    parser.add_argument("--json", type=Path, help="default: benchmarks/records/layers-DEVICE.json")
    options = parser.parse_args(argv)
    console = Console(width=max(Console().width, 130))  # what the tables take
    rows = []
    with torch.device(options.device):
        for row in measure(options.device, options.seconds):
            rows.append(row)
            console.print(f"[dim]{row.what}: {1e3 * row.seconds['ours']:.2f} ms[/]")
    goals = [goal for row in rows for goal in row.goals]
    console.print(_table_of_rows(rows), table_of(goals))
    path = options.json or records.FOLDER / f"layers-{options.device}.json"
    record = {
        **records.environment(options.device),
        "shape": [B, L, D],
        "rows": [{**asdict(row), "goals": [goal.what for goal in row.goals]} for row in rows],
        "goals": [goal.record() for goal in goals],
    }
    records.write(path, record)
    console.print(f"{sum(goal.held for goal in goals)} of {len(goals)} goals held; record: {path}")


def measure(device: str, seconds: float) -> Iterator[Row]:
    """Every row of the table, one after another."""
    layers = (_conv, _lstm, _attention, _transformer, _relative, _streaming)

    def timed(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
        return medians(functions, device=device, seconds=seconds, keep_freed_memory=False)

    def timed_with_memory_kept(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
        return medians(functions, device=device, seconds=seconds)

    torch.manual_seed(0)
    rows = [layer(timed) for layer in layers]
    for row, layer in zip(rows, layers, strict=True):
        if device == "cpu":
            row.seconds_with_memory_kept = layer(timed_with_memory_kept).seconds
        if layer is _attention and device == "cpu":
            _count_memory(row)
        yield row


Timed = Callable[[dict[str, Callable[[], object]]], dict[str, float]]


def _conv(timed: Timed) -> Row:
    ours, published = ShiftConv(D), baselines.PublishedConvBlock(D, n_div=16)
    _share(published, ours)
    x = torch.randn(B, L, D, requires_grad=True)
    _compare(ours, published, x)
    row = Row("ShiftConv", timed(_both({"ours": ours, "published": published, FLOOR: _products(ours)}, x)))
    row.goals = [
        Goal("published / ShiftConv", row.over("published"), 1.15, least=True),
        Goal(f"ShiftConv / {FLOOR}", 1 / row.over(FLOOR), 1.35),
    ]
    return row


def _lstm(timed: Timed) -> Row:
    ours, torchs = ShiftLSTM(D, D, batch_first=True), nn.LSTM(D, D, batch_first=True)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(B, L, D, requires_grad=True)
    unshifted = ShiftLSTM(D, D, batch_first=True, stride=0)
    unshifted.load_state_dict(ours.state_dict())
    _compare(lambda x: unshifted(x)[0], lambda x: torchs(x)[0], x)
    row = Row("ShiftLSTM", timed(_both({"ours": ours, "nn.LSTM": torchs}, x)))
    row.goals = [Goal("ShiftLSTM / nn.LSTM", 1 / row.over("nn.LSTM"), 1.03)]
    return row


def _attention(timed: Timed) -> Row:
    inputs = _attention_inputs()

    def both(attention: Callable[..., Tensor]) -> Callable[[], object]:
        upstream = torch.ones_like(inputs[0])
        return lambda: torch.autograd.grad(attention(*inputs), inputs, upstream)

    forms = {"ours": relative_attention, "published": baselines.published_attention}
    torch.testing.assert_close(forms["ours"](*inputs), forms["published"](*inputs), rtol=0, atol=1e-5)
    for gradient, right in zip(both(forms["ours"])(), both(forms["published"])(), strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-3, atol=1e-4)
    row = Row("relative attention", timed({name: both(form) for name, form in forms.items()}))
    row.goals = [Goal("published / relative attention, time", row.over("published"), 2, least=True)]
    return row


def _count_memory(row: Row) -> None:
    setup = "import torch\nfrom benchmarks.layers import _attention_inputs, baselines, relative_attention\n"
    setup += "x = _attention_inputs()\nx[0][0, 0] @ x[1][0, 0].mT"  # which starts the threads of the matrix product
    for name, form in {"ours": "relative_attention", "published": "baselines.published_attention"}.items():
        statement = f"torch.autograd.grad({form}(*x), x, torch.ones_like(x[0]))"
        peaks = [peak_bytes(setup, statement) for _ in range(3)]  # how the heap is cut up differs from run to run
        if None in peaks:
            return
        row.peak[name] = statistics.median(peaks)
    share = row.peak["ours"] / row.peak["published"]
    row.goals.append(Goal("relative attention / published, peak memory", share, 0.5))


def _attention_inputs() -> list[Tensor]:
    q, k, v = torch.randn(B, L, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
    table = 0.02 * torch.randn(2 * L - 1, D // HEADS)
    return [x.requires_grad_() for x in (q, k, v, table)]


def _transformer(timed: Timed) -> Row:
    options = {"dim_feedforward": 4 * D, "dropout": 0.0, "activation": "gelu", "batch_first": True}
    ours = ShiftTransformerLayer(D, HEADS, **options)
    torchs = nn.TransformerEncoderLayer(D, HEADS, **options)
    x = torch.randn(B, L, D, requires_grad=True)
    _, published = _relative_forms(x)
    unshifted = ShiftTransformerLayer(D, HEADS, **options, placement="inplace", stride=0)
    torchs.load_state_dict(unshifted.state_dict())
    _compare(unshifted, torchs, x)
    forms = {
        "ours": ours,
        "nn.TransformerEncoderLayer": torchs,
        "published relative": published,
        FLOOR: _products(ours),
    }
    row = Row("ShiftTransformerLayer", timed(_both(forms, x)))
    torchs_name = "nn.TransformerEncoderLayer"
    row.goals = [
        Goal(f"{torchs_name} / ShiftTransformerLayer", row.over(torchs_name), 1.9, least=True),
        Goal("published relative layer / ShiftTransformerLayer", row.over("published relative"), 3, least=True),
        Goal(f"ShiftTransformerLayer / {FLOOR}", 1 / row.over(FLOOR), 1.35),
    ]
    return row


def _relative(timed: Timed) -> Row:
    x = torch.randn(B, L, D, requires_grad=True)
    ours, published = _relative_forms(x)
    return Row("RelativeTransformerLayer", timed(_both({"ours": ours, "published": published}, x)))


def _relative_forms(x: Tensor) -> tuple[nn.Module, nn.Module]:
    """Our layer and the published one, with the same weights, and compared."""
    ours = RelativeTransformerLayer(D, HEADS, 4 * D, 0.0, "gelu", batch_first=True, max_frames=L)
    published = baselines.PublishedRelativeLayer(D, HEADS, L)
    published.load_state_dict({name.removeprefix("self_attn."): value for name, value in ours.state_dict().items()})
    _compare(ours, published, x)
    return ours, published


def _streaming(timed: Timed) -> Row:
    """A frame of 20 ms through two blocks of 384 channels, a running mean and four classes."""
    net = nn.Sequential(*(ShiftTransformerLayer(384, 6, 1536, 0.0, "gelu", batch_first=True) for _ in range(2))).eval()
    head = nn.Linear(384, 4)
    x = torch.randn(1, 50, 384)
    with torch.inference_mode():
        live, mean = stream(net), RunningMean()
        for frame in x.split(1, dim=1):
            mean(live(frame))
        torch.testing.assert_close(head(mean(live.flush())), head(net(x).mean(1)))
        live, mean, frame = stream(net), RunningMean(), x[:, :1]
        seconds = timed({"ours": lambda: head(mean(live(frame)))})
    row = Row("a streamed frame, Shiftformer of 2 x 384", seconds)
    row.goals = [Goal("milliseconds for a streamed frame", 1e3 * seconds["ours"], 2)]
    return row


def _products(layer: nn.Module) -> nn.Module:
    """The two matrix products of a layer's feed-forward half, with the same weights."""
    names = ("expand", "contract") if isinstance(layer, ShiftConv) else ("linear1", "linear2")
    return nn.Sequential(*(getattr(layer, name) for name in names))


def _share(published: nn.Module, ours: ShiftConv) -> None:
    """Our weights in the published block, whose linear layers are convolutions."""
    weights = ours.state_dict()
    shapes = {name: value.shape for name, value in published.state_dict().items()}
    published.load_state_dict({name: value.reshape(shapes[name]) for name, value in weights.items()})


def _both(forms: dict[str, nn.Module], x: Tensor) -> dict[str, Callable[[], object]]:
    """Forward and backward of each, with the gradients of its input and of all its parameters."""

    def run(form: nn.Module) -> Callable[[], object]:
        wanted = [x, *form.parameters()]

        def call() -> object:
            y = form(x)
            y = y if isinstance(y, Tensor) else y[0]
            return torch.autograd.grad(y, wanted, torch.ones_like(y))

        return call

    return {name: run(form) for name, form in forms.items()}


def _compare(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], x: Tensor) -> None:
    y, expected = ours(x), theirs(x)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    upstream = torch.randn_like(y)
    gradient, right = (torch.autograd.grad(of, x, upstream)[0] for of in (y, expected))
    torch.testing.assert_close(gradient, right, rtol=1e-3, atol=1e-4)


def summary(record: dict) -> str:
    """The rows as Markdown: milliseconds of ours, and how many times as long each other form takes."""
    lines = ["| layer | ours, ms | over ours | with freed memory kept |", "| :-- | --: | :-- | :-- |"]
    for row in record["rows"]:
        times = row["seconds"], row["seconds_with_memory_kept"]
        both = [", ".join(f"{name} {of[name] / of['ours']:.2f}" for name in of if name != "ours") for of in times]
        lines.append(f"| {row['what']} | {1e3 * row['seconds']['ours']:.3g} | {both[0]} | {both[1]} |")
    return "\n".join(lines)


def _table_of_rows(rows: list[Row]) -> Table:
    table = Table("layer", "form", "ms", "over ours", title=f"Forward and backward, ({B}, {L}, {D})")
    for column in ("with memory kept, ms", "over ours", "peak, MB"):
        table.add_column(column)
    for row in rows:
        for name, seconds in row.seconds.items():
            kept = row.seconds_with_memory_kept
            cells = [f"{1e3 * seconds:.2f}", f"{row.over(name):.2f}"]
            cells += [f"{1e3 * kept[name]:.2f}", f"{kept[name] / kept['ours']:.2f}"] if kept else ["", ""]
            cells.append(f"{row.peak[name] / 1e6:.0f}" if name in row.peak else "")
            table.add_row(row.what if name == "ours" else "", name, *cells)
    return table
