"""What :mod:`.surgery` hangs on the modules of a model: hooks that shift an input, or add a shift to an output."""

from __future__ import annotations

import inspect
import sys
import threading
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.hooks import RemovableHandle

from ..core import arguments
from ..layers.ragged import silenced
from ..layers.shift import TemporalShift


def _thread() -> int:
    return threading.get_ident()


# No compiler can trace it. This is what torch.compiler.assume_constant_result does, which imports Dynamo for it.
_thread._dynamo_marked_constant = True  # type: ignore[attr-defined]


def named(name: str, module: nn.Module) -> str:
    """A module as error messages call it."""
    return f"{name!r} ({type(module).__name__})"


class Site:
    """A chosen module: its shift, and where its call has the input and the mask of the padding."""

    def __init__(self, name: str, module: nn.Module, branch: str | None, shift: TemporalShift) -> None:
        parameters = list(inspect.signature(module.forward).parameters)
        masks = [mask for mask in ("src_key_padding_mask", "tgt_key_padding_mask") if mask in parameters]
        self.name = named(name, module)
        self.branch = self.name if branch is None else f"branch {branch!r} of {self.name}"
        self.shift = shift
        self.first = parameters[0] if parameters else ""
        self.mask = masks[0] if masks else ""
        self.mask_at = parameters.index(self.mask) if masks else sys.maxsize
        self.kept: dict[int, Any] = {}  # by thread, as the replicas of nn.DataParallel share their hooks

    def input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Tensor | None]:
        """What is shifted, and the mask."""
        if not args and self.first not in kwargs:
            raise ValueError(f"{self.name} was called without an input: it must come first, or as {self.first!r}")
        padding = args[self.mask_at] if self.mask_at < len(args) else kwargs.get(self.mask)
        return args[0] if args else kwargs[self.first], padding

    def shifted(self, x: Any, padding: Tensor | None) -> Any:
        """The input, shifted; frames that ``padding`` marks count as zeros."""
        if padding is not None and self.shift.stride != 0 and isinstance(x, Tensor) and not x.is_nested:
            x = silenced(x, padding, self.shift.time_dim)
        return self.shift(x)

    def sum(self, output: Any, x: Any, padding: Tensor | None) -> Any:
        """``output + shift(x) - x`` of the channels that move, beside the others of ``output``."""
        if not isinstance(output, (Tensor, PackedSequence)):
            kind = type(output).__name__
            raise TypeError(f"{self.branch} gives {kind}: it must give a tensor, or a tuple whose first element is one")
        parts = _parts(output), _parts(x), _parts(self.shifted(x, padding))
        given, wanted = ([tuple(part.shape) for part in of_one] for of_one in parts[:2])
        if given != wanted:
            raise ValueError(
                f"{self.branch} gives shape {_said(given)}, and the input of {self.name} has {_said(wanted)}: they "
                "must be the same, as the two that a skip connection adds"
            )
        return _whole(output, [_sum_where_moved(*part, self.shift) for part in zip(*parts, strict=True)])


class Hook:
    """Its class is what a shift is found by, in a copy of the model too."""

    key = -1
    mixes_frames = True  # which streams, below this module, must know

    def __init__(self, site: Site) -> None:
        self.site = site

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.key + 1)  # else torch gives the key to another hook


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
    """Keeps the input for the branch."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        self.site.kept[_thread()] = self.site.input(args, kwargs or {})


class AddToOutput(Hook):
    """Takes the input, at the first call of the branch."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *kwargs_and_output: Any) -> Any:
        output, site, thread = kwargs_and_output[-1], self.site, _thread()
        if site.shift.stride == 0:
            return output
        if thread not in site.kept and not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1:
            raise ValueError(
                f"{site.branch} is recomputed without the hooks of {site.name}: activation checkpointing must be of "
                "its call, not of its forward, or the shift must need no branch"
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
    """Lets go of an input that no branch took: after an error, or because the branch was not called."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], *kwargs_and_output: Any) -> None:
        site, output = self.site, kwargs_and_output[-1]
        if site.kept.pop(_thread(), None) is not None and output is not None and site.shift.stride != 0:
            raise ValueError(f"{site.branch} was not called: branch must name a submodule that the forward calls")


def _sum_where_moved(output: Tensor, x: Tensor, shifted: Tensor, shift: TemporalShift) -> Tensor:
    traced = torch.compiler.is_compiling() or torch._C._is_tracing()
    geometry = arguments.resolve(x, **shift._arguments(), ragged=None, compiling=traced)
    dim = geometry.channel_dim
    sums = []
    for start, stop, frames in geometry.groups:
        of_output, before, after = (one.narrow(dim, start, stop - start) for one in (output, x, shifted))
        sums.append(of_output if frames == 0 else of_output + (after - before))
    return torch.cat(sums, dim=dim)


def _parts(x: Any) -> list[Tensor]:
    """The dense tensors that hold the frames."""
    if isinstance(x, PackedSequence):
        return [x.data]
    if not x.is_nested:
        return [x]
    return [x.values()] if x.layout == torch.jagged else list(x.unbind())


def _whole(like: Any, parts: list[Tensor]) -> Any:
    """Such parts in the form of ``like``."""
    if isinstance(like, PackedSequence):
        return PackedSequence(parts[0], like.batch_sizes, like.sorted_indices, like.unsorted_indices)
    if not like.is_nested:
        return parts[0]
    if like.layout == torch.jagged:
        return torch.nested.nested_tensor_from_jagged(parts[0], like.offsets())
    return torch.nested.as_nested_tensor(parts, layout=like.layout)


def _said(shapes: list[tuple[int, ...]]) -> str:
    return str(shapes[0] if len(shapes) == 1 else shapes)
