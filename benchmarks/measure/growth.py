"""Growth of the time of a shift with each dimension, ``n_div`` and ``stride``: a power law, fitted to medians."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from temporal_shift import temporal_shift

from .measurements import OURS, Count
from .timing import Functions, sampled

# shapes: large enough that the overhead of a call is negligible
SHAPES = {
    "B": {size: (size, 374, 768) for size in (4, 8, 16, 32)},
    "L": {size: (8, size, 768) for size in (187, 374, 748, 1496)},
    "D": {size: (8, 374, size) for size in (384, 768, 1536, 3072)},
}
QUICK = {"B": {2: (2, 16, 32), 4: (4, 16, 32), 8: (8, 16, 32)}}
ARGUMENTS = {"n_div": (4, 8, 16, 32), "stride": (1, 2, 4, 8)}


def measure_growth(setting: str, given: dict, device: str, seconds: float, *, quick: bool = False) -> Iterator[Count]:
    """Yield a count per dimension, then one for ``n_div`` and one for ``stride``.

    A count has the seconds at each size and the exponent with its standard error. The counts of dimensions also have
    these figures for a clone.
    """
    for dim, sizes in (QUICK if quick else SHAPES).items():
        with torch.inference_mode():
            inputs = {size: torch.randn(shape, device=device) for size, shape in sizes.items()}
            ours = {size: _shift(x, given) for size, x in inputs.items()}
            floor = {size: x.clone for size, x in inputs.items()}
            yield _fitted(dim, setting, {OURS: ours, "clone": floor}, device, seconds)
    x = torch.randn((8, 16, 32) if quick else (8, 374, 768), device=device)
    for argument, sizes in ARGUMENTS.items():
        with torch.inference_mode():
            ours = {size: _shift(x, {**given, argument: size}) for size in sizes}
            yield _fitted(argument, setting, {OURS: ours}, device, seconds)


def _shift(x: Tensor, given: dict):
    return lambda: temporal_shift(x, **given)


def _fitted(dim: str, setting: str, forms: dict[str, Functions], device: str, seconds: float) -> Count:
    functions = {f"{form} {size}": function for form, sizes in forms.items() for size, function in sizes.items()}
    samples = sampled(functions, device=device, seconds=seconds)
    figures: dict = {"dim": dim, "sizes": list(forms[OURS])}
    for form, sizes in forms.items():
        medians = [float(f"{statistics.median(samples[f'{form} {size}']):.5g}") for size in sizes]
        slope, error = exponent(list(sizes), medians)
        figures |= {f"{form}, s": medians, f"{form}, exponent": slope, f"{form}, standard error": error}
    return Count("growth of time", figures, f"{dim}, {setting}")


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Fit ``seconds = c * size ** exponent`` to logarithms by least squares: the exponent and its standard error."""
    x, y = np.log(sizes), np.log(seconds)
    x, y = x - x.mean(), y - y.mean()
    slope = x @ y / (x @ x)
    error = np.sqrt(((y - slope * x) ** 2).sum() / (len(x) - 2) / (x @ x))
    return round(float(slope), 3), round(float(error), 3)
