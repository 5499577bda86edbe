"""After ``kill -9`` at random moments, the same command gives the result of an uninterrupted run."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from ..tiny import write_experiment

KILLS = 5


@pytest.fixture(scope="module")
def server():
    """Starts processes with the recipe imported, so that a kill hits the work and not the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["temporal_shift.ser.experiments.run_experiment", "temporal_shift.ser.training.train_run"]
    )
    undisturbed(context, time.time)  # the server's first process waits for the imports
    return context


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three sessions of 100 utterances each, five shards of features, and one model."""
    return write_experiment(
        tmp_path_factory.mktemp("experiment"),
        100,
        training={"epochs": 4, "batch_size": 16, "warmup_epochs": 1, "checkpoint_seconds": 0},
        models=[{"name": "ShiftCNN", "blocks": "conv", "shift": {"placement": "residual", "n_div": 16}}],
    )


def run(config: Path, root: Path, cache: Path) -> None:
    from temporal_shift.ser.config import read_experiment
    from temporal_shift.ser.experiments.run_experiment import run_experiment

    torch.set_num_threads(1)
    gc.freeze()  # the Trainer collects garbage in each run; exclude the imported modules
    run_experiment(read_experiment(config), root, cache, Console(quiet=True))


def encode(config: Path, root: Path, cache: Path) -> None:
    from temporal_shift.ser.config import read_experiment
    from temporal_shift.ser.corpora import read_corpus
    from temporal_shift.ser.encoders.feature_cache import cached_features

    torch.set_num_threads(1)
    experiment = read_experiment(config)
    cached_features(read_corpus(experiment.corpus), experiment.backbone, experiment.features, cache)


def encode_until_killed(config: Path, root: Path, cache: Path) -> None:
    """Encode, and kill this process in the second of five shards."""
    from temporal_shift.ser.config import read_experiment
    from temporal_shift.ser.corpora import read_corpus
    from temporal_shift.ser.encoders.feature_cache import cached_features

    calls = []

    def on_progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) > 5:  # the start, four batches of the first shard, one of the second
            os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    experiment = read_experiment(config)
    cached_features(read_corpus(experiment.corpus), experiment.backbone, experiment.features, cache, on_progress)


def undisturbed(server, work: Callable[..., None], *paths: Path) -> float:
    """Do the work in a process; return the duration in seconds."""
    started = time.perf_counter()
    process = server.Process(target=work, args=paths)
    process.start()
    process.join()
    assert process.exitcode == 0
    return time.perf_counter() - started


def killed_again_and_again(server, seconds: float, start_anew: Callable[[], None], work, *paths: Path) -> None:
    """Start the work and kill it, until ``KILLS`` starts were killed. Each start finds the files of the previous one.

    ``start_anew`` is called if the work finishes before the kill.
    """
    moments = random.Random(0)
    cut = 0
    while cut < KILLS:
        process = server.Process(target=work, args=paths)
        process.start()
        time.sleep(moments.uniform(0, 0.9 * seconds))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            cut += 1
        else:  # the work finished before the kill
            assert process.exitcode == 0
            start_anew()


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if not path.name.endswith(".tmp")}


def test_encoding_killed_at_random_moments_ends_with_the_same_bytes(server, folder, tmp_path):
    config = folder / "experiment.yaml"
    seconds = undisturbed(server, encode, config, tmp_path, tmp_path / "whole")
    cache = tmp_path / "killed"
    killed_again_and_again(server, seconds, lambda: shutil.rmtree(cache), encode, config, tmp_path, cache)
    undisturbed(server, encode, config, tmp_path, cache)
    assert contents(cache) == contents(tmp_path / "whole")
    assert len([name for name in contents(cache) if name.endswith(".npy")]) == 5


def test_if_one_of_two_processes_that_encode_is_killed_the_other_finishes(server, folder, tmp_path):
    paths = (folder / "experiment.yaml", tmp_path, tmp_path / "cache")
    killed, other = (server.Process(target=work, args=paths) for work in (encode_until_killed, encode))
    for process in (killed, other):
        process.start()
    for process in (killed, other):
        process.join(120)
    assert (killed.exitcode, other.exitcode) == (-signal.SIGKILL, 0)
    undisturbed(server, encode, folder / "experiment.yaml", tmp_path, tmp_path / "alone")
    assert contents(tmp_path / "cache") == contents(tmp_path / "alone")


def test_training_killed_at_random_moments_ends_with_the_same_metrics(server, folder, tmp_path):
    config, cache = folder / "experiment.yaml", tmp_path / "cache"
    undisturbed(server, encode, config, tmp_path, cache)
    seconds = undisturbed(server, run, config, tmp_path / "whole", cache)
    root = tmp_path / "killed"
    killed_again_and_again(server, seconds, lambda: shutil.rmtree(root), run, config, root, cache)
    undisturbed(server, run, config, root, cache)
    assert (root / "metrics.json").read_bytes() == (tmp_path / "whole" / "metrics.json").read_bytes()
    for name, content in contents(tmp_path / "whole" / "runs").items():
        if not name.endswith("run.json"):  # which contains the duration of the training
            assert contents(root / "runs")[name] == content


def run_as(rank: int, port: int, config: Path, root: Path, cache: Path) -> None:
    """One of two processes, as ``torchrun`` starts them; exits as the command does."""
    import typer

    from temporal_shift.ser.cli.exit_codes import exit_on_error

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with (root.parent / f"stderr-{rank}").open("w") as sys.stderr:
        try:
            with exit_on_error():
                run(config, root, cache)
        except typer.Exit as end:
            sys.exit(end.exit_code)


def test_when_one_of_two_training_processes_is_killed_the_other_ends_and_a_rerun_has_the_same_metrics(
    server, folder, tmp_path
):
    config, cache = folder / "experiment.yaml", tmp_path / "cache"

    def two(root: Path) -> list:
        root.parent.mkdir(exist_ok=True)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
        processes = [server.Process(target=run_as, args=(rank, port, config, root, cache)) for rank in (0, 1)]
        for process in processes:
            process.start()
        return processes

    whole, killed = tmp_path / "whole" / "results", tmp_path / "killed" / "results"
    for process in two(whole):
        process.join(120)
        assert process.exitcode == 0
    first, second = two(killed)
    deadline = time.monotonic() + 60
    while not list(killed.glob("runs/*/*/*/unfinished/checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    second.kill()
    first.join(60)
    assert first.exitcode == 2
    message = (killed.parent / "stderr-0").read_text()
    assert re.search("^error: another process of this run ended", message, re.MULTILINE)
    assert "Traceback" not in message
    for process in two(killed):
        process.join(120)
        assert process.exitcode == 0
    assert (killed / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
