"""Relative attention on the CPU, one sequence and a block of frames after another.

The products of all frames with all ``2L - 1`` relative positions are twice what is needed: frame ``i`` meets ``L`` of
them. A block of frames meets hardly more, ``L`` and its own length, and what it meets fits into the processor's caches,
where a view with another stride turns positions into frames. What is kept for the backward are the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

_FRAMES = 64  # of a block: 32 to 128 take the same time within a tenth at L = 374


def attention(
    q: Tensor, k: Tensor, v: Tensor, table: Tensor, bias: Tensor | None, plain: Callable[..., Tensor]
) -> Tensor:
    """As :func:`.attention.relative_attention`; ``plain`` is the same where gradients have gradients."""
    if torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v, table)):
        return _Attention.apply(q, k, v, table, bias, plain)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(q, k, v, table, bias, q.new_empty(1, *q.shape[1:3], q.shape[2]))


def _forward(q: Tensor, k: Tensor, v: Tensor, table: Tensor, bias: Tensor | None, weights: Tensor) -> Tensor:
    """The output; ``weights``, ``(B, H, L, L)``, are filled, or ``(1, H, L, L)`` with one sequence after another's."""
    batch, _, length, dim = q.shape
    scale = dim**-0.5
    y = torch.empty_like(q)
    flipped = table.flip(0)
    for n in range(batch):
        scores = weights[n % weights.shape[0]]
        queries, keys = q[n] * scale, k[n] * scale
        torch.bmm(queries, k[n].mT, out=scores)
        for block, rows in _blocks(length):
            scores[:, block] += _skewed(queries[:, block] @ flipped[rows].mT)
            scores[:, :, block] += _skewed(keys[:, block] @ table[rows].mT).mT
        if bias is not None:
            scores += bias[n % bias.shape[0]]
        torch.softmax(scores, dim=-1, out=scores)
        y[n] = torch.bmm(scores, v[n])
    return y


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, table: Tensor, bias: Tensor | None, plain: Callable[..., Tensor]
    ) -> Tensor:
        weights = q.new_empty(*q.shape[:3], q.shape[2])
        y = _forward(q, k, v, table, bias, weights)
        ctx.plain = plain
        ctx.save_for_backward(q, k, v, table, bias, weights)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, table, bias, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted
            wanted = [x for x in (q, k, v, table) if x.requires_grad]
            grads = iter(torch.autograd.grad(ctx.plain(q, k, v, table, bias), wanted, grad, create_graph=True))
            return *(next(grads) if x.requires_grad else None for x in (q, k, v, table)), None, None
        batch, heads, length, dim = q.shape
        flipped = table.flip(0)
        to_q, to_k, to_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        to_table, to_flipped = torch.zeros_like(table), torch.zeros_like(table)
        products = {
            frames: q.new_zeros(heads, frames, length + frames - 1)  # zero where no frame is, and it stays so
            for frames in {block.stop - block.start for block, _ in _blocks(length)}
        }
        to_weights, to_scores = (q.new_empty(heads, length, length) for _ in range(2))
        for n in range(batch):
            to_v[n] = torch.bmm(weights[n].mT, grad[n])
            torch.bmm(grad[n], v[n].mT, out=to_weights)
            torch._softmax_backward_data(to_weights, weights[n], -1, weights.dtype, grad_input=to_scores)
            to_scores *= dim**-0.5
            to_query, to_key = torch.bmm(to_scores, k[n]), torch.bmm(to_scores.mT, q[n])
            for block, rows in _blocks(length):
                part = products[block.stop - block.start]
                flat = part.view(-1, part.shape[-1])
                _skewed(part).copy_(to_scores[:, block])
                to_query[:, block] += part @ flipped[rows]
                to_flipped[rows].addmm_(flat.mT, q[n][:, block].reshape(-1, dim))
                _skewed(part).copy_(to_scores[:, :, block].mT)
                to_key[:, block] += part @ table[rows]
                to_table[rows].addmm_(flat.mT, k[n][:, block].reshape(-1, dim))
            to_q[n], to_k[n] = to_query, to_key
        return to_q, to_k, to_v, to_table + to_flipped.flip(0), None, None


def _blocks(length: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of frames, each with the rows of the table that it meets."""
    for start in range(0, length, _FRAMES):
        stop = min(start + _FRAMES, length)
        yield slice(start, stop), slice(length - stop, 2 * length - 1 - start)


def _skewed(products: Tensor) -> Tensor:
    """A view of the ``(H, m, L + m - 1)`` products of ``m`` frames: of the last frame the first ``L``, and so on."""
    heads, frames, width = products.shape
    strides = (products.stride(0), width - 1, 1)
    return products.as_strided((heads, frames, width - frames + 1), strides, products.storage_offset() + frames - 1)
