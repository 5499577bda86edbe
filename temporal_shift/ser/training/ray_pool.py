"""Train on a Ray cluster.

All nodes need this package, the results folder, and the cache folder or, for fine-tuning, the audio and the encoder.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Sequence

import torch

from ..._extras import not_installed
from ..utils.errors import RecipeError
from .run_record import Run


def train_on_ray(
    runs: Sequence[Run],
    address: str,
    on_epoch: Callable[[], None],
    on_done: Callable[[Run], None] = lambda run: None,
) -> None:
    """Train each run as a task with one core and, if the cluster has GPUs, one GPU.

    If a node fails, Ray starts its tasks again, up to three times each. They continue from their last checkpoints. An
    error in a run stops all runs and is raised.

    Args:
        runs: The runs.
        address: The address in Ray's format: ``"auto"`` for the cluster of this machine, ``"ray://host:10001"``, or
            ``"local"`` to start a cluster on this machine.
        on_epoch: Called for each epoch of a run when the run is done.
        on_done: Called for each run when it is done. Default: does nothing.
    Raises:
        RecipeError: If Ray is not installed or the cluster cannot be used; also see :func:`.train_run.train`.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise RecipeError(not_installed("ray", "ray")) from None
    _check_reachable(address)
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise RecipeError(f"the Ray cluster at {address} cannot be used: {' '.join(str(error).split())}") from None
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus)(_train)
        waiting = {task.remote(run): run for run in runs}
        while waiting:
            done, _ = ray.wait([*waiting])
            for finished in done:
                for _ in range(ray.get(finished)):
                    on_epoch()
                on_done(waiting.pop(finished))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # the task's own error, without Ray's traceback
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise if an address ``host:port`` does not answer within 10 s: Ray retries for minutes, then exits."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise RecipeError(f"the Ray cluster at {address} cannot be reached: {error.strerror or error}") from None


def _train(run: Run) -> int:
    from .train_run import train

    torch.set_num_threads(1)
    train(run)
    return run.experiment.training.epochs
