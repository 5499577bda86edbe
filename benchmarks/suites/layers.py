"""``python -m benchmarks layers``: layers compared with PyTorch's layers, with published forms and with a floor.

The layers are timed forward and backward with all gradients, (8, 374, 768). A streamed frame is timed forward. The
floor of ShiftConv and ShiftTransformerLayer is the two matrix products of their MLP, which every implementation
computes. Before timing, outputs and gradients of the inputs are compared with the published forms, and at stride 0 with
PyTorch's layers. After the times, except with the interpreter, peak memory (Linux or a GPU) and the memory that
autograd keeps for the backward pass are measured.

By default, glibc returns the memory of every tensor above 32 MiB to the system and requests it again. ``--kept`` also
times the layers with freed memory kept; the difference is the cost of allocating large intermediate tensors.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from temporal_shift import ShiftConv, ShiftLSTM, ShiftTransformerLayer
from temporal_shift.layers import RelativeTransformerLayer
from temporal_shift.layers.relative_attention import relative_attention
from temporal_shift.streaming import RunningMean, stream

from ..measure import memory, peers
from ..measure.devices import DEVICES, INTERPRETER, tensor_device, use
from ..measure.failures import Failures
from ..measure.gpu_timing import DEVICE, WALL, Functions, Samples
from ..measure.measurements import OURS, Goal, Measurement
from ..measure.timing import sampled

SIZE, QUICK = (8, 374, 768), (2, 16, 48)  # (B, L, D)
HEADS = 12
TORCHS = "nn.TransformerEncoderLayer"
PRODUCTS = "two matrix products"
Made = TypeVar("Made")


@dataclass(frozen=True)
class LayerCase:
    """A layer. ``forms`` contains, for each form, its forward pass and the tensors that get gradients.

    ``floor`` is the form to compare with, if there is one.
    """

    what: str
    forms: dict[str, tuple[Callable[[], Tensor], list[Tensor]]]
    floor: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        _, (x, *_) = next(iter(self.forms.values()))
        return tuple(x.shape)

    def steps(self) -> Functions:
        return {name: partial(_step, forward, wanted) for name, (forward, wanted) in self.forms.items()}

    def kept(self) -> Samples:
        return {
            name: [float(memory.kept_for_backward(forward, wanted))] for name, (forward, wanted) in self.forms.items()
        }


def _step(forward: Callable[[], Tensor], wanted: list[Tensor]) -> object:
    y = forward()
    return torch.autograd.grad(y, wanted, torch.ones_like(y))


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=DEVICES, help="device to measure (default: %(default)s)")
    parser.add_argument("--seconds", type=float, help="seconds per function (default: 3; 0.3 per timer on a GPU)")
    parser.add_argument("--kept", action="store_true", help="also time the layers with freed memory kept (CPU only)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes and few rounds, for a test: the figures mean nothing"
    )


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield every row of the table."""
    device = options.device
    size, seconds = (QUICK, 0.0) if options.quick else (SIZE, options.seconds or (3.0 if device == "cpu" else 0.3))
    use(device)
    torch.backends.cudnn.allow_tf32 = False  # as for matrix products by default; some forms use cuDNN, others cuBLAS
    timed = partial(sampled, device=device, seconds=seconds, keep_freed_memory=False)
    failures = Failures(device)
    found: list[LayerCase] = []
    torch.manual_seed(0)
    x = torch.randn(size, device=tensor_device(device), requires_grad=True)
    for make in MAKERS:
        for case in failures.caught(partial(_on, x.device, make, x)):
            found.append(case)
            yield from failures.caught(partial(_timed_rows, case, timed, device))
    yield from failures.caught(partial(_streaming, timed, x.device))
    if device != INTERPRETER:
        yield from failures.caught(partial(_memory, found, size, device))
    if options.kept and device == "cpu":  # last: the setting cannot be reverted
        for case in found:
            samples = timed(case.steps(), keep_freed_memory=True)
            yield _measurement(case, f"{case.what}, freed memory kept", samples)
    failures.check()


def _on(device: torch.device, make: Callable[..., Made], *arguments: object) -> Made:
    """Create layers on a device. Timing happens outside this context, which slows every call of torch."""
    with device:
        return make(*arguments)


def cases(size: tuple[int, int, int]) -> list[LayerCase]:
    """The layers for ``(B, L, D)``, checked against the other forms."""
    x = torch.randn(size, requires_grad=True)
    return [case for make in MAKERS for case in make(x)]


