"""The processes of one experiment, started by ``torchrun`` or ``accelerate launch``."""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """The rank of this process and the number of processes; a single process is rank 0 of 1.

    Unlike :class:`accelerate.PartialState`, a ``World`` is immutable, and its constructor opens no device.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> World:
        """Join the processes of the launcher, which sets ``WORLD_SIZE``. If it is 1 or not set, return rank 0 of 1."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        state = _state()
        atexit.register(state.destroy_process_group)  # otherwise a thread of the group can abort the process at exit
        return cls(state.process_index, state.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the process that writes and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Block until every process has called this method."""
        if self.size > 1:
            _state().wait_for_everyone()

    def from_first(self, value: T) -> T:
        """Return the first process's value in every process. Every process must call this method."""
        if self.size == 1:
            return value
        from accelerate.utils import broadcast_object_list

        found: list[T] = broadcast_object_list([value])
        return found[0]


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error is probably a failed collective operation, for example because another process ended."""
    # gloo raises a plain RuntimeError with the path of a source file of gloo
    return isinstance(error, RuntimeError) and (
        type(error).__module__ == "torch.distributed"
        or any(word in str(error) for word in ("/gloo/", "NCCL", "closed by peer"))
    )


def _state() -> PartialState:
    from accelerate import PartialState  # imported late: it takes a second

    return PartialState(cpu=not torch.cuda.is_available())  # required for processes without GPUs
