"""One of two processes that share a batch, for the gradients of every layer with weights.

Arguments of ``python -m tests.layers.two_processes``: the rank, a file for the rendezvous, and a
file for the gradients, which rank 0 writes.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from .cases import BATCH, CASES, first

WITH_WEIGHTS = [case for case in CASES if any(True for _ in case.make().parameters())]


def layer_and_input(case) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return case.make(), case.input()


def gradients(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    first(layer(x)).square().mean().backward()
    return {name.removeprefix("module."): parameter.grad for name, parameter in layer.named_parameters()}


def main(rank: int, meeting: str, output: str) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    found = {}
    for case in WITH_WEIGHTS:
        layer, x = layer_and_input(case)
        half = x[rank * BATCH // 2 : (rank + 1) * BATCH // 2]
        found[case.name] = gradients(DistributedDataParallel(layer), half)
    if rank == 0:
        torch.save(found, output)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
