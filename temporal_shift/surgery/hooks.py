"""The hooks of :mod:`.surgery`, which shift an input or add a shift to an output."""

from __future__ import annotations

import inspect
import sys
import threading
import warnings
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..core import arguments, torch_private
from ..layers.ragged import zero_padding
from ..layers.shift import TemporalShift


@torch_private.assume_constant_result  # Dynamo cannot trace get_ident
def _thread() -> int:
    return threading.get_ident()


def named(name: str, module: nn.Module) -> str:
    """The description of a module for error messages."""
    return f"{name!r} ({type(module).__name__})"


class Site:
    """The shift of a chosen module, and the positions of the input and the padding mask in its arguments."""

    def __init__(self, name: str, module: nn.Module, placement: str, branch: str | None, shift: TemporalShift) -> None:
        parameters = list(inspect.signature(module.forward).parameters)
        masks = [mask for mask in ("src_key_padding_mask", "tgt_key_padding_mask") if mask in parameters]
        self.name = named(name, module)
        self.branch = self.name if branch is None else f"branch {branch!r} of {self.name}"
        self.shift = shift
        self.is_recorded = False  # whether temporal_shift_settings() has returned the settings
        self.settings = {"placement": placement, "branch": branch, **shift._arguments()}
        self.first = parameters[0] if parameters else ""
        self.mask = masks[0] if masks else ""
        self.mask_at = parameters.index(self.mask) if masks else sys.maxsize
        self.kept: dict[int, Any] = {}  # by thread, because the replicas of nn.DataParallel share their hooks

    def input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Tensor | None]:
        """The input and the padding mask of a call. Raise a ``ValueError`` if there is no input."""
        if not args and self.first not in kwargs:
            raise ValueError(f"{self.name} must get its input as the first argument or as {self.first!r}, got neither")
        padding = args[self.mask_at] if self.mask_at < len(args) else kwargs.get(self.mask)
        return args[0] if args else kwargs[self.first], padding

    def shifted(self, x: Any, padding: Tensor | None) -> Any:
        """Shift the input. Frames of a dense tensor that ``padding`` marks count as zeros, unless ``stride`` is 0.

        Raises:
            TypeError: If ``x`` or ``padding`` has the wrong type.
            ValueError: If ``padding`` does not fit ``x``, or the shift does not fit ``x``.
        """
        if padding is not None and self.shift.stride != 0 and isinstance(x, Tensor) and not x.is_nested:
            x = zero_padding(x, padding, self.shift.time_dim)
        return self.shift(x)

    def sum(self, output: Any, x: Any, padding: Tensor | None) -> Any:
        """Return ``output + shift(x) - x`` in the channels that move, and ``output`` in the others.

        Raises:
            TypeError: If ``output`` is neither a tensor nor a ``PackedSequence``, or as :meth:`shifted`.
            ValueError: If ``output`` does not have the shape of ``x``, or as :meth:`shifted`.
        """
        if not isinstance(output, (Tensor, PackedSequence)):
            kind = type(output).__name__
            raise TypeError(
                f"{self.branch} must return a tensor or a PackedSequence, or a tuple with one of them first, got {kind}"
            )
        parts = _parts(output), _parts(x), _parts(self.shifted(x, padding))
        given, wanted = ([tuple(part.shape) for part in of_one] for of_one in parts[:2])
        if given != wanted:
            raise ValueError(
                f"{self.branch} must return a tensor with the shape of the input of {self.name}, {_shown(wanted)}, "
                f"got {_shown(given)}"
            )
        return _whole(output, [_sum_where_moved(*part, self.shift) for part in zip(*parts, strict=True)])


class Hook:
    """The base class of the hooks, so that a shift can be found in a model and in its copies."""

    key = -1
    mixes_frames = True  # read by temporal_shift.streaming, which cannot import this module

    def __init__(self, site: Site) -> None:
        self.site = site

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        torch_private.reserve_hook_key(self.key)


class ShiftInput(Hook):
    """Shifts the input."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> Any:
        by_name = kwargs or {}  # quantize_dynamic registers hooks again without with_kwargs
        shifted = self.site.shifted(*self.site.input(args, by_name))
        if args:
            args = (shifted, *args[1:])
        else:
            by_name = {**by_name, self.site.first: shifted}
        return args if kwargs is None else (args, by_name)


class KeepInput(Hook):
    """Stores the input for the branch."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        self.site.kept[_thread()] = self.site.input(args, kwargs or {})


