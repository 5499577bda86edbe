"""What importing the package costs and promises."""

from __future__ import annotations

import subprocess
import sys


def imported_by(statement: str) -> set[str]:
    script = f"import sys\n{statement}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_needs_torch_and_nothing_heavier():
    beyond_torch = imported_by("import temporal_shift") - imported_by("import torch")
    assert beyond_torch == {"temporal_shift"}


def test_a_cpu_shift_does_not_import_triton():
    shift = "import torch, temporal_shift; temporal_shift.temporal_shift(torch.zeros(1, 4, 8))"
    assert "triton" not in imported_by(shift)
