"""Three timers for calls on a GPU. The functions take turns.

- Wall clock: calls in a loop, then one synchronization. It measures the slower of host and device.
- Device: the time between two CUDA events, with a cold cache. Before the first
  event, the GPU is kept busy for up to about 30 ms, while the host queues the call.
- CUDA graph: replayed calls, without Python and with a warm cache.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

import torch

from .devices import INTERPRETER

Functions = dict[str, Callable[[], object]]
Samples = dict[str, list[float]]
WALL, DEVICE, GRAPH = "wall clock", "device", "CUDA graph"
GPU_TIMERS = (WALL, DEVICE, GRAPH)
_LONG = 0.1  # seconds; functions that take longer get fewer rounds
_FLUSHED = 256 << 20  # bytes; larger than the L2 cache of a GPU
_CYCLES = 2e9  # clock cycles per second of a fast GPU


class Machine(Protocol):
    """Interface of a GPU for the timers."""

    rounds: int  # minimum number of rounds; slow functions need only 3
    trials: int  # calls for the warm-up, and to estimate the time of a call

    def synchronize(self) -> None: ...
    def flush(self) -> None: ...
    def keep_busy(self, seconds: float) -> None: ...
    def event(self) -> Any: ...
    def capture(self, function: Callable[[], object], calls: int) -> Callable[[], object]: ...


def gpu_samples(functions: Functions, timer: str, *, device: str, seconds: float) -> Samples:
    """Seconds per call of each function. The timer ``GRAPH`` leaves out functions that cannot be captured."""
    machine = InterpretedGpu() if device == INTERPRETER else Gpu()
    for function in functions.values():  # warm-up: compile, fill the allocator's cache
        for _ in range(machine.trials):
            function()
    sample = {WALL: _wall, DEVICE: _device, GRAPH: _graph}[timer]
    ways = {name: way for name, function in functions.items() if (way := sample(function, machine)) is not None}
    samples: Samples = {name: [] for name in ways}
    min_rounds = min((way.rounds for way in ways.values()), default=0)
    end = time.perf_counter() + seconds * len(ways)
    while time.perf_counter() < end or any(len(values) < min_rounds for values in samples.values()):
        for name in random.sample(list(ways), len(ways)):
            samples[name].append(ways[name]())
    return samples


class _Way:
    """A function that returns the seconds of one call, with its minimum number of rounds."""

    def __init__(self, run: Callable[[], float], took: float, machine: Machine):
        self._run, self.rounds = run, min(3 if took > _LONG else 15, machine.rounds)

    def __call__(self) -> float:
        return self._run()


def _wall(function: Callable[[], object], machine: Machine) -> _Way:
    took = _seconds(function, machine, machine.trials)
    calls = max(machine.trials, min(100, math.ceil(2e-3 / took)))
    return _Way(lambda: _seconds(function, machine, calls), took, machine)


def _seconds(function: Callable[[], object], machine: Machine, calls: int) -> float:
    machine.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    machine.synchronize()
    return (time.perf_counter() - start) / calls


def _device(function: Callable[[], object], machine: Machine) -> _Way:
    took = _seconds(function, machine, machine.trials)  # not less than the time of the host

    def run() -> float:
        machine.synchronize()
        machine.flush()
        return _between_events(function, machine, took)

    return _Way(run, took, machine)


def _between_events(function: Callable[[], object], machine: Machine, busy: float) -> float:
    start, end = machine.event(), machine.event()
    machine.keep_busy(1.5 * min(busy, 0.02) + 5e-5)
    start.record()
    function()
    end.record()
    machine.synchronize()
    return start.elapsed_time(end) / 1e3


def _graph(function: Callable[[], object], machine: Machine) -> _Way | None:
    took = _seconds(function, machine, machine.trials)
    calls = max(1, min(20, math.ceil(1e-3 / took)))
    try:
        replay = machine.capture(function, calls)
        replay()
        machine.synchronize()
    except RuntimeError as error:
        cause = error.__context__ or error  # capture_end() also raises after a failed capture
        print(f"no CUDA graph: {str(cause).partition(chr(10))[0]}", flush=True)
        return None
    return _Way(lambda: _between_events(replay, machine, 5e-5) / calls, took, machine)


class Gpu:
    rounds, trials = 15, 3
    _flushing: torch.Tensor | None = None  # one buffer per process

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def flush(self) -> None:
        if Gpu._flushing is None:
            Gpu._flushing = torch.empty(_FLUSHED // 4, dtype=torch.int32, device="cuda")
        Gpu._flushing.zero_()

    def keep_busy(self, seconds: float) -> None:
        torch.cuda._sleep(int(seconds * _CYCLES))

    def event(self) -> Any:
        return torch.cuda.Event(enable_timing=True)

    def capture(self, function: Callable[[], object], calls: int) -> Callable[[], object]:
        """Capture ``calls`` calls on a side stream after a warm-up, and return a function that replays them.

        ``torch.cuda.graph`` is not used, because it empties the allocator's cache.
        """
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                function()
            torch.cuda.synchronize()
            graph.capture_begin()
            try:
                for _ in range(calls):
                    function()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(stream)
        return graph.replay


class InterpretedGpu:
    """Runs the timers on a CPU, for tests. The figures mean nothing."""

    rounds, trials = 1, 1

    class _Event:
        def record(self) -> None:
            self.time = time.perf_counter()

        def elapsed_time(self, end: Any) -> float:
            return 1e3 * (end.time - self.time)

    def synchronize(self) -> None: ...

    def flush(self) -> None: ...

    def keep_busy(self, seconds: float) -> None: ...

    def event(self) -> Any:
        return self._Event()

    def capture(self, function: Callable[[], object], calls: int) -> Callable[[], object]:
        return lambda: [function() for _ in range(calls)]
