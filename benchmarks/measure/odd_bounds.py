"""Shifts with bounds that no sequence has, on a part of a larger tensor: ``python -m benchmarks.measure.odd_bounds``.

Run by ``python -m benchmarks gpu``, also under ``compute-sanitizer``. Exits with 1 if memory around the tensor changes,
or if valid bounds give another result than on the CPU.
"""

from __future__ import annotations

import itertools
import sys

import torch
from torch import Tensor

from temporal_shift import temporal_shift, temporal_shift_add

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
            temporal_shift_add(inside, inside, **arguments)
            same_outside = torch.equal(x, before)
            temporal_shift(inside, **arguments, inplace=True)
            x[AROUND : AROUND + FRAMES] = before[AROUND : AROUND + FRAMES]
            same_outside &= torch.equal(x, before)
            valid = bounds is None or bounds == VALID["cu_seqlens"]
            if not same_outside or (valid and device == "cuda" and not _as_on_the_cpu(y, big, given, name, tensor)):
                wrong.append(f"{mode}, stride {stride}, {name} {bounds}")
    print(f"{len(wrong)} wrong: {'; '.join(wrong)}" if wrong else "memory around the tensor did not change")
    sys.exit(bool(wrong))


def _of_bounds(bounds: list[int] | None) -> list[tuple[str | None, Tensor | None]]:
    if bounds is None:
        return [(None, None)]
    return [("cu_seqlens", torch.tensor(bounds)), ("lengths", torch.tensor(bounds[-1]))]


def _as_on_the_cpu(y: Tensor, big: Tensor, given: dict, name: str | None, tensor: Tensor | None) -> bool:
    expected = temporal_shift(big[AROUND : AROUND + FRAMES], **given, **({name: tensor} if name else {}))
    return torch.equal(y.cpu(), expected)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cuda")
