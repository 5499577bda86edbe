"""Train runs one after another, or in parallel processes with one thread each."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue

import torch

from ..utils.distributed import World
from ..utils.errors import RecipeError
from .run_record import Run
from .train_run import train


def train_all(
    runs: Sequence[Run],
    processes: int,
    on_epoch: Callable[[], None],
    world: World | None = None,
    on_done: Callable[[Run], None] = lambda run: None,
) -> None:
    """Train the runs. An error in one run stops all runs and is raised.

    Args:
        runs: The runs.
        processes: Number of runs that are trained at once, in processes with one thread each. 1: this process trains,
            with torch's current number of threads.
        on_epoch: Called in this process for each epoch of a run.
        world: The processes that train each run together. With more than one, ``processes`` is ignored. Default: this
            process alone.
        on_done: Called in this process for each finished run. Default: does nothing.
    Raises:
        RecipeError: If a training process is killed, for example because the machine has too little memory; also see
            :func:`.train_run.train`.
    """
    world = world or World()
    if processes == 1 or world.size > 1:
        for run in runs:
            train(run, on_epoch, world)
            on_done(run)
        return
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    epochs_done: SimpleQueue[None] = context.SimpleQueue()
    pool = ProcessPoolExecutor(min(processes, len(runs)), context, _start_worker, (epochs_done,))
    try:
        with _children_ignore_ctrl_c():
            waiting = {pool.submit(_train_in_worker, run): run for run in runs}
        while waiting:
            finished, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
            while not epochs_done.empty():
                epochs_done.get()
                on_epoch()
            for future in finished:
                future.result()  # raises the error of the run, if any
                on_done(waiting.pop(future))
    except BrokenProcessPool:
        raise RecipeError(
            "a training process ended before its run: it was killed, or the machine has too little memory for "
            f"processes: {processes}; the same command continues the runs"
        ) from None
    except BaseException:
        for child in multiprocessing.active_children():  # safe, because files are written atomically
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _children_ignore_ctrl_c() -> Iterator[None]:
    """Let new processes ignore Ctrl-C, which reaches all processes of a terminal: only this process handles it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_epochs_done: SimpleQueue[None]  # set in workers only


def _start_worker(epochs_done: SimpleQueue[None]) -> None:
    global _epochs_done
    _epochs_done = epochs_done
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Exit when the parent ends. Otherwise this worker and the next command could write to the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train_in_worker(run: Run) -> None:
    train(run, lambda: _epochs_done.put(None))
