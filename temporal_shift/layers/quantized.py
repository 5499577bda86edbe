"""ShiftLSTM and ShiftGRU with weights of 8 bits: what torch's ``quantize_dynamic`` puts in their place.

Importing this module enters them into torch's own table of what stands for what, so that
``quantize_dynamic(model, {ShiftLSTM})`` does what it does for an ``nn.LSTM``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch.ao.nn.quantized.dynamic as quantized
from torch import nn
from torch.ao.quantization import quantization_mappings

from .recurrent import ShiftedInput, ShiftGRU, ShiftLSTM


class _Quantized(ShiftedInput):
    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(self._shift(input), hx)  # type: ignore[misc]

    @classmethod
    def from_float(cls, module: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The quantized twin of a layer that ``quantize_dynamic`` found.

        Raises:
            ValueError: If the layer is one that torch cannot quantize in one piece.
        """
        if getattr(module, "proj_size", 0):
            raise ValueError(f"proj_size={module.proj_size} cannot be quantized by torch: it must be 0")
        if not module.bias:
            raise ValueError("bias=False cannot be quantized by torch: it must be True")
        if module.shift_every_layer and module.num_layers > 1:
            raise ValueError(
                "shift_every_layer=True cannot be quantized, since torch computes all layers in one call: it must be "
                "False, or the layers modules of their own"
            )
        plain = copy.copy(module)
        plain.__class__ = _PLAIN[type(module)]  # torch asks for its own class and for no subclass
        twin = super().from_float(plain, use_precomputed_fake_quant)  # type: ignore[misc]
        twin.__class__ = cls
        twin._set_shift(module.n_div, module.stride, module.bidirectional_shift, module.shift_every_layer)
        return twin


class QuantizedShiftLSTM(_Quantized, quantized.LSTM):
    """A :class:`ShiftLSTM` with quantized weights."""

    def _get_name(self) -> str:
        return "DynamicQuantizedShiftLSTM"


class QuantizedShiftGRU(_Quantized, quantized.GRU):
    """A :class:`ShiftGRU` with quantized weights."""

    def _get_name(self) -> str:
        return "DynamicQuantizedShiftGRU"


_PLAIN = {ShiftLSTM: nn.LSTM, ShiftGRU: nn.GRU}

quantization_mappings.DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS.update(
    {ShiftLSTM: QuantizedShiftLSTM, ShiftGRU: QuantizedShiftGRU}
)
