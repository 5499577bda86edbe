"""``python -m benchmarks op``: the shift against its floors and its peers, and how its time grows.

The floor of a shift is a copy, ``x.clone()``; the floor of a fused sum is ``x + residual``. The table also shows
``copy_`` into existing memory, and the bandwidth of a copy larger than the caches. A ratio to a floor is our time over
the floor's; a ratio to a peer is the peer's time over ours. Outputs and gradients are compared before timing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from temporal_shift import temporal_shift, temporal_shift_add

from ..measure import floors, growth, memory, peers
from ..measure.measurements import OURS, Count, Goal, Measurement
from ..measure.timing import TIMERS, Functions, Samples, sampled

SETTINGS = {
    "one way, n_div 16": {"n_div": 16},
    "both ways, n_div 4": {"n_div": 4, "bidirectional": True},
}
PEERS = {
    "slice assignment": peers.slice_assignment,
    "pad and cat": peers.pad_and_cat,
    "gather": peers.gather,
}
COMPILED = "compiled slice assignment"
MAIN = (8, 374, 768)
SHAPES = (MAIN, (32, 374, 768), (8, 3740, 768))
SHORT = ((1, 374, 768), (1, 1, 768))
QUICK = (2, 16, 32)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=0.3, help="how long each function is timed (default: 0.3)")
    parser.add_argument("--timer", default=TIMERS[0], choices=TIMERS, help="of a GPU (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="a few rounds of small shapes: its figures mean nothing")


def measure(options: argparse.Namespace) -> Iterator[Measurement | Count]:
    """Every row of the table, one after another."""
    device, seconds = options.device, 0.0 if options.quick else options.seconds
    timed = partial(sampled, device=device, seconds=seconds, timer=options.timer)
    limit = floors.bandwidth(device, seconds)
    yield limit
    for row in _small_rows(device, timed) if options.quick else _rows(device, timed):
        row.figures["share_of_bandwidth"] = row.figures.pop("bytes_moved") / row.median() / limit.median()
        yield row
    for name, given in list(SETTINGS.items())[: 1 if options.quick else None]:
        yield from _memory(name, given, device)
        yield from growth.measure_growth(name, given, device, seconds / 2, quick=options.quick)


def _small_rows(device: str, timed: Timed) -> Iterator[Measurement]:
    for name, given in SETTINGS.items():
        yield from _on_last_channels(torch.randn(QUICK, device=device), name, given, timed)


def _rows(device: str, timed: Timed) -> Iterator[Measurement]:
    for shape in SHAPES:
        x = torch.randn(shape, device=device)
        for name, given in SETTINGS.items():
            yield from _on_last_channels(x, name, given, timed)
    for name, given in SETTINGS.items():
        yield _channels_first(torch.randn(8, 768, 374, device=device), name, given, timed)
        yield _compiled(torch.randn(MAIN, device=device), name, given, timed)
    for shape in SHORT:
        yield _short(torch.randn(shape, device=device), timed)


def _on_last_channels(x: Tensor, name: str, given: dict, timed: Timed) -> Iterator[Measurement]:
    for row in (_forward, _forward_and_backward, _in_place, _fused_sum):
        yield row(x, name, given, timed)


Timed = Callable[[Functions], Samples]


def _forward(x: Tensor, name: str, given: dict, timed: Timed) -> Measurement:
    with torch.inference_mode():
        functions = {OURS: lambda: temporal_shift(x, **given), **_peers(x, given)}
        _check_equal(functions)
        row = _row("forward", name, x, 2, timed({**floors.copies(x), **functions}), "clone")
    if x.shape == MAIN and x.device.type == "cpu":
        row.goals.append(Goal(f"forward / clone, {name}", row.to_floor, 1.25 if given["n_div"] == 16 else 1.6))
    if x.device.type == "cuda" and x.numel() * x.element_size() >= 64 << 20:
        what = f"share of a clone's bandwidth, {name}, {tuple(x.shape)}"
        row.goals.append(Goal(what, 1 / row.to_floor, 0.92, least=True))
    return row


def _forward_and_backward(x: Tensor, name: str, given: dict, timed: Timed) -> Measurement:
    x = x.detach().clone().requires_grad_()
    upstream = torch.randn_like(x)

    def both(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(function(), x, upstream)[0]

    functions = {OURS: lambda: temporal_shift(x, **given), **_peers(x, given)}
    functions = {peer: both(function) for peer, function in functions.items()}
    _check_equal(functions)
    row = _row("forward + backward", name, x, 4, timed({"clone": both(x.clone), **functions}), "clone")
    least = {"slice assignment": 4, "pad and cat": 1.2, "gather": 1.2} if x.shape == MAIN else dict.fromkeys(PEERS, 1)
    for peer in PEERS:
        what = f"{peer} / ours, forward + backward, {name}, {tuple(x.shape)}"
        row.goals.append(Goal(what, row.to_peer(peer), least[peer], least=True))
    return row


def _in_place(x: Tensor, name: str, given: dict, timed: Timed) -> Measurement:
    expected = temporal_shift(x, **given)
    x = x.clone()
    assert torch.equal(temporal_shift(x, **given, inplace=True), expected)
    with torch.inference_mode():
        x = x.clone()
        functions = {**floors.copies(x), OURS: lambda: temporal_shift(x, **given, inplace=True)}
        moved = 2 * (2 if given.get("bidirectional") else 1) / given["n_div"]
        row = _row("in place", name, x, moved, timed(functions), "clone")
    if x.shape == MAIN and given["n_div"] == 16:
        row.goals.append(Goal(f"in place / clone, {name}", row.to_floor, 0.35))
    return row


def _fused_sum(x: Tensor, name: str, given: dict, timed: Timed) -> Measurement:
    residual = torch.randn_like(x)
    with torch.inference_mode():
        functions = {
            OURS: lambda: temporal_shift_add(x, residual, **given),
            "shift, then add": lambda: temporal_shift(x, **given) + residual,
        }
        _check_equal(functions)
        row = _row("fused sum", name, x, 3, timed({"x + residual": lambda: x + residual, **functions}), "x + residual")
    if x.shape == MAIN:
        row.goals.append(Goal(f"temporal_shift_add / (x + residual), {name}", row.to_floor, 1.25))
    return row


def _channels_first(x: Tensor, name: str, given: dict, timed: Timed) -> Measurement:
    with torch.inference_mode():
        last = x.transpose(1, 2)
        functions = {
            OURS: lambda: temporal_shift(x, **given, time_dim=-1, channel_dim=-2),
            **{peer: lambda f=f: f().transpose(1, 2) for peer, f in _peers(last, given, compiled=False).items()},
        }
        _check_equal(functions)
        return _row("forward, (B, D, L)", name, x, 2, timed({**floors.copies(x), **functions}), "clone")


def _compiled(x: Tensor, name: str, given: dict, timed: Timed) -> Measurement:
    h, weight, bias = torch.randn_like(x), torch.randn_like(x[0, 0]), torch.randn_like(x[0, 0])

    def plain(x: Tensor, h: Tensor) -> Tensor:
        return F.layer_norm(x + h, weight.shape, weight, bias)

    def shifted(x: Tensor, h: Tensor) -> Tensor:
        return F.layer_norm(temporal_shift(x, **given) + h, weight.shape, weight, bias)

    with torch.inference_mode():
        floor, ours = torch.compile(plain, fullgraph=True), torch.compile(shifted, fullgraph=True)
        torch.testing.assert_close(ours(x, h), shifted(x, h))
        functions = {
            "compiled, no shift": lambda: floor(x, h),
            OURS: lambda: ours(x, h),
            "eager": lambda: shifted(x, h),
        }
        row = _row("compiled layer_norm(shift(x) + h)", name, x, 3, timed(functions), "compiled, no shift")
    row.goals.append(Goal(f"compiled layer_norm(shift(x) + h) / layer_norm(x + h), {name}", row.to_floor, 1.35))
    return row


def _short(x: Tensor, timed: Timed) -> Measurement:
    name, given = next(iter(SETTINGS.items()))
    with torch.inference_mode():
        row = _row(
            "forward", name, x, 2, timed({**floors.copies(x), OURS: lambda: temporal_shift(x, **given)}), "clone"
        )
    overhead = (row.median() - row.median("clone")) * 1e6
    if x.device.type == "cpu":
        row.goals.append(Goal(f"microseconds over clone, {tuple(x.shape)}", overhead, 40))
    return row


def _row(what: str, name: str, x: Tensor, passes: float, samples: Samples, floor: str) -> Measurement:
    """``passes`` is how many times the bytes of x have to be read or written."""
    moved = {"bytes_moved": passes * x.numel() * x.element_size()}
    return Measurement(what, samples, name, tuple(x.shape), floor=floor, figures=moved)


def _memory(name: str, given: dict, device: str) -> Iterator[Measurement]:
    """The most that forward and backward hold at a moment beside x, and what is kept between the two."""
    setup = "import torch\nfrom benchmarks.suites.op import one_step"
    forms = forms_of(given)
    statements = {form: f"one_step({form!r}, {name!r}, {device!r})" for form in forms}
    if peaks := memory.peaks(setup, statements, device):
        samples = {form: [float(peak)] for form, peak in peaks.items()}
        yield Measurement("peak memory, forward + backward", samples, name, MAIN, unit="B", floor="clone")
    x = torch.randn(MAIN, device=device, requires_grad=True)
    kept = {form: [float(memory.kept_for_backward(lambda f=f: f(x), [x]))] for form, f in forms.items()}
    row = Measurement("kept for backward", kept, name, MAIN, unit="B")
    row.goals.append(Goal(f"bytes kept for backward, {name}", row.median(), 0))
    yield row


def forms_of(given: dict) -> dict[str, Callable[[Tensor], Tensor]]:
    """Each form as a function of x."""
    return {
        OURS: lambda x: temporal_shift(x, **given),
        "clone": torch.clone,
        **{name: lambda x, peer=peer: peer(x, _groups(x, given)) for name, peer in PEERS.items()},
    }


def one_step(form: str, name: str, device: str) -> Tensor:
    """Forward and backward of one form on a new x."""
    x = torch.ones(MAIN, device=device, requires_grad=True)
    return torch.autograd.grad(forms_of(SETTINGS[name])[form](x).sum(), x)[0]


def _peers(x: Tensor, given: dict, compiled: bool = True) -> Functions:
    """The peers; on the main shape also what PyTorch's compiler makes of the published form."""
    groups = _groups(x, given)
    functions = {name: lambda peer=peer: peer(x, groups) for name, peer in PEERS.items()}
    if compiled and x.shape == MAIN:
        fused = torch.compile(lambda x: peers.slice_assignment(x, groups), fullgraph=True)
        functions[COMPILED] = lambda: fused(x)
    return functions


def _groups(x: Tensor, given: dict) -> peers.Groups:
    width = x.shape[-1] // given["n_div"]
    groups = [(width, 1), (width, -1)] if given.get("bidirectional") else [(width, 1)]
    return [*groups, (x.shape[-1] - len(groups) * width, 0)]


def _check_equal(functions: Functions) -> None:
    expected = functions[OURS]()
    for name, function in functions.items():
        if not torch.equal(function(), expected):
            raise AssertionError(f"{name} is not what ours is: nothing of it is timed")
