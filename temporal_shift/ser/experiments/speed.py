"""The speed of this machine, from short measurements of training steps and encoder calls."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..config import Experiment, Model, Training
from ..models.frame_classifier import frame_classifier
from .flops import Shape, encoder_with_input, of_encoder, of_model

_FLOP = {"cpu": 4e9, "cuda": 4e12}  # target FLOP of a measured call: about 0.1 s on one CPU core
_FLOP_OF_A_NUMBER = 200  # assumed minimum FLOP per input element; bounds the memory of models with little arithmetic
_MIN_LSTM_FRAMES = 24  # fewer frames are slower per frame, because each call rearranges the weights
_MIN_SAMPLES = 4000  # samples of a shortened clip: 0.25 s
_BUSY_SIZE = 512  # rows and columns of the matrices that keep other cores busy


@dataclass(frozen=True, slots=True)
class Speed:
    """FLOP per second of the measured passes, and seconds per optimizer step with gradient clipping; 0 for encoders."""

    flop_per_second: float
    optimizer: float = 0.0


def device() -> str:
    """The device that the recipe trains on."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def training_speed(experiment: Experiment, model: Model, shape: Shape, labels: Sequence[str], seconds: float) -> Speed:
    """Measure training steps of a model on random frames.

    Steps that take too long are measured with a smaller batch or fewer frames. LSTMs keep the batch size, because their
    speed depends on it; other models keep the number of frames if possible.

    Args:
        experiment: The experiment, for its settings of the training and of SpecAugment.
        model: The settings of the model.
        shape: Shape of an utterance's frames.
        labels: The classes.
        seconds: Time limit, after which no step starts. One step is always measured.
    """
    *layers, frames, channels = shape
    training = experiment.training
    batch = training.batch_size // training.gradient_accumulation
    cost = max(of_model(model, shape, labels).training, _FLOP_OF_A_NUMBER * math.prod(shape))
    smallest = (batch, _MIN_LSTM_FRAMES) if model.blocks == "lstm" else (1, 1)
    batch, frames = _cut(batch, frames, cost, smallest)
    shape = (*layers, frames, channels)
    classifier: nn.Module = frame_classifier(model, shape, labels, experiment.spec_augment)
    classifier.to(device()).train()
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=training.weight_decay, fused=True)
    inputs = torch.randn(batch, *shape, device=device())
    classes = torch.zeros(batch, dtype=torch.long, device=device())

    def passes() -> None:
        optimizer.zero_grad()
        with _precision(training):
            loss = classifier(inputs, classes).loss
        loss.backward()

    def update() -> None:
        nn.utils.clip_grad_norm_(classifier.parameters(), training.max_grad_norm)
        optimizer.step()

    of_passes, of_update = _seconds([passes, update], seconds)
    return Speed(batch * of_model(model, shape, labels).training / of_passes, of_update)


def encoder_speed(settings: Any, samples: int, clips: int, seconds: float) -> Speed:
    """Measure an encoder of at most two layers on silence.

    Args:
        settings: The encoder's Hugging Face configuration.
        samples: Length of a clip at 16 kHz; shortened if the call would take too long.
        clips: Number of clips in a call; reduced if the call would take too long.
        seconds: Time limit, after which no call starts. One call is always measured.
    """
    settings = copy.deepcopy(settings)
    settings.num_hidden_layers = min(2, settings.num_hidden_layers)
    clips, samples = _cut(clips, samples, of_encoder(settings, samples)[0].forward, (1, _MIN_SAMPLES))
    cost = of_encoder(settings, samples)[0].forward
    encoder, inputs = encoder_with_input(settings, samples, clips)
    encoder, inputs = encoder.to(device()), inputs.to(device())
    with torch.inference_mode():
        (of_call,) = _seconds([lambda: encoder(inputs)], seconds)
    return Speed(clips * cost / of_call)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Set torch's number of threads inside the ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Keep ``cores`` other cores busy with matrix products, like processes that train other runs."""
    done = threading.Event()

    def work() -> None:
        matrix = torch.randn(_BUSY_SIZE, _BUSY_SIZE)
        product = torch.empty_like(matrix)
        while not done.is_set():
            torch.mm(matrix, matrix, out=product)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(cores)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        done.set()
        for worker in workers:
            worker.join()


def _cut(batch: int, length: int, flop: int, smallest: tuple[int, int]) -> tuple[int, int]:
    """A batch and a length that take at most about ``_FLOP``, unless ``smallest`` takes more.

    ``flop`` is the cost of one utterance of the whole length.
    """
    share = min(1.0, _FLOP[device()] / (batch * max(1, flop)))
    fitting = max(smallest[0], int(batch * share))
    return fitting, min(length, max(smallest[1], int(length * min(1.0, share * batch / fitting))))


def _precision(training: Training) -> Any:
    dtype = getattr(torch, training.precision)
    return torch.autocast(device(), dtype, enabled=dtype is not torch.float32)


def _seconds(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """The shortest time of each function. Calls alternate, after one warm-up call of each.

    With a single thread on the CPU, CPU time is measured, so that other programs on the machine do not count.
    """
    is_one_thread = device() == "cpu" and torch.get_num_threads() == 1
    clock = time.thread_time if is_one_thread else time.perf_counter
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while not times[-1] or time.perf_counter() < end:
        for function, of_function in zip(functions, times, strict=True):
            _wait()
            started = clock()
            function()
            _wait()
            of_function.append(clock() - started)
    return [min(of_function) for of_function in times]


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
