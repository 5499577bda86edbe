"""Settings and fixtures of all tests."""

from __future__ import annotations

import gc
import os

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it at its first import

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # parallel workers share the cores
    threads = max(1, (os.cpu_count() or 1) // int(workers))
    torch.set_num_threads(threads)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # for processes that tests start

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _no_garbage_in_imports():
    """Hide imported modules from the garbage collector, which the Trainer runs in full several times for each run."""
    gc.freeze()


def pytest_unconfigure():
    gc.unfreeze()  # otherwise, Triton's bindings report frozen objects as leaks at exit


@pytest.fixture
def poisoned(monkeypatch):
    """Fill uninitialized floating-point memory with NaN, so that a test finds elements that are not written."""
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        allocate = getattr(owner, name)

        def poison(*args, allocate=allocate, **kwargs):
            memory = allocate(*args, **kwargs)
            return memory.fill_(float("nan")) if memory.is_floating_point() else memory

        monkeypatch.setattr(owner, name, poison)


@pytest.fixture(scope="module")
def one_thread():
    """Run torch on one thread. Small nets are not faster on more, and threads wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
