"""The version of PyTorch, for tests that older versions cannot pass."""

from __future__ import annotations

import pytest
import torch

TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])


def not_on_torch_2_6(reason: str) -> pytest.MarkDecorator:
    """Skip the test on torch 2.6. ``reason`` says why it fails there."""
    return pytest.mark.skipif(TORCH == (2, 6), reason=f"torch 2.6: {reason}")