def _timed_rows(case: LayerCase, timed: Callable[..., Samples], device: str) -> list[Measurement]:
    """One row per timer. On a GPU, goals apply to the wall clock, the time that users see."""
    steps, rows = case.steps(), []
    for timer in (None,) if device == "cpu" else (WALL, DEVICE):
        row = _measurement(case, case.what, timed(steps, timer=timer))
        row.timer = timer
        row.goals = [] if timer == DEVICE else goals_of(row)
        rows.append(row)
    return rows


def goals_of(row: Measurement) -> list[Goal]:
    """The goals of a layer."""
    if row.what == "ShiftConv":
        return [
            Goal("published / ShiftConv", row.to_peer("published"), 1.15, least=True),
            Goal(f"ShiftConv / {PRODUCTS}", row.to_floor, 1.35),
        ]
    if row.what == "ShiftLSTM":
        return [Goal("ShiftLSTM / nn.LSTM", 1 / row.to_peer("nn.LSTM"), 1.03)]
    if row.what == "ShiftTransformerLayer":
        return [
            Goal(f"{TORCHS} / ShiftTransformerLayer", row.to_peer(TORCHS), 1.9, least=True),
            Goal("published relative / ShiftTransformerLayer", row.to_peer("published relative"), 3, least=True),
            Goal(f"ShiftTransformerLayer / {PRODUCTS}", row.to_floor, 1.35),
        ]
    return []


def _measurement(case: LayerCase, what: str, samples: Samples, unit: str = "s") -> Measurement:
    floor = case.floor if unit == "s" else None
    return Measurement(what, samples, "forward + backward", case.shape, unit=unit, floor=floor)


def _conv(x: Tensor) -> list[LayerCase]:
    D = x.shape[-1]
    ours, published = ShiftConv(D), peers.PublishedConvBlock(D, n_div=16)
    _share(published, ours)
    check_equal(ours, published, x)
    forms = {OURS: ours, "published": published, PRODUCTS: _products(ours)}
    return [LayerCase("ShiftConv", _forms_on(x, forms), PRODUCTS)]


def _lstm(x: Tensor) -> list[LayerCase]:
    D = x.shape[-1]
    ours, torchs = ShiftLSTM(D, D, batch_first=True), nn.LSTM(D, D, batch_first=True)
    torchs.load_state_dict(ours.state_dict())
    unshifted = ShiftLSTM(D, D, batch_first=True, stride=0)
    unshifted.load_state_dict(ours.state_dict())
    check_equal(lambda x: unshifted(x)[0], lambda x: torchs(x)[0], x)
    return [LayerCase("ShiftLSTM", _forms_on(x, {OURS: ours, "nn.LSTM": torchs}))]


