"""The functions ``temporal_shift`` and ``temporal_shift_add``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .core import arguments, dispatch, graph
from .core.torch_private import has_symbolic_sizes, is_traced


def temporal_shift(
    x: Tensor,
    *,
    n_div: int | None = None,
    stride: int | None = None,
    bidirectional: bool | None = None,
    padding_mode: str = "zeros",
    groups: Sequence[tuple[int, int]] | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    time_dim: int = -2,
    channel_dim: int = -1,
    inplace: bool = False,
) -> Tensor:
    r"""Move a fraction of the channels along time.

    With :math:`w = \lfloor D / \text{n\_div} \rfloor` and :math:`s = \text{stride}`, the first ``w`` channels read the
    past and, if ``bidirectional``, the next ``w`` read the future. Frames outside the sequence are zero, or as
    ``padding_mode`` defines:

    .. math::
        y_{b,t,c} = x_{b,t-s,c} \quad (c < w), \qquad
        y_{b,t,c} = x_{b,t+s,c} \quad (w \le c < 2w \text{, if bidirectional}), \qquad
        y_{b,t,c} = x_{b,t,c} \quad \text{otherwise}

    ::

        x  t=0 1 2        y  t=0 1 2      (stride 1, bidirectional)
        c0   a b c           . a b        past
        c1   d e f           e f .        future
        c2   g h i           g h i        unchanged

    Args:
        x: Input, ``(..., L, D)``, or any layout given by ``time_dim`` and ``channel_dim``. Any strides,
            and any dtype that torch can copy and fill with zeros.
        n_div: One in ``n_div`` channels moves, per direction: at least 1 (at least 2 if ``bidirectional``), at most
            ``D``. Default: 8, as in the Temporal Shift Module (Lin et al., ICCV 2019).
        stride: Frames by which they move, in ``[-2**62, 2**62]``. Negative values swap past and future, and 0 moves
            nothing. If ``abs(stride) >= L``, the moved channels contain only padding, unless ``padding_mode`` is
            ``"circular"``. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: ``False``.
        padding_mode: What is read outside a sequence: ``"zeros"`` (default), ``"replicate"`` (the first or last frame),
            or ``"circular"`` (the other end).
        groups: ``[(channels, frames), ...]`` in place of ``n_div``, ``stride`` and ``bidirectional``. From channel 0
            on, each group of ``channels`` channels reads ``frames`` frames earlier (later if negative). The other
            channels do not move. ``[(w, s), (w, -s)]`` is the bidirectional shift. Default: ``None``.
        lengths: Frames of each sequence, ``(B,)``, int32 or int64, on ``x``'s device. ``B`` is the first dim of ``x``
            other than time and channels. In general, ``lengths`` has the shape of the first ``k`` of these dims, for
            any ``k`` from 0 to all. A frame at or past the length of its sequence is padding: no other frame reads it,
            and its shift is zero. Default: ``None``, all frames are valid.
        cu_seqlens: Boundaries of sequences that are packed along time, ``(N + 1,)`` from 0 to ``L``, int32 or int64, on
            ``x``'s device: ``x`` is ``(..., L_1 + ... + L_N, D)``, and each sequence is shifted on its own. Default:
            ``None``.
        time_dim: The dim of the frames. Default: -2.
        channel_dim: The dim of the channels. Default: -1.
        inplace: Whether to write to ``x``. Only the channels that move change (with ``lengths`` or ``cu_seqlens``, also
            the padding). Default: ``False``.

    Returns:
        A new tensor of ``x``'s shape, dtype and device, or ``x`` if ``inplace``. In eager mode, ``x`` is not saved for
        the backward pass.

    Raises:
        TypeError: If ``x`` is not a dense, local tensor, or is quantized, or an argument has the wrong type.
        ValueError: If ``x`` has fewer than 2 dims. If ``n_div`` or ``groups`` do not fit the channels, ``groups`` is
            passed with an argument that it replaces, or a number of frames is outside ``[-2**62, 2**62]``. If
            ``padding_mode`` is unknown, a dim does not exist, or both dims are the same. If ``lengths`` and
            ``cu_seqlens`` are both passed, do not fit ``x``, or are on another device. In eager mode on the CPU, if a
            length is outside ``[0, L]``, or ``cu_seqlens`` does not start at 0, descends, or does not end at ``L``.
            (Otherwise the values are not checked: they are clamped, and frames outside all sequences are padding.) With
            ``inplace`` in eager mode, if elements of ``x`` share memory, if ``x`` is a leaf that requires grad or a
            view of such a leaf while autograd is enabled, if ``x`` is an inference tensor outside inference mode, or if
            ``torch.func.vmap`` batches ``lengths`` or ``cu_seqlens`` and not ``x``.
        RuntimeError: With ``inplace``, if torch forbids writing to ``x`` for another reason, for example to an output
            of ``unbind()``.

    Example:
        >>> x = torch.arange(1.0, 7.0).reshape(1, 3, 2)
        >>> temporal_shift(x, n_div=2)
        tensor([[[0., 2.],
                 [1., 4.],
                 [3., 6.]]])
        >>> temporal_shift(x, n_div=2, lengths=torch.tensor([2]), padding_mode="replicate")
        tensor([[[1., 2.],
                 [1., 4.],
                 [0., 0.]]])

    Source: Shen, Liu, Zhou, "Mingling or Misalignment?", ICASSP 2023, section 2.1.
    """
    return _shift(
        x, None, n_div, stride, bidirectional, padding_mode, groups, lengths, cu_seqlens, time_dim, channel_dim, inplace
    )


def temporal_shift_add(
    x: Tensor,
    residual: Tensor,
    *,
    n_div: int | None = None,
    stride: int | None = None,
    bidirectional: bool | None = None,
    padding_mode: str = "zeros",
    groups: Sequence[tuple[int, int]] | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    time_dim: int = -2,
    channel_dim: int = -1,
) -> Tensor:
    r"""Add ``residual`` to the shift of ``x``: :math:`y = \text{shift}(x) + r`.

    The Triton kernel computes the sum in one pass, whereas ``temporal_shift(x) + residual`` also writes and reads the
    shifted tensor. With ``lengths`` or ``cu_seqlens``, the sum in the padding is ``residual``.

    ::

        x  t=0 1 2      residual  t=0 1 2      y  t=0   1    2        (stride 1, one direction)
        c0   a b c                u v w           .+u  a+v  b+w       past
        c1   d e f                p q r           d+p  e+q  f+r       unchanged

    Args:
        x: Input, ``(..., L, D)``. ``x`` and the keyword arguments mean the same as in :func:`temporal_shift`.
        residual: The tensor to add, on ``x``'s device. It must broadcast to the shape of ``x``.

    Returns:
        A new tensor of ``x``'s shape and the dtype of ``x + residual``.

    Raises:
        TypeError: As :func:`temporal_shift`, and if ``residual`` is not a dense, local tensor, or is quantized.
        ValueError: As :func:`temporal_shift`, and if ``residual`` does not broadcast to ``x`` or is on another device.
        RuntimeError: If torch cannot add the two dtypes.

    Example:
        >>> x = torch.arange(1.0, 7.0).reshape(1, 3, 2)
        >>> temporal_shift_add(x, 10 * x, n_div=2)
        tensor([[[10., 22.],
                 [31., 44.],
                 [53., 66.]]])
    """
    if residual is None:  # for _shift(), None means no residual
        arguments.check_kind(residual, "residual")
    return _shift(
        x, residual, n_div, stride, bidirectional, padding_mode, groups, lengths, cu_seqlens, time_dim, channel_dim
    )


def _shift(
    x: Tensor,
    residual: Tensor | None,
    n_div: int | None,
    stride: int | None,
    bidirectional: bool | None,
    padding_mode: str,
    groups: Sequence[tuple[int, int]] | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    time_dim: int,
    channel_dim: int,
    inplace: bool = False,
) -> Tensor:
    """Validate the arguments and compute the shift, with ``graph`` if a compiler traces the call, else ``dispatch``."""
    traced = is_traced()
    ragged = None if lengths is None and cu_seqlens is None else "cu_seqlens" if lengths is None else "lengths"
    geometry = arguments.resolve(
        x, n_div, stride, bidirectional, padding_mode, groups, ragged, time_dim, channel_dim, traced
    )
    traced = traced or has_symbolic_sizes(x)
    bounds = None if ragged is None else arguments.check_bounds(x, lengths, cu_seqlens, geometry)
    if inplace is not False:
        arguments.check_flag("inplace", inplace)
        if traced:
            return graph.shift_(x, bounds, geometry)
        arguments.check_writable(x)
        return dispatch.shift_(x, bounds, geometry)
    if residual is not None:
        arguments.check_residual(x, residual)
        if residual.shape != x.shape:  # convert first: 0-dim tensors count less in type promotion
            residual = residual.to(torch.result_type(x, residual)).expand(x.shape)
    if traced:  # compilers can fuse the graph, but not an eager kernel
        return graph.shift(x, residual, bounds, geometry)
    return dispatch.shift(x, residual, bounds, geometry)
