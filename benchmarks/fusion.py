"""``python -m benchmarks fusion``: list the kernels that ``torch.compile`` generates for shifts and other operations.

Needs no GPU: the command traces each function on the CPU, moves the graph to a fake H100 and lets Inductor generate
code for it. The code does not run. The command uses internals of torch 2.13.
"""

from __future__ import annotations

import argparse
import copy
import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from temporal_shift import ShiftConv, temporal_shift, temporal_shift_add

SHAPE = (8, 374, 768)
ELEMENTS = math.prod(SHAPE)
H100 = SimpleNamespace(
    name="H100",
    major=9,
    minor=0,
    total_memory=80 << 30,
    L2_cache_size=50 << 20,
    multi_processor_count=132,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    regs_per_multiprocessor=65536,
    shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448,
    shared_memory_per_multiprocessor=233472,
    warp_size=32,
    is_integrated=0,
    gcnArchName=None,
)


def normalized(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def cases() -> dict[str, tuple[Callable[..., Tensor], int]]:
    """Each function with its number of inputs of shape ``SHAPE``."""
    return {
        "shift(x)": (temporal_shift, 1),
        "gelu(shift(x))": (lambda x: F.gelu(temporal_shift(x)), 1),
        "shift(gelu(x))": (lambda x: temporal_shift(F.gelu(x)), 1),
        "shift(x) + h": (temporal_shift_add, 2),
        "LayerNorm(shift(x) + h)": (lambda x, h: normalized(temporal_shift(x) + h), 2),
        "shift(LayerNorm(x))": (lambda x: temporal_shift(normalized(x)), 1),
        "shift(x) @ w": (lambda x: temporal_shift(x) @ x[0, : SHAPE[-1]].mT, 1),
        "ShiftConv(x)": (ShiftConv(SHAPE[-1]).eval(), 1),
        'ShiftConv(x), "inplace"': (ShiftConv(SHAPE[-1], placement="inplace").eval(), 1),
    }


def launches(function: Callable[..., Tensor], inputs: int) -> list[tuple[str, float | None]]:
    """The launches of the compiled function in order: Triton kernels and library calls.

    Each launch has its name and, for a kernel, the size of its index space, divided by the number of elements of
    ``SHAPE``. A library call has ``None`` instead.
    """
    source = inductor_code(graph_of(function, [torch.randn(SHAPE) for _ in range(inputs)]))
    found = re.findall(r"(triton_\w+)\.run\((.*), stream=|(extern_kernels\.\w+)\(", source[source.index("def call") :])
    return [
        (library, None) if library else (kernel, math.prod(map(int, re.findall(r" (\d+)\b", arguments))) / ELEMENTS)
        for kernel, arguments, library in found
    ]


def graph_of(function: Callable[..., Tensor], inputs: list[Tensor]) -> torch.fx.GraphModule:
    from torch._dynamo.backends.common import aot_autograd
    from torch._inductor.decomposition import select_decomp_table

    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> torch.fx.GraphModule:
        graphs.append(copy.deepcopy(graph))
        return graph

    torch.compiler.reset()
    backend = aot_autograd(fw_compiler=keep, decompositions=select_decomp_table())
    with torch.no_grad():
        torch.compile(function, backend=backend, fullgraph=True, dynamic=False)(*inputs)
    (graph,) = graphs
    return graph


def inductor_code(graph: torch.fx.GraphModule) -> str:
    from torch._inductor.debug import DebugContext
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    mode, device, inputs = FakeTensorMode(), torch.device("cuda:0"), []
    with pretended_gpu():
        for node in graph.graph.nodes:
            if "device" in node.kwargs:
                node.kwargs = {**node.kwargs, "device": device}
            value = node.meta.get("val")
            if isinstance(value, Tensor):
                meta = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
                node.meta["val"] = FakeTensor(mode, meta, device)
            if node.op == "placeholder":
                inputs.append(node.meta["val"])
        lowering = GraphLowering(graph, is_inference=True)
        handlers = V.set_graph_handler(lowering), V.set_fake_mode(mode), V.set_debug_handler(DebugContext())
        with handlers[0], handlers[1], handlers[2]:
            lowering.run(*inputs)
            code, _ = lowering.codegen()
    return code.value


def pretended_gpu() -> ExitStack:
    """Patch torch to report an H100 to Inductor."""
    import torch._inductor.async_compile
    import torch._inductor.scheduler
    import torch.utils._triton

    answers = {
        "is_available": True,
        "is_initialized": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H100,
        "_get_device_properties": H100,
        "get_device_capability": (9, 0),
    }
    stack = ExitStack()
    for name, answer in answers.items():
        stack.enter_context(mock.patch.object(torch.cuda, name, lambda *_, answer=answer: answer, create=True))
    stack.enter_context(mock.patch.object(torch._inductor.scheduler, "has_triton", return_value=True))
    stack.enter_context(mock.patch.object(torch._inductor.async_compile.AsyncCompile, "triton"))  # compile nothing
    stack.enter_context(mock.patch.object(torch.utils._triton, "triton_hash_with_backend", return_value=""))
    return stack


def main(argv: list[str]) -> None:
    argparse.ArgumentParser(
        prog="python -m benchmarks fusion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    for name, (function, inputs) in cases().items():
        print(name)
        for launch, elements in launches(function, inputs):
            print(f"    {launch}" if elements is None else f"    {launch}: {elements:.3g} × the elements of x")