def _attention(x: Tensor) -> list[LayerCase]:
    B, L, D = x.shape
    q, k, v = torch.randn(B, L, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
    table = 0.02 * torch.randn(2 * L - 1, D // HEADS)
    inputs = [x.requires_grad_() for x in (q, k, v, table)]
    forms = {OURS: relative_attention, "published": peers.published_attention}
    case = LayerCase("relative attention", {name: (partial(form, *inputs), inputs) for name, form in forms.items()})
    outputs = [forward() for forward, _ in case.forms.values()]
    _assert_close(*outputs, rtol=0, atol=1e-5)
    for gradients in zip(*(step() for step in case.steps().values()), strict=True):
        _assert_close(*gradients, rtol=1e-3, atol=1e-4)
    return [case]


def _transformers(x: Tensor) -> list[LayerCase]:
    _, L, D = x.shape
    options = {"dim_feedforward": 4 * D, "dropout": 0.0, "activation": "gelu", "batch_first": True}
    ours = ShiftTransformerLayer(D, HEADS, **options)
    torchs = nn.TransformerEncoderLayer(D, HEADS, **options)
    unshifted = ShiftTransformerLayer(D, HEADS, **options, placement="inplace", stride=0)
    torchs.load_state_dict(unshifted.state_dict())
    check_equal(unshifted, torchs, x)
    relative = RelativeTransformerLayer(D, HEADS, **options, max_frames=L)
    published = peers.PublishedRelativeLayer(D, HEADS, L)
    weights = {name.removeprefix("self_attn."): value for name, value in relative.state_dict().items()}
    published.load_state_dict(weights)
    check_equal(relative, published, x)
    forms = {OURS: ours, TORCHS: torchs, "published relative": published, PRODUCTS: _products(ours)}
    relatives = {OURS: relative, "published": published}
    return [
        LayerCase("ShiftTransformerLayer", _forms_on(x, forms), PRODUCTS),
        LayerCase("RelativeTransformerLayer", _forms_on(x, relatives)),
    ]


MAKERS = (_conv, _lstm, _attention, _transformers)


def _streaming(timed: Callable[..., Samples], device: torch.device) -> list[Measurement]:
    """One streamed frame of 20 ms through two blocks of 384 channels, a running mean and a head of four classes."""
    with torch.inference_mode():
        frame, step = _on(device, _live_net)
        samples = timed({OURS: step}, timer=WALL)
    row = Measurement("a streamed frame, Shiftformer of 2 x 384", samples, "forward", frame.shape)
    row.goals = [Goal("milliseconds for a streamed frame", 1e3 * row.median(), 2)]
    return [row]


def _live_net() -> tuple[Tensor, Callable[[], Tensor]]:
    """A frame, and a function that feeds it to a streaming model."""
    net = nn.Sequential(*(ShiftTransformerLayer(384, 6, 1536, 0.0, "gelu", batch_first=True) for _ in range(2))).eval()
    head = nn.Linear(384, 4)
    x = torch.randn(1, 50, 384)
    live, mean = stream(net), RunningMean()
    for frame in x.split(1, dim=1):
        mean(live(frame))
    _assert_close(head(mean(live.flush())), head(net(x).mean(1)), rtol=1e-5, atol=1e-5)
    live, mean, frame = stream(net), RunningMean(), x[:, :1]
    return frame, lambda: head(mean(live(frame)))


def _memory(found: list[LayerCase], size: tuple[int, ...], device: str) -> Iterator[Measurement]:
    """Peak memory of a step without weights and input, and the memory that autograd saves in its forward pass."""
    setup = "import torch\nfrom benchmarks.suites.layers import cases\n"
    setup += f"with torch.device({device!r}):\n    steps = [case.steps() for case in cases({size})]"
    statements = {
        f"{number} {form}": f"steps[{number}][{form!r}]()" for number, case in enumerate(found) for form in case.forms
    }
    peaks = memory.peaks(setup, statements, device)
    for number, case in enumerate(found):
        if peaks:
            samples = {form: [float(peaks[f"{number} {form}"])] for form in case.forms}
            row = _measurement(case, f"peak memory, {case.what}", samples, "B")
            if case.what == "relative attention" and row.median("published"):
                share = 1 / row.to_peer("published")
                row.goals = [Goal("relative attention / published, peak memory", share, 0.85)]
            yield row
        yield _measurement(case, f"kept for backward, {case.what}", case.kept(), "B")


def _products(layer: nn.Module) -> nn.Module:
    """The two matrix products of a layer's MLP, with the same weights."""
    names = ("expand", "contract") if isinstance(layer, ShiftConv) else ("linear1", "linear2")
    return nn.Sequential(*(getattr(layer, name) for name in names))


def _share(published: nn.Module, ours: ShiftConv) -> None:
    """Copy our weights to the published block, which has convolutions in place of linear layers."""
    weights = ours.state_dict()
    shapes = {name: value.shape for name, value in published.state_dict().items()}
    published.load_state_dict({name: value.reshape(shapes[name]) for name, value in weights.items()})


def _forms_on(x: Tensor, forms: dict[str, nn.Module]) -> dict[str, tuple[Callable[[], Tensor], list[Tensor]]]:
    """Each module applied to x, with gradients of x and of all parameters."""

    def forward(module: nn.Module) -> Tensor:
        y = module(x)
        return y if isinstance(y, Tensor) else y[0]

    return {name: (partial(forward, module), [x, *module.parameters()]) for name, module in forms.items()}


def check_equal(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Raise an AssertionError if outputs or gradients of x differ, beyond a tolerance."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # TF32 rounds each form differently
        y, expected = ours(x), theirs(x)
        _assert_close(y, expected, rtol=1e-4, atol=1e-5)
        upstream = torch.randn_like(y)
        gradient, right = (torch.autograd.grad(of, x, upstream)[0] for of in (y, expected))
    _assert_close(gradient, right, rtol=1e-3, atol=1e-4)


def _assert_close(y: Tensor, expected: Tensor, *, rtol: float, atol: float) -> None:
    """Compare with a tolerance that is larger on a GPU, where the order of sums varies."""
    factor = 10 if y.is_cuda else 1
    torch.testing.assert_close(y, expected, rtol=factor * rtol, atol=factor * atol)
