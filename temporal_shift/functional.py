"""The function that the package is about: its contract, its checks, and the choice of who computes it."""

from __future__ import annotations

import torch
from torch import Tensor

from .backends import autograd, traced
from .geometry import ShiftGeometry


def temporal_shift(
    x: Tensor,
    *,
    n_div: int = 8,
    stride: int = 1,
    bidirectional: bool = False,
    time_dim: int = -2,
    channel_dim: int = -1,
) -> Tensor:
    r"""Move a fraction of the channels along time.

    With :math:`w = \lfloor D / \text{n\_div} \rfloor` and :math:`s = \text{stride}`, the first ``w`` channels read the
    past and, if ``bidirectional``, the next ``w`` read the future; what lies outside the sequence is zero:

    .. math::
        y_{b,t,c} = x_{b,t-s,c} \quad (c < w), \qquad y_{b,t,c} = x_{b,t+s,c} \quad (w \le c < 2w), \qquad
        y_{b,t,c} = x_{b,t,c} \quad \text{otherwise}

    ::

        x  t=0 1 2        y  t=0 1 2      (stride 1, both ways)
        c0   a b c           . a b        past
        c1   d e f           e f .        future
        c2   g h i           g h i        untouched

    Args:
        x: Input, ``(..., L, D)``, or any layout that ``time_dim`` and ``channel_dim`` name; any dtype, any strides.
        n_div: One in ``n_div`` channels moves, per direction: at least 1 (at least 2 if ``bidirectional``), at most
            ``D``. The default, 8, is the one of the Temporal Shift Module (Lin et al., ICCV 2019).
        stride: How many frames they move. Negative swaps past and future, 0 is the identity, and a stride of ``L`` or
            more leaves only zeros in the moved channels.
        bidirectional: Whether a second group of channels reads the future.
        time_dim: The dim of the frames.
        channel_dim: The dim of the channels.

    Returns:
        A new tensor of ``x``'s shape, dtype and device. For the backward nothing of ``x`` is kept.

    Raises:
        TypeError: If ``x`` is not a tensor, or an argument is not of its type.
        ValueError: If ``n_div`` does not fit the channels, a dim does not exist, or both dims are the same.

    Example:
        >>> x = torch.arange(1.0, 7.0).reshape(1, 3, 2)
        >>> temporal_shift(x, n_div=2)
        tensor([[[0., 2.],
                 [1., 4.],
                 [3., 6.]]])

    Source: Shen, Liu, Zhou, "Mingling or Misalignment?", ICASSP 2023, section 2.1.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a torch.Tensor, not {type(x).__name__}")
    _check_whole("n_div", n_div)
    _check_whole("stride", stride)
    _check_flag("bidirectional", bidirectional)
    time_dim, channel_dim = _resolve_dims(x, time_dim, channel_dim)
    channels = x.shape[channel_dim]
    geometry = ShiftGeometry.of(channels, n_div, stride, bidirectional, time_dim=time_dim, channel_dim=channel_dim)
    if torch.compiler.is_compiling():  # a plain graph fuses with its neighbours, an opaque op would not
        return traced.shift(x, geometry)
    return autograd.shift(x, geometry)


def _resolve_dims(x: Tensor, time_dim: int, channel_dim: int) -> tuple[int, int]:
    if x.dim() < 2:
        raise ValueError(f"x of shape {tuple(x.shape)} must have a time and a channel dim: at least 2 dims")
    resolved = []
    for name, dim in (("time_dim", time_dim), ("channel_dim", channel_dim)):
        _check_whole(name, dim)
        if not -x.dim() <= dim < x.dim():
            raise ValueError(f"{name}={dim} is no dim of x, whose shape is {tuple(x.shape)}")
        resolved.append(dim % x.dim())
    if resolved[0] == resolved[1]:
        raise ValueError(f"time_dim={time_dim} and channel_dim={channel_dim} are the same dim of {tuple(x.shape)}")
    return resolved[0], resolved[1]


def _check_whole(name: str, value: object) -> None:
    if not isinstance(value, (int, torch.SymInt)) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")
