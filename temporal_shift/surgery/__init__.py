"""Add temporal shifts to an existing model, find them, remove them, and save their settings."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..core import torch_private
from ..layers.layouts import check_placement, layout_for
from ..layers.shift import TemporalShift
from .hooks import (
    AddToOutput,
    ForgetInput,
    Hook,
    KeepInput,
    ShiftInput,
    Site,
    hide_from_repr,
    named,
    show_in_repr,
    site_of,
    sites_of,
    warn_of_unsaved_shifts,
)

Model = TypeVar("Model", bound=nn.Module)
Where: TypeAlias = type[nn.Module] | tuple[type[nn.Module], ...] | str | Callable[[str, nn.Module], bool]


def add_temporal_shift(
    model: Model,
    where: Where,
    *,
    placement: str = "inplace",
    branch: str | None = None,
    n_div: int | None = None,
    stride: int | None = None,
    bidirectional: bool | None = None,
    padding_mode: str = "zeros",
    groups: Sequence[tuple[int, int]] | None = None,
    time_dim: int | None = None,
    channel_dim: int | None = None,
) -> Model:
    r"""Add a shift to chosen modules of a model, without changing its class, its names or its ``state_dict``.

    A chosen module that computed :math:`f(x)` then computes

    - ``placement="inplace"``: :math:`f(\text{shift}(x))`. The name comes from Shen et al.: ``x`` is not overwritten;
    - ``placement="residual"``: :math:`f(x) + \text{shift}(x) - x`. A model that adds this to ``x`` computes
      :math:`\text{shift}(x) + f(x)`, up to rounding. In channels that do not move, the output is unchanged.

    If a norm or another module lies between ``x`` and the sum, ``where`` chooses the block with the skip connection,
    and ``branch`` names the submodule that gets :math:`\text{shift}(x) - x` added to its output. This should be the
    last submodule before the sum, because a dropout after it also drops what is added: ``"dropout1"`` of
    ``nn.TransformerEncoderLayer``, ``"dropout"`` of Hugging Face's ``Wav2Vec2EncoderLayer`` and its pre-norm form,
    ``"bn2"`` of a ResNet's ``BasicBlock`` (unless its skip is a ``downsample``, which does not carry ``x``).

    Weights of the Temporal Shift Module (Lin et al., ICCV 2019, mit-han-lab/temporal-shift-module) need
    ``stride=-1, bidirectional=True, n_div=8``: there the first group of channels reads the future and the second the
    past. Its "residual shift" is ``placement="inplace"`` on the first convolution of each block. Its checkpoints have
    the key ``conv1.net.weight``, like ``TemporalShift(conv1)``; this function keeps the key ``conv1.weight``.

    Args:
        model: An ``nn.Module``. It is changed and returned.
        where: The modules: a class or a tuple of classes; a regular expression for whole names in
            ``model.named_modules()``, like PEFT's ``target_modules``; or a function of name and module.
        placement: ``"inplace"`` (default) or ``"residual"``.
        branch: With ``"residual"``, the submodule of each chosen module that gets :math:`\text{shift}(x) - x` added to
            its output, in the first call of each forward; a path with dots is allowed. Default: ``None``, the chosen
            module itself.
        n_div: One in ``n_div`` channels moves, per direction. Default: 8.
        stride: Frames by which they move; with 0 the output of the model does not change. Default: 1.
        bidirectional: Whether a second group of channels reads the future. Default: ``False``.
        padding_mode: What is read outside a sequence: ``"zeros"`` (default), ``"replicate"`` or ``"circular"``.
        groups: ``[(channels, frames), ...]`` in place of ``n_div``, ``stride`` and ``bidirectional``. Default:
            ``None``.
        time_dim: The dim of the frames. Default: the dim that the chosen module or, if its class is unknown, ``branch``
            expects, as in :class:`TemporalShift`.
        channel_dim: The dim of the channels. Default: as for ``time_dim``.

    Shape:
        ``x`` is the first argument of a chosen module (only the query of ``nn.MultiheadAttention``), by position or by
        the name of the first parameter of its ``forward``: a tensor, a ``PackedSequence`` or a nested tensor. With
        ``"residual"``, the output of ``branch`` has the shape of ``x``, or is a tuple with a first element of this
        shape; its dtype becomes the dtype of the sum with ``x``.

        Frames that a ``src_key_padding_mask`` (or ``tgt_key_padding_mask``) of the chosen module marks are shifted as
        zeros, so no other frame reads them. Other padding is unknown to the shift. A shift that reads only the past
        (one direction, ``stride`` > 0, not ``"circular"``) moves no trailing padding into a valid frame; a
        bidirectional shift does.

    Returns:
        ``model``.

    Raises:
        TypeError: If an argument has the wrong type. When the model is called, if the output of ``branch`` is neither
            a tensor nor a ``PackedSequence``, nor a tuple with one of them first; if a padding mask is neither bool nor
            floating point; or as :func:`temporal_shift.temporal_shift`.
        ValueError: If ``placement`` is unknown; if ``where`` is not a valid regular expression, or matches no module,
            one that is never called with its hooks (such as an ``nn.ModuleList``, the ``out_proj`` of an
            ``nn.MultiheadAttention`` or a ``ScriptModule``), or one that already has a shift; if ``branch`` is passed
            without ``"residual"`` or is not a submodule; as :class:`TemporalShift`. The model then does not change.
            When the model is called: as :func:`temporal_shift.temporal_shift`; if a module gets no first argument; if a
            padding mask does not fit ``x``; if the output of ``branch`` does not have the shape of ``x``; if a module
            does not call its ``branch``; if, with ``branch``, activation checkpointing recomputes the ``forward`` of a
            module without its hooks, as transformers does after version 5.20.

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
        raise ValueError(f"branch must be None with placement={placement!r}, got {branch!r}")
    chosen = _choose(model, where)
    for name, module in chosen:
        _check_called(name, module, model)
        if site_of(module) is not None:
            raise ValueError(f"{named(name, module)} already has a temporal shift; call remove_temporal_shift() first")
    branches = [_branch(name, module, branch) for name, module in chosen]
    planned: list[tuple[Callable[..., RemovableHandle], Hook, dict[str, bool]]] = []
    sites: list[tuple[nn.Module, Site]] = []
    for (name, module), owner in zip(chosen, branches, strict=True):
        of_time, of_channels = layout_for([module, owner], time_dim, channel_dim)
        shift = TemporalShift(
            n_div=n_div,
            stride=stride,
            bidirectional=bidirectional,
            padding_mode=padding_mode,
            groups=groups,
            time_dim=of_time,
            channel_dim=of_channels,
        )
        site = Site(name, module, placement, branch, shift)
        sites.append((module, site))
        if placement == "inplace":
            planned += [(module.register_forward_pre_hook, ShiftInput(site), {})]
        else:
            planned += [
                (module.register_forward_pre_hook, KeepInput(site), {}),
                (owner.register_forward_hook, AddToOutput(site), {}),
                (module.register_forward_hook, ForgetInput(site), {"always_call": True}),
            ]
    # Hugging Face's from_pretrained builds the model without its shifts
    is_rebuilt = hasattr(model, "save_pretrained") and not getattr(model, "saves_temporal_shifts", False)
    if is_rebuilt and not sites_of(model):
        model.register_state_dict_pre_hook(warn_of_unsaved_shifts)  # type: ignore[no-untyped-call]
    for register, hook, options in planned:
        hook.key = register(hook, with_kwargs=True, **options).id
    for module, site in sites:
        show_in_repr(module, site)
    torch_private.forget_compiled()
    return model


