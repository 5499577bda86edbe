"""Shift slices of a larger tensor with valid and invalid bounds: ``python -m benchmarks.measure.odd_bounds [DEVICE]``.

DEVICE is ``cuda`` (default), ``cpu`` or ``interpreter``. ``python -m benchmarks gpu`` runs this module, also under
``compute-sanitizer`` if it is installed. The exit status is 1 if memory around the slice changes, or if results with
valid bounds or none differ from the graph form on the CPU.
"""

from __future__ import annotations

import itertools
import sys

import torch
from torch import Tensor

from temporal_shift import temporal_shift, temporal_shift_add
from temporal_shift.core import graph
from temporal_shift.core.arguments import resolve

from .devices import tensor_device, use

FRAMES, CHANNELS, AROUND = 37, 24, 64
MODES = ("zeros", "replicate", "circular")
VALID = {"cu_seqlens": [0, 3, 3, FRAMES]}
ODD = ([0, 3, 2 * FRAMES], [-9, 5], [0, 3], [1, FRAMES], [5, 2, 9], [FRAMES + 4, FRAMES + 9])


def main(device: str) -> None:
    use(device)
    place = tensor_device(device)
    wrong = []
    strides = (1, -2, 5) if device == "cuda" else (-2,)
    for mode, stride, bounds in itertools.product(MODES, strides, (None, VALID["cu_seqlens"], *ODD)):
        given = {"n_div": 3, "stride": stride, "bidirectional": True, "padding_mode": mode}
        for name, tensor in _of_bounds(bounds):
            arguments = {**given, **({name: tensor.to(place)} if name else {})}
            big = torch.arange((FRAMES + 2 * AROUND) * CHANNELS, dtype=torch.float32).reshape(-1, CHANNELS)
            x = big.to(place)
            before, inside = x.clone(), x[AROUND : AROUND + FRAMES]
            y = temporal_shift(inside, **arguments)
            total = temporal_shift_add(inside, inside, **arguments)
            same_outside = torch.equal(x, before)
            temporal_shift(inside, **arguments, inplace=True)
            written = inside.clone()
            x[AROUND : AROUND + FRAMES] = before[AROUND : AROUND + FRAMES]
            same_outside &= torch.equal(x, before)
            case = f"{mode}, stride {stride}, {name} {bounds}"
            if not same_outside:
                wrong.append(f"{case}: memory around the tensor")
            if bounds is None or bounds == VALID["cu_seqlens"]:
                found = {"shift": y, "sum": total, "in place": written}
                shifted = _as_a_graph(big[AROUND : AROUND + FRAMES], given, name, tensor)
                expected = {"shift": shifted, "sum": shifted + big[AROUND : AROUND + FRAMES], "in place": shifted}
                wrong += [f"{case}: {form}" for form in found if not torch.equal(found[form].cpu(), expected[form])]
    print(f"wrong: {len(wrong)} ({'; '.join(wrong)})" if wrong else "values and memory around the tensor are correct")
    sys.exit(bool(wrong))


def _of_bounds(bounds: list[int] | None) -> list[tuple[str | None, Tensor | None]]:
    if bounds is None:
        return [(None, None)]
    return [("cu_seqlens", torch.tensor(bounds)), ("lengths", torch.tensor(bounds[-1]))]


def _as_a_graph(x: Tensor, given: dict, name: str | None, bounds: Tensor | None) -> Tensor:
    """The graph form of the shift, which never runs a Triton kernel."""
    move = (given[key] for key in ("n_div", "stride", "bidirectional", "padding_mode"))
    return graph.shift(x, None, bounds, resolve(x, *move, None, name, -2, -1))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cuda")