class AddToOutput(Hook):
    """Adds ``shift(x) - x`` to the output of the branch, in the first call of each forward."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *kwargs_and_output: Any) -> Any:
        output, site, thread = kwargs_and_output[-1], self.site, _thread()
        if site.shift.stride == 0:
            return output
        if thread not in site.kept and not torch.compiler.is_compiling() and torch_private.in_backward():
            raise ValueError(
                f"activation checkpointing must recompute the call of {site.name}, not its forward, which runs "
                f"without hooks; or add the shift without {site.branch}"
            )
        kept = site.kept.get(thread)
        if kept is None:
            return output
        site.kept[thread] = None
        if not isinstance(output, tuple) or isinstance(output, PackedSequence):
            return site.sum(output, *kept)
        items = (site.sum(output[0] if output else None, *kept), *output[1:])
        return type(output)(*items) if hasattr(output, "_fields") else items


class ForgetInput(Hook):
    """Deletes the stored input, also after an error. Raises a ``ValueError`` if the forward did not call the branch."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *kwargs_and_output: Any) -> None:
        site, output = self.site, kwargs_and_output[-1]
        if site.kept.pop(_thread(), None) is not None and output is not None and site.shift.stride != 0:
            raise ValueError(f"branch must be a submodule that the forward calls, but {site.branch} was not called")


def site_of(module: nn.Module) -> Site | None:
    """The site of the shift that was added to a module, if any."""
    hooks = torch_private.pre_hooks(module)[0].values()
    return next((hook.site for hook in hooks if isinstance(hook, Hook)), None)


def sites_of(model: nn.Module) -> list[tuple[str, Site]]:
    """The sites of the shifts in a model, with the names of their modules."""
    sites = ((name, site_of(module)) for name, module in model.named_modules())
    return [(name, site) for name, site in sites if site is not None]


def warn_of_unsaved_shifts(model: nn.Module, prefix: str, keep_vars: bool) -> None:
    """A hook of ``state_dict`` that warns of shifts unless :func:`temporal_shift_settings` returned their settings."""
    if unsaved := [name for name, site in sites_of(model) if not site.is_recorded]:
        shifts = "1 temporal shift" if len(unsaved) == 1 else f"{len(unsaved)} temporal shifts"
        warnings.warn(
            f"the state_dict of {type(model).__name__} does not contain its {shifts} (such as {unsaved[0]!r}): save "
            "temporal_shift_settings(model), too",
            stacklevel=2,
        )


def show_in_repr(module: nn.Module, site: Site) -> None:
    """Show the shift in ``repr(module)``."""
    module.extra_repr = partial(_extra_repr, module, site)  # type: ignore[method-assign]


def hide_from_repr(module: nn.Module) -> None:
    """Undo :func:`show_in_repr`."""
    if getattr(vars(module).get("extra_repr"), "func", None) is _extra_repr:
        del module.extra_repr


def _extra_repr(module: nn.Module, site: Site) -> str:
    of_class = type(module).extra_repr(module)
    where = f", placement={site.settings['placement']!r}"
    if site.settings["branch"] is not None:
        where += f", branch={site.settings['branch']!r}"
    shift = f"temporal_shift=({site.shift.extra_repr()}{where})"
    return f"{of_class}, {shift}" if of_class else shift


def _sum_where_moved(output: Tensor, x: Tensor, shifted: Tensor, shift: TemporalShift) -> Tensor:
    geometry = arguments.resolve(x, **shift._arguments(), ragged=None, compiling=torch_private.is_traced())
    dim = geometry.channel_dim
    sums = []
    for start, stop, frames in geometry.groups:
        of_output, before, after = (one.narrow(dim, start, stop - start) for one in (output, x, shifted))
        sums.append(of_output if frames == 0 else of_output + (after - before))
    return torch.cat(sums, dim=dim)


def _parts(x: Any) -> list[Tensor]:
    """The dense tensors with the frames of ``x``."""
    if isinstance(x, PackedSequence):
        return [x.data]
    if not x.is_nested:
        return [x]
    return [x.values()] if x.layout == torch.jagged else list(x.unbind())


def _whole(like: Any, parts: list[Tensor]) -> Any:
    """The inverse of :func:`_parts`, with the type of ``like``."""
    if isinstance(like, PackedSequence):
        return PackedSequence(parts[0], like.batch_sizes, like.sorted_indices, like.unsorted_indices)
    if not like.is_nested:
        return parts[0]
    if like.layout == torch.jagged:
        return torch.nested.nested_tensor_from_jagged(parts[0], like.offsets())
    return torch.nested.as_nested_tensor(parts, layout=like.layout)


def _shown(shapes: list[tuple[int, ...]]) -> str:
    return str(shapes[0] if len(shapes) == 1 else shapes)