def remove_temporal_shift(model: Model, where: Where | None = None) -> Model:
    """Remove shifts that :func:`add_temporal_shift` added.

    Other hooks of the model stay. Modules without a shift do not change.

    Args:
        model: The model or a copy of it. It is changed and returned.
        where: The modules, as in :func:`add_temporal_shift`. Default: ``None``, all modules.

    Returns:
        ``model``.

    Raises:
        TypeError: If ``where`` has the wrong type.
        ValueError: If ``where`` is not a valid regular expression or matches no module.

    Example:
        >>> model = add_temporal_shift(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)), nn.Linear)
        >>> find_temporal_shifts(remove_temporal_shift(model, "0"))
        {'1': TemporalShift(n_div=8, stride=1, bidirectional=False)}
    """
    chosen = None if where is None else {site_of(module) for _, module in _choose(model, where)}
    for module in model.modules():
        if (site := site_of(module)) is not None and (chosen is None or site in chosen):
            hide_from_repr(module)
        for hooks, *options in (torch_private.pre_hooks(module), torch_private.forward_hooks(module)):
            for key, hook in list(hooks.items()):
                if isinstance(hook, Hook) and (chosen is None or hook.site in chosen):
                    for entries in (hooks, *options):
                        entries.pop(key, None)
    torch_private.forget_compiled()
    return model


