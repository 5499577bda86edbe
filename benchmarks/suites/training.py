"""``python -m benchmarks training``: a few training steps of ShiftConv, ShiftLSTM and ShiftTransformerLayer.

A model of two layers and a linear head trains on one random batch, in fp32, with bf16 autocast, and compiled. Its loss
must decrease.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from temporal_shift import ShiftConv, ShiftLSTM, ShiftTransformerLayer

from ..measure.devices import DEVICES, INTERPRETER, tensor_device, use
from ..measure.failures import Failures
from ..measure.measurements import OURS, Goal, Measurement

SIZE, QUICK = (8, 200, 256), (2, 5, 16)  # (B, L, D)
CLASSES = 4
MODES = ("fp32", "bf16 autocast", "compiled")
STEPS, QUICK_STEPS = 20, 3


class Net(nn.Module):
    """Layers, the mean over time, and a head."""

    def __init__(self, layers: list[nn.Module], dim: int) -> None:
        super().__init__()
        self.layers, self.head = nn.ModuleList(layers), nn.Linear(dim, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            y = layer(x)
            x = y if isinstance(y, Tensor) else y[0]
        return self.head(x.mean(1))


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "ShiftConv": ShiftConv,
    "ShiftLSTM": lambda dim: ShiftLSTM(dim, dim, batch_first=True),
    "ShiftTransformerLayer": lambda dim: ShiftTransformerLayer(dim, 4, 4 * dim, 0.0, batch_first=True),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", choices=DEVICES, help="device to measure (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="few steps of small models, for a test: the figures mean nothing"
    )


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield a row for each layer and mode. The interpreter is slow, so it gets each layer and each mode once."""
    use(options.device)
    failures = Failures(options.device)
    rows = zip(LAYERS, MODES, strict=True) if options.device == INTERPRETER else product(LAYERS, MODES)
    for layer, mode in rows:
        yield from failures.caught(partial(_trained, layer, mode, options.device, options.quick))
    failures.check()


def _trained(layer: str, mode: str, device: str, quick: bool) -> Iterator[Measurement]:
    torch.manual_seed(0)
    size, steps = (QUICK, QUICK_STEPS) if quick else (SIZE, STEPS)
    place = tensor_device(device)
    net = Net([LAYERS[layer](size[-1]) for _ in range(2)], size[-1]).to(place)
    x, target = torch.randn(size, device=place), torch.arange(size[0], device=place) % CLASSES
    run = net
    if mode == "compiled":
        run = torch.compile(net, backend="aot_eager" if device == INTERPRETER else "inductor")
    precision = torch.autocast(place, torch.bfloat16) if mode == "bf16 autocast" else nullcontext()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses, seconds = [], []
    for _ in range(steps):
        start = time.perf_counter()
        with precision:
            loss = F.cross_entropy(run(x).float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())  # waits for the device
        seconds.append(time.perf_counter() - start)
    row = Measurement("training step", {OURS: seconds[1:]}, f"{layer}, {mode}", size)
    row.figures = {"loss before": losses[0], "loss after": losses[-1], "first step, s": seconds[0]}
    row.goals = [Goal(f"loss after / before, {layer}, {mode}", losses[-1] / losses[0], 1)]
    yield row
    if not losses[-1] < losses[0]:
        raise AssertionError(f"the loss of {layer}, {mode} must decrease, got {losses[0]:.4f} to {losses[-1]:.4f}")
