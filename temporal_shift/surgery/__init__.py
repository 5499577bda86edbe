"""The shift put into a model that exists, and taken out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

from torch import nn
from torch.utils.hooks import RemovableHandle

from ..layers.layouts import check_placement, layout_of
from ..layers.shift import TemporalShift
from .hooks import AddToOutput, ForgetInput, Hook, KeepInput, ShiftInput, Site, named

Model = TypeVar("Model", bound=nn.Module)
Where: TypeAlias = type[nn.Module] | tuple[type[nn.Module], ...] | str | Callable[[str, nn.Module], bool]


def add_temporal_shift(
    model: Model,
    where: Where,
    *,
    placement: str = "inplace",
    branch: str | None = None,
    n_div: int = 8,
    stride: int = 1,
    bidirectional: bool = False,
    padding_mode: str = "zeros",
    groups: Sequence[tuple[int, int]] | None = None,
    time_dim: int | None = None,
    channel_dim: int | None = None,
) -> Model:
    r"""Put a shift into the chosen modules of a model, which keeps its class, its names and its ``state_dict``.

    A chosen module that computes :math:`f(x)` computes from then on

    - ``placement="inplace"``: :math:`f(\text{shift}(x))`. The word is the paper's: ``x`` itself is not overwritten;
    - ``placement="residual"``: :math:`f(x) + \text{shift}(x) - x`, so that a model that adds it to ``x`` computes
      :math:`\text{shift}(x) + f(x)`, up to rounding. Channels that do not move are those of :math:`f(x)`, bit for bit.

    Where a norm or another module stands between ``x`` and its sum with the branch, ``where`` chooses the block whose
    input the skip carries, and ``branch`` names the submodule of it whose output gains :math:`\text{shift}(x) - x`. It
    is best the last one before the sum, as a dropout behind it drops what it gains: ``"dropout1"`` of
    ``nn.TransformerEncoderLayer``, ``"dropout"`` of Hugging Face's ``Wav2Vec2EncoderLayer`` and of its pre-norm kin,
    ``"bn2"`` of a ResNet's ``BasicBlock`` (but not of one whose skip is a ``downsample`` and carries no ``x``).

    The weights of the Temporal Shift Module (Lin et al., ICCV 2019, mit-han-lab/temporal-shift-module) want
    ``stride=-1, bidirectional=True, n_div=8``: there the first group of channels reads the future and the second the
    past. Its "residual shift" is what ``placement="inplace"`` on the first convolution of each block is here (the skip
    keeps the frames as they are), and its keys ``conv1.net.weight`` are those of ``TemporalShift(conv1)``; with the
    shift put in by this function the key is ``conv1.weight``.

    Args:
        model: Any model; it is changed, and returned.
        where: The modules: a class or a tuple of classes; a regular expression that a whole name in
            ``model.named_modules()`` matches, as PEFT's ``target_modules``; or a function of name and module.
        placement: ``"inplace"`` (default) or ``"residual"``.
        branch: With ``"residual"``, the submodule of each chosen module whose output gains; a path with dots goes
            deeper. Its first call in a forward of the module is meant. Default: the chosen module itself.
        n_div: One in ``n_div`` channels moves, per direction. Default: 8.
        stride: How many frames they move; with 0 the model computes what it did. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: no.
        padding_mode: What is read outside a sequence: ``"zeros"`` (default), ``"replicate"`` or ``"circular"``.
        groups: ``[(channels, frames), ...]`` instead of the three above ``padding_mode``.
        time_dim: The dim of the frames. Default: what the chosen module expects, as in :class:`TemporalShift`; if its
            class does not say, what ``branch`` does.
        channel_dim: The dim of the channels. Default: likewise.

    Shape:
        ``x`` is the first positional argument of a chosen module (the query alone of ``nn.MultiheadAttention``), or, if
        it is called by name, the first parameter of its ``forward``: a tensor, a ``PackedSequence`` or a nested tensor.
        With ``"residual"`` the output that gains has its shape, or is a tuple whose first element has; its dtype
        becomes that of the sum with ``x``.

        Frames that a ``src_key_padding_mask`` (or ``tgt_key_padding_mask``) of the chosen module marks are shifted as
        zeros, so that they reach no other frame. Elsewhere padding is not known: a shift that only reads the past (one
        way, ``stride`` > 0, not ``"circular"``) brings no trailing padding into a valid frame, and one both ways does.

    Raises:
        TypeError: If ``where`` is none of these. When called: if the output that gains is no tensor.
        ValueError: If ``placement`` is not known; if nothing is chosen, or a module that has a shift; if ``branch`` is
            given without ``"residual"``, or a chosen module has none of that name. Then nothing is changed. When
            called: as :func:`temporal_shift.temporal_shift`; if the output that gains does not have the shape of
            ``x``; if a module does not call its ``branch``, or activation checkpointing recomputes its ``forward``
            without its hooks, as that of Hugging Face's layers does (a shift without ``branch`` allows that).

    Example:
        >>> layer = nn.TransformerEncoderLayer(32, 4, batch_first=True)
        >>> model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        >>> model = add_temporal_shift(model, nn.TransformerEncoderLayer, placement="residual", branch="dropout1")
        >>> list(find_temporal_shifts(model))
        ['layers.0', 'layers.1']
        >>> model(torch.randn(2, 50, 32)).shape
        torch.Size([2, 50, 32])

    Source: Shen, Liu, Zhou, ICASSP 2023, for the placements.
    """
    check_placement(placement, ("inplace", "residual"))
    if branch is not None and placement != "residual":
        raise ValueError(f'branch={branch!r} needs placement="residual": with placement={placement!r} it must be None')
    chosen = _choose(model, where)
    for name, module in chosen:
        if _shift_of(module) is not None:
            raise ValueError(f"{named(name, module)} has a shift: it must be taken out first, by remove_temporal_shift")
    branches = [_branch(name, module, branch) for name, module in chosen]
    planned: list[tuple[Callable[..., RemovableHandle], Hook, dict[str, bool]]] = []
    for (name, module), gaining in zip(chosen, branches, strict=True):
        time_of_module, channel_of_module = _layout(module, gaining)
        shift = TemporalShift(
            n_div=n_div,
            stride=stride,
            bidirectional=bidirectional,
            padding_mode=padding_mode,
            groups=groups,
            time_dim=time_of_module if time_dim is None else time_dim,
            channel_dim=channel_of_module if channel_dim is None else channel_dim,
        )
        site = Site(name, module, branch, shift)
        if placement == "inplace":
            planned += [(module.register_forward_pre_hook, ShiftInput(site), {})]
        else:
            planned += [
                (module.register_forward_pre_hook, KeepInput(site), {}),
                (gaining.register_forward_hook, AddToOutput(site), {}),
                (module.register_forward_hook, ForgetInput(site), {"always_call": True}),
            ]
    for register, hook, options in planned:
        hook.key = register(hook, with_kwargs=True, **options).id
    return model


def remove_temporal_shift(model: Model, where: Where | None = None) -> Model:
    """Take out the shifts that :func:`add_temporal_shift` put in: all, or those of the modules that ``where`` chooses.

    Other hooks of the model stay. What has no shift is left as it is.

    Args:
        model: The model, or a copy of one; it is changed, and returned.
        where: As in :func:`add_temporal_shift`. Default: everywhere.

    Raises:
        TypeError: If ``where`` is no way to choose.
        ValueError: If it chooses nothing.

    Example:
        >>> model = add_temporal_shift(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), nn.Linear)
        >>> find_temporal_shifts(remove_temporal_shift(model, "0"))
        {'1': TemporalShift(n_div=8, stride=1, bidirectional=False)}
    """
    doomed = None if where is None else {_shift_of(module) for _, module in _choose(model, where)}
    for module in model.modules():
        before = (module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs)
        after = (module._forward_hooks, module._forward_hooks_with_kwargs, module._forward_hooks_always_called)
        for hooks, *flags in (before, after):
            for key, hook in list(hooks.items()):
                if isinstance(hook, Hook) and (doomed is None or hook.site.shift in doomed):
                    for entries in (hooks, *flags):
                        entries.pop(key, None)
    return model


def find_temporal_shifts(model: nn.Module) -> dict[str, TemporalShift]:
    """The shifts that :func:`add_temporal_shift` put in, by the names of the modules that it was told to choose.

    Example:
        >>> find_temporal_shifts(add_temporal_shift(nn.Sequential(nn.Conv1d(8, 8, 3)), nn.Conv1d, n_div=4))
        {'0': TemporalShift(n_div=4, stride=1, bidirectional=False, time_dim=-1, channel_dim=-2)}
    """
    shifts = ((name, _shift_of(module)) for name, module in model.named_modules())
    return {name: shift for name, shift in shifts if shift is not None}


def _choose(model: nn.Module, where: Any) -> list[tuple[str, nn.Module]]:
    classes = where if isinstance(where, tuple) else (where,)
    by_class = bool(classes) and all(isinstance(one, type) and issubclass(one, nn.Module) for one in classes)
    by_function = callable(where) and not isinstance(where, (type, nn.Module))
    if not (by_class or by_function or isinstance(where, str)):
        raise TypeError(
            f"where={where!r} chooses no module: it must be a class of modules or a tuple of them, a regular "
            "expression for names, or a function of name and module"
        )
    names = list(model.named_modules(remove_duplicate=False))  # a shared module may be chosen by any of its names
    chosen: dict[nn.Module, str] = {}
    for name, module in names:
        if by_class:
            right = isinstance(module, classes)
        else:
            right = re.fullmatch(where, name) is not None if isinstance(where, str) else where(name, module)
        if right:
            chosen.setdefault(module, name)
    if not chosen:
        few = [repr(name) for name, _ in names if name][:5]
        has = ", ".join([*few, "..."]) if few else "none but itself"
        raise ValueError(f"where={where!r} matches no module of {type(model).__name__}, which has {has}")
    return [(name, module) for module, name in chosen.items()]


def _branch(name: str, module: nn.Module, branch: str | None) -> nn.Module:
    try:
        return module if branch is None else module.get_submodule(branch)
    except AttributeError:
        known = ", ".join(repr(child) for child, _ in module.named_children()) or "none"
        raise ValueError(f"branch={branch!r} is no submodule of {named(name, module)}, which has {known}") from None


def _layout(module: nn.Module, branch: nn.Module) -> tuple[int, int]:
    layout = layout_of(module)
    return layout_of(branch) if layout == layout_of(None) else layout


def _shift_of(module: nn.Module) -> TemporalShift | None:
    hooks: Iterable[Any] = module._forward_pre_hooks.values()
    return next((hook.site.shift for hook in hooks if isinstance(hook, Hook)), None)
