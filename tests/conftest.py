"""What every test may rely on."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported; before any test can do that

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # tests side by side share the cores
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(workers)))

settings.register_profile("project", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def poisoned(monkeypatch):
    """Fill what is allocated without a value with NaN, so that a byte that nobody wrote is seen."""
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        allocate = getattr(owner, name)

        def poison(*args, allocate=allocate, **kwargs):
            memory = allocate(*args, **kwargs)
            return memory.fill_(float("nan")) if memory.is_floating_point() else memory

        monkeypatch.setattr(owner, name, poison)


@pytest.fixture(scope="module")
def one_thread():
    """Nets this small gain nothing from more, and on a busy machine torch's threads wait for each other for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
