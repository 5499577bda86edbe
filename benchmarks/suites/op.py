"""``python -m benchmarks op``: time and memory of the shift, compared with a copy and with other implementations.

The floor of a shift is a copy, ``x.clone()``. The floor of a fused sum is ``x + residual``, and the floor of a compiled
function is the same function without the shift. The table also shows ``copy_`` into existing memory, and the bandwidth
of a copy larger than the caches. "Ours / floor" is our time divided by the time of the floor; "others / ours" is the
time of each other implementation divided by ours. Outputs and gradients are compared before timing, except for shapes
with a batch of one.

On a GPU, each function is timed in three ways: the wall clock of a loop of calls, the device time with a cold cache,
and the time in a CUDA graph with a warm cache.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from temporal_shift import temporal_shift, temporal_shift_add

from ..measure import floors, growth, memory, peers
from ..measure.devices import DEVICES, INTERPRETER, tensor_device, use
from ..measure.failures import Failures
from ..measure.gpu_timing import DEVICE, GPU_TIMERS, Functions, Samples
from ..measure.measurements import OURS, Count, Goal, Measurement
from ..measure.timing import sampled

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
    parser.add_argument("--device", default="cpu", choices=DEVICES, help="device to measure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="seconds per function (default: 0.3; 0.06 per timer on a GPU)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds, for a test: the figures mean nothing"
    )


class Timed:
    """Times functions with a timer of the device: one on a CPU, three on a GPU and the interpreter."""

    def __init__(self, device: str, seconds: float) -> None:
        self.device, self._seconds = device, seconds
        self.timers: tuple[str | None, ...] = (None,) if device == "cpu" else GPU_TIMERS

    def __call__(self, functions: Functions, timer: str | None) -> Samples:
        return sampled(functions, device=self.device, seconds=self._seconds, timer=timer)


def measure(options: argparse.Namespace) -> Iterator[Measurement | Count]:
    """Yield every row of the table."""
    device, quick = options.device, options.quick
    seconds = 0.0 if quick else options.seconds or (0.3 if device == "cpu" else 0.06)
    use(device)
    limit = floors.bandwidth(device, seconds)
    yield limit
    failures = Failures(device)
    settings = list(SETTINGS)[: 1 if device == INTERPRETER else None]
    for make in _makers(Timed(device, seconds), settings, quick):
        for row in failures.caught(make):
            moved = row.figures.pop("bytes_moved")
            if row.timer in (None, DEVICE):
                row.figures["share_of_bandwidth"] = moved / row.median() / limit.median()
            yield row
    for name in settings[: 1 if quick else None] if device != INTERPRETER else ():
        given = SETTINGS[name]
        yield from failures.caught(partial(_memory, name, given, device))
        yield from failures.caught(partial(growth.measure_growth, name, given, device, seconds / 2, quick=quick))
    failures.check()


def _makers(timed: Timed, settings: list[str], quick: bool) -> Iterator[Callable[[], list[Measurement]]]:
    """Yield functions that measure one row of the table each, with every timer."""
    on_last_channels = (_forward, _forward_and_backward, _in_place, _fused_sum)
    for shape in (QUICK,) if quick else SHAPES:
        for name, row in product(settings, on_last_channels):
            yield partial(_on_new_input, row, shape, name, timed)
    if quick:
        return
    for name in settings:
        yield partial(_on_new_input, _channels_first, (8, 768, 374), name, timed)
        yield partial(_on_new_input, _compiled, MAIN, name, timed)
    for shape in SHORT:
        yield partial(_on_new_input, _short, shape, settings[0], timed)


def _on_new_input(row: Callable, shape: tuple[int, ...], name: str, timed: Timed) -> list[Measurement]:
    return row(torch.randn(shape, device=tensor_device(timed.device)), name, SETTINGS[name], timed)


def _forward(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    with torch.inference_mode():
        functions = {OURS: lambda: temporal_shift(x, **given), **_peers(x, given)}
        _check_equal(functions)
        rows = _rows("forward", name, x, 2, timed, {**floors.copies(x), **functions}, "clone")
    for row in rows:
        if x.shape == MAIN and timed.device == "cpu":
            _goal(row, f"forward / clone, {name}", row.to_floor, 1.25 if given["n_div"] == 16 else 1.6)
        if row.timer == DEVICE and x.numel() * x.element_size() >= 64 << 20:
            what = f"share of a clone's bandwidth, {name}, {tuple(x.shape)}"
            _goal(row, what, 1 / row.to_floor, 0.92, least=True)
    return rows


def _forward_and_backward(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    x = x.detach().clone().requires_grad_()
    upstream = torch.randn_like(x)

    def both(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(function(), x, upstream)[0]

    functions = {OURS: lambda: temporal_shift(x, **given), **_peers(x, given)}
    functions = {peer: both(function) for peer, function in functions.items()}
    _check_equal(functions)
    rows = _rows("forward + backward", name, x, 4, timed, {"clone": both(x.clone), **functions}, "clone")
    bound = {"slice assignment": 4, "pad and cat": 1.2, "gather": 1.2} if x.shape == MAIN else dict.fromkeys(PEERS, 1)
    for row in rows:
        for peer in PEERS:
            if peer in row.samples and row.timer != DEVICE:
                what = f"{peer} / ours, forward + backward, {name}, {tuple(x.shape)}"
                _goal(row, what, row.to_peer(peer), bound[peer], least=True)
    return rows


def _in_place(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    expected = temporal_shift(x, **given)
    x = x.clone()
    assert torch.equal(temporal_shift(x, **given, inplace=True), expected)
    with torch.inference_mode():
        x = x.clone()
        functions = {**floors.copies(x), OURS: lambda: temporal_shift(x, **given, inplace=True)}
        moved = 2 * (2 if given.get("bidirectional") else 1) / given["n_div"]
        rows = _rows("in place", name, x, moved, timed, functions, "clone")
    for row in rows:
        if x.shape == MAIN and given["n_div"] == 16 and row.timer in (None, DEVICE):
            _goal(row, f"in place / clone, {name}", row.to_floor, 0.35)
    return rows


def _fused_sum(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    residual = torch.randn_like(x)
    with torch.inference_mode():
        functions = {
            OURS: lambda: temporal_shift_add(x, residual, **given),
            "shift, then add": lambda: temporal_shift(x, **given) + residual,
        }
        _check_equal(functions)
        functions = {"x + residual": lambda: x + residual, **functions}
        rows = _rows("fused sum", name, x, 3, timed, functions, "x + residual")
    for row in rows:
        if x.shape == MAIN and row.timer in (None, DEVICE):
            _goal(row, f"temporal_shift_add / (x + residual), {name}", row.to_floor, 1.25)
    return rows


def _channels_first(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    with torch.inference_mode():
        last = x.transpose(1, 2)
        functions = {
            OURS: lambda: temporal_shift(x, **given, time_dim=-1, channel_dim=-2),
            **{peer: lambda f=f: f().transpose(1, 2) for peer, f in _peers(last, given, compiled=False).items()},
        }
        _check_equal(functions)
        return _rows("forward, (B, D, L)", name, x, 2, timed, {**floors.copies(x), **functions}, "clone")


def _compiled(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    h, weight, bias = torch.randn_like(x), torch.randn_like(x[0, 0]), torch.randn_like(x[0, 0])

    def plain(x: Tensor, h: Tensor) -> Tensor:
        return F.layer_norm(x + h, weight.shape, weight, bias)

    def shifted(x: Tensor, h: Tensor) -> Tensor:
        return F.layer_norm(temporal_shift(x, **given) + h, weight.shape, weight, bias)

    with torch.inference_mode():
        floor, ours = torch.compile(plain, fullgraph=True), torch.compile(shifted, fullgraph=True)
        torch.testing.assert_close(ours(x, h), shifted(x, h), rtol=1e-4, atol=1e-5)
        functions = {
            "compiled, no shift": lambda: floor(x, h),
            OURS: lambda: ours(x, h),
            "eager": lambda: shifted(x, h),
        }
        rows = _rows("compiled layer_norm(shift(x) + h)", name, x, 3, timed, functions, "compiled, no shift")
    for row in rows:
        if row.timer in (None, DEVICE):
            what = f"compiled layer_norm(shift(x) + h) / layer_norm(x + h), {name}"
            _goal(row, what, row.to_floor, 1.35)
    return rows


def _short(x: Tensor, name: str, given: dict, timed: Timed) -> list[Measurement]:
    with torch.inference_mode():
        functions = {**floors.copies(x), OURS: lambda: temporal_shift(x, **given)}
        rows = _rows("forward", name, x, 2, timed, functions, "clone")
    for row in rows:
        if timed.device == "cpu":
            overhead = (row.median() - row.median("clone")) * 1e6
            _goal(row, f"microseconds over clone, {tuple(x.shape)}", overhead, 40)
    return rows


def _rows(
    what: str, name: str, x: Tensor, passes: float, timed: Timed, functions: Functions, floor: str
) -> list[Measurement]:
    """One measurement per timer. ``passes`` is how many times the bytes of x must be read or written."""
    rows = []
    for timer in timed.timers:
        samples = timed(functions, timer)
        if OURS not in samples:
            print(f"{what}, {name}, {tuple(x.shape)}: {timer} cannot measure ours", flush=True)
            continue
        missing = [form for form in functions if form not in samples]
        moved = {"bytes_moved": passes * x.numel() * x.element_size()}
        known = floor if floor in samples else None
        row = Measurement(what, samples, name, tuple(x.shape), floor=known, figures=moved, timer=timer, missing=missing)
        rows.append(row)
    return rows


def _goal(row: Measurement, what: str, measured: float, bound: float, least: bool = False) -> None:
    row.goals.append(Goal(what if row.timer is None else f"{what}, {row.timer}", measured, bound, least))


def _memory(name: str, given: dict, device: str) -> Iterator[Measurement]:
    """Peak memory of forward and backward, with x, and the memory without x that autograd saves between the two."""
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
    """Each implementation as a function of x."""
    return {
        OURS: lambda x: temporal_shift(x, **given),
        "clone": torch.clone,
        **{name: lambda x, peer=peer: peer(x, _groups(x, given)) for name, peer in PEERS.items()},
    }


def one_step(form: str, name: str, device: str) -> Tensor:
    """Forward and backward of one implementation on a new x."""
    x = torch.ones(MAIN, device=device, requires_grad=True)
    return torch.autograd.grad(forms_of(SETTINGS[name])[form](x).sum(), x)[0]


def _peers(x: Tensor, given: dict, compiled: bool = True) -> Functions:
    """The other implementations. If ``compiled``, the main shape also has the compiled slice assignment."""
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
        if not torch.equal(found := function(), expected):
            difference = (found - expected).abs().max().item()
            raise AssertionError(f"the result of {name} must equal ours, got a difference of up to {difference:.2g}")
