"""What the oldest supported versions cannot do."""

from __future__ import annotations

import pytest
import torch

TORCH_2_6 = torch.__version__.startswith("2.6.")


def not_on_torch_2_6(reason: str) -> pytest.MarkDecorator:
    """Skip the test on torch 2.6, which does not support what ``reason`` says."""
    return pytest.mark.skipif(TORCH_2_6, reason=f"torch 2.6: {reason}")
