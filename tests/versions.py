"""Features that older versions of PyTorch do not have; docs/install.md lists them."""

from __future__ import annotations

import pytest
import torch

TORCH = tuple(int(part) for part in torch.__version__.split(".")[:2])


def not_on_torch_2_6(reason: str) -> pytest.MarkDecorator:
    """Skip the test on torch 2.6, which does not support ``reason``."""
    return pytest.mark.skipif(TORCH == (2, 6), reason=f"torch 2.6: {reason}")
