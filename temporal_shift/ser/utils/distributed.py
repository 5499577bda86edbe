"""The processes that ``torchrun`` or ``accelerate launch`` started, if they did: one experiment, worked on together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeVar

import torch.distributed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """This process's place among ``size``; a process of its own is rank 0 of 1."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> World:
        """Join the processes that the launcher's environment announces."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        from accelerate import PartialState  # opens the process group, on GPUs where there are any, as the Trainer does

        state = PartialState(cpu=not torch.cuda.is_available())  # or it would leave processes without GPUs alone
        return cls(state.process_index, state.num_processes)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            torch.distributed.barrier()

    def from_first(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]