def find_temporal_shifts(model: nn.Module) -> dict[str, TemporalShift]:
    """Find the shifts that :func:`add_temporal_shift` added.

    Args:
        model: The model or a copy of it.

    Returns:
        A dict from the name of each chosen module to its shift.

    Example:
        >>> find_temporal_shifts(add_temporal_shift(nn.Sequential(nn.Conv1d(8, 8, 3)), nn.Conv1d, n_div=4))
        {'0': TemporalShift(n_div=4, stride=1, bidirectional=False, time_dim=-1, channel_dim=-2)}
    """
    return {name: site.shift for name, site in sites_of(model)}


def temporal_shift_settings(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the settings of the shifts, to save them: a ``state_dict`` does not contain the shifts.

    A Hugging Face model that does not save the shifts itself warns if its ``state_dict`` is read before this call.

    Args:
        model: The model or a copy of it.

    Returns:
        A dict from the name of each chosen module to the arguments of :func:`add_temporal_shift`, as plain values that
        JSON and YAML can store.

    Example:
        >>> model = add_temporal_shift(nn.Sequential(nn.Linear(8, 8)), nn.Linear, n_div=4)
        >>> settings = temporal_shift_settings(model)
        >>> list(settings), settings["0"]["n_div"]
        (['0'], 4)
    """
    for _, site in sites_of(model):
        site.is_recorded = True
    return {name: dict(site.settings) for name, site in sites_of(model)}


def restore_temporal_shifts(model: Model, settings: dict[str, dict[str, Any]]) -> Model:
    """Add the shifts of :func:`temporal_shift_settings` to another model with the same names.

    Args:
        model: A model without shifts in the named modules. It is changed and returned.
        settings: A dict from the names of modules to dicts of arguments of :func:`add_temporal_shift`.

    Returns:
        ``model``.

    Raises:
        TypeError: If ``settings`` is not a dict of dicts, or as :func:`add_temporal_shift`.
        ValueError: If a module does not exist or an argument is unknown, or as :func:`add_temporal_shift`. The model
            then does not change.

    Example:
        >>> settings = {"0": {"n_div": 4, "bidirectional": True}}
        >>> model = restore_temporal_shifts(nn.Sequential(nn.Linear(8, 8)), settings)
        >>> find_temporal_shifts(model)
        {'0': TemporalShift(n_div=4, stride=1, bidirectional=True)}
    """
    if not isinstance(settings, dict):
        raise TypeError(
            f"settings must be a dict from names of modules to dicts of arguments, got {type(settings).__name__}"
        )
    names = [name for name, _ in model.named_modules(remove_duplicate=False)]
    added: list[str] = []
    try:
        for name, arguments in settings.items():
            if name not in names:
                known, hint = _names(names[1:], re.escape(str(name)))
                raise ValueError(f"settings must name modules of {type(model).__name__} ({known}), got {name!r}{hint}")
            if not isinstance(arguments, dict):
                raise TypeError(f"settings must have a dict of arguments for {name!r}, got {type(arguments).__name__}")
            if unknown := [given for given in arguments if given not in _SETTINGS]:
                raise ValueError(f"settings of {name!r} must be among {', '.join(_SETTINGS)}, got {unknown[0]!r}")
            add_temporal_shift(model, re.escape(name), **arguments)
            added.append(name)
        temporal_shift_settings(model)  # so that the model does not warn about unsaved shifts
    except (TypeError, ValueError):
        for name in added:
            remove_temporal_shift(model, re.escape(name))
        raise
    return model


_SETTINGS = tuple(name for name in inspect.signature(add_temporal_shift).parameters if name not in ("model", "where"))


def _choose(model: nn.Module, where: Any) -> list[tuple[str, nn.Module]]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    classes = where if isinstance(where, tuple) else (where,)
    by_class = bool(classes) and all(isinstance(one, type) and issubclass(one, nn.Module) for one in classes)
    by_function = callable(where) and not isinstance(where, (type, nn.Module))
    if not (by_class or by_function or isinstance(where, str)):
        given = type(where).__name__ if isinstance(where, (nn.Module, torch.Tensor)) else repr(where)
        raise TypeError(
            "where must be a class of modules, a tuple of classes, a regular expression for names, or a function of "
            f"name and module, got {given}"
        )
    if isinstance(where, str):
        try:
            re.compile(where)
        except re.error as error:
            raise ValueError(f"where must be a valid regular expression, got {where!r}: {error}") from None
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
        known, hint = _names([name for name, _ in names if name], where)
        if any(type(module).__name__ == where for _, module in names):
            hint = f"; {where!r} is the name of a class: pass the class itself"
        raise ValueError(f"where must match a module of {type(model).__name__} ({known}), got {where!r}{hint}")
    return [(name, module) for module, name in chosen.items()]


def _check_called(name: str, module: nn.Module, model: nn.Module) -> None:
    """Raise a ``ValueError`` if the module is never called with its hooks, so that a shift would have no effect."""
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(module, torch.jit.ScriptModule):
        reason = "a ScriptModule, which ignores shifts: add them before it is scripted or traced"
    elif type(module).forward is nn.Module.forward and "forward" not in vars(module):
        reason = "which has no forward"
    elif isinstance(parent, nn.MultiheadAttention) and name.endswith("out_proj"):
        reason = "which nn.MultiheadAttention reads and does not call"
    else:
        return
    raise ValueError(f"where must match modules that are called with their hooks, got {named(name, module)}, {reason}")


def _names(names: list[str], where: Any) -> tuple[str, str]:
    """The first names of a model, and a hint with the names closest to ``where``."""
    known = _listed(names, 5) or "only itself"
    if not isinstance(where, str):
        return known, ""
    meant = [name for name in names if any(re.fullmatch(where, end) for end in _ends(name))]
    meant = meant or difflib.get_close_matches(where, names, n=3)
    return known, f"; did you mean {_listed(meant, 3)}?" if meant else ""


def _ends(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[start:]) for start in range(1, len(parts))]


def _listed(names: list[str], count: int) -> str:
    return ", ".join([*map(repr, names[:count]), *(["..."] if len(names) > count else [])])


def _branch(name: str, module: nn.Module, branch: str | None) -> nn.Module:
    try:
        return module if branch is None else module.get_submodule(branch)
    except AttributeError:
        known = ", ".join(repr(child) for child, _ in module.named_children()) or "it has none"
        raise ValueError(f"branch must be a submodule of {named(name, module)} ({known}), got {branch!r}") from None
