"""Predictions in real time: one update per hop of sound.

A reader thread puts blocks of samples into an inbox; the consumer computes the updates. A slow consumer skips
updates; each update covers the latest sound.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event, Thread
from typing import Protocol

import numpy as np
import torch

from ..audio.resampling import SAMPLE_RATE
from ..utils.errors import RecipeError
from .recognizer import Recognizer, Samples, check_finite
from .remarks import level_of
from .speech_stream import SpeechStream

BLOCK = 0.05  # seconds per block of a reader
SOUND_TIMEOUT = 10.0  # seconds without a block after which a source counts as broken

Sound = Generator[tuple[Samples, float], None, None]  # blocks at 16 kHz, and the delay of each in seconds

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Update:
    """A prediction for the latest window or frames.

    Attributes:
        seconds: Seconds of sound so far, including dropped samples.
        probabilities: One per class.
        level: dBFS of the loudest 25 ms of the latest window; see :func:`level_of`.
        latency: Seconds from the arrival of the latest sample to the prediction, plus the delay of the resampler.
        rtf: Real-time factor, seconds of computation per second of sound. If it stays above 1, updates are skipped.
        skipped: Number of updates skipped so far.
    """

    seconds: float
    probabilities: tuple[float, ...]
    level: float
    latency: float
    rtf: float
    skipped: int


class LivePredictor(Protocol):
    """Maps new samples to probabilities."""

    uses_all: bool  # whether it processes all new samples, or one window per update
    window: float  # length of the window that a prediction covers, in seconds

    def __call__(self, samples: Samples, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        """Add samples, and return one probability per class, or ``None`` if there is nothing to predict yet.

        Args:
            samples: Mono samples ``(samples,)`` at 16 kHz.
            gap: Whether samples before them were dropped.
            last: Whether the sound ends with them.
        """


class WindowPredictor:
    """Encodes the latest window at each update, like :meth:`Recognizer.latest`."""

    uses_all = False

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self.window = recognizer.window
        self._full = round(recognizer.window * SAMPLE_RATE)
        recognizer.probabilities(np.zeros((1, self._full), dtype=np.float32))  # warm-up: the first call is slower
        self._kept = np.zeros(0, dtype=np.float32)

    def __call__(self, samples: Samples, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        self._kept = np.concatenate([self._kept[:0] if gap else self._kept, samples])[-self._full :]
        if len(samples) == 0:
            return None
        return tuple(map(float, self._recognizer.probabilities(self._kept[None])[0]))


class StreamPredictor:
    """Runs the model chunk by chunk; its logits cover the latest window, as in :class:`.SpeechStream`."""

    uses_all = True

    def __init__(self, stream: SpeechStream, window: float) -> None:
        self._stream = stream
        self.window = window

    def __call__(self, samples: Samples, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        if gap:
            self._stream.flush()
        logits = self._stream(samples)
        if last:
            logits = self._stream.flush()
        return None if logits is None else tuple(torch.from_numpy(logits).softmax(dim=0).tolist())


def predictor_of(recognizer: Recognizer) -> tuple[LivePredictor, str]:
    """Return a predictor for live sound, and a line that describes its method and the reason for it.

    Raises:
        RecipeError: If the model does not stream, and its probabilities for silence are not finite.
    """
    try:
        stream = SpeechStream.of(recognizer.model, recognizer.window)
    except ValueError as error:
        return WindowPredictor(recognizer), f"in windows of {recognizer.window:g} s, because {error}"
    return StreamPredictor(stream, recognizer.window), (
        f"streaming, because each frame of its encoder depends on {stream.past:.2g} s before and {stream.future:.2g} s "
        f"after it; an update covers {recognizer.window:g} s, up to {stream.delay:.2g} s ago"
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """What :meth:`Inbox.take` returns.

    Attributes:
        samples: The waiting samples.
        arrived: When the last sample was recorded, in seconds of the inbox's clock.
        lost: Number of samples before them that were dropped.
        last: Whether the sound ends with them.
    """

    samples: Samples
    arrived: float
    lost: int
    last: bool


class Inbox:
    """A queue of blocks between two threads. Beyond ``max_samples``, it drops the oldest blocks, never the newest."""

    def __init__(self, max_samples: int, clock: Clock = time.perf_counter) -> None:
        self._max_samples = max_samples
        self._clock = clock
        self._blocks: deque[Samples] = deque()
        self._waiting = self._lost = 0
        self._arrived = clock()
        self._closed = False
        self._error: Exception | None = None
        self._changed = Condition()

    def put(self, samples: Samples, late: float = 0.0) -> None:
        """Add a block. Its last sample was recorded ``late`` seconds ago."""
        with self._changed:
            self._arrived = self._clock() - late
            self._blocks.append(samples)
            self._waiting += len(samples)
            while self._waiting > self._max_samples and len(self._blocks) > 1:
                dropped = len(self._blocks.popleft())
                self._waiting -= dropped
                self._lost += dropped
            self._changed.notify()

    def close(self, error: Exception | None = None) -> None:
        """End the queue; :meth:`take` raises the error, if there is one."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify()

    def take(self, min_samples: int) -> Delivery:
        """Wait for ``min_samples`` (including dropped ones) or the end; return all waiting samples.

        Raises:
            RecipeError: If no block arrives for 10 s. A disconnected device can block its reader for ever.
            Exception: The error that :meth:`close` was called with.
        """
        with self._changed:
            while self._waiting + self._lost < min_samples and not self._closed:
                if not self._changed.wait(SOUND_TIMEOUT):
                    raise RecipeError(f"no sound has arrived for {SOUND_TIMEOUT:g} s: is the device still connected?")
            if self._error is not None:
                raise self._error
            samples = np.concatenate([np.zeros(0, dtype=np.float32), *self._blocks])
            delivery = Delivery(samples, self._arrived, self._lost, self._closed)
            self._blocks.clear()
            self._waiting = self._lost = 0
        return delivery


def updates(predictor: LivePredictor, inbox: Inbox, hop: float, clock: Clock = time.perf_counter) -> Iterator[Update]:
    """Yield an update after every ``hop`` seconds of sound and at its end.

    Updates are skipped if the model is too slow or blocks are longer than ``hop``. There are none before the first
    prediction.

    Args:
        predictor: The predictor, from :func:`predictor_of`.
        inbox: The sound.
        hop: Seconds of sound between two updates.
        clock: Returns the time in seconds. Default: ``time.perf_counter``.
    Raises:
        RecipeError: If a probability is not finite, or as :meth:`Inbox.take`.
    """
    step, full = round(hop * SAMPLE_RATE), round(predictor.window * SAMPLE_RATE)
    latest = np.zeros(0, dtype=np.float32)
    total = skipped = 0
    last = False
    while not last:
        before = total // step
        delivery = inbox.take((before + 1) * step - total)
        total, last = total + delivery.lost + len(delivery.samples), delivery.last
        skipped += max(0, total // step - before - 1)
        begun = clock()
        probabilities = predictor(delivery.samples, gap=delivery.lost > 0, last=last)
        done = clock()
        latest = np.concatenate([latest[:0] if delivery.lost else latest, delivery.samples])[-full:]
        if probabilities is not None:
            check_finite(probabilities, f"the sound at {total / SAMPLE_RATE:.2f} s")
            used = max(1, len(delivery.samples)) if predictor.uses_all else step
            rtf = (done - begun) * SAMPLE_RATE / used
            latency = done - delivery.arrived
            yield Update(total / SAMPLE_RATE, probabilities, level_of(latest), latency, rtf, skipped)


@contextmanager
def reading(sound: Sound, max_seconds: float) -> Iterator[Inbox]:
    """An inbox for ``max_seconds`` of sound; inside the ``with`` block, a thread fills it from ``sound``."""
    inbox, stop = Inbox(round(max_seconds * SAMPLE_RATE)), Event()
    thread = Thread(target=_read, args=(sound, inbox, stop), daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        stop.set()
        thread.join(timeout=2)


def played(
    blocks: Iterable[Samples], clock: Clock = time.perf_counter, sleep: Callable[[float], None] = time.sleep
) -> Sound:
    """Yield the blocks of a recording at 16 kHz in real time, each at the time of its last sample, with no delay."""
    begun, samples = clock(), 0
    for block in blocks:
        samples += len(block)
        sleep(max(0.0, begun + samples / SAMPLE_RATE - clock()))
        yield block, 0.0


def first(sound: Sound, seconds: float) -> Sound:
    """The first ``seconds`` of a sound, which is closed at the end."""
    left = round(seconds * SAMPLE_RATE)
    try:
        for block, late in sound:
            yield block[:left], late
            left -= len(block)
            if left <= 0:
                return
    finally:
        sound.close()


@dataclass(slots=True)
class Summary:
    """Statistics of all updates so far."""

    latencies: list[float] = field(default_factory=list)  # seconds, one per update
    rtfs: list[float] = field(default_factory=list)  # real-time factors, one per update
    seconds: float = 0.0  # seconds of sound
    skipped: int = 0  # number of skipped updates

    def add(self, update: Update) -> None:
        self.latencies.append(update.latency)
        self.rtfs.append(update.rtf)
        self.seconds, self.skipped = update.seconds, update.skipped

    def figures(self) -> dict[str, float]:
        """Statistics as plain data: numbers of updates and of skipped updates, and seconds of sound.

        If there are updates, the data include the median and 95th percentile of the latency and the real-time factor.
        """
        found = {"updates": len(self.rtfs), "skipped": self.skipped, "heard_s": round(self.seconds, 2)}
        for name, values in (("latency_s", self.latencies), ("rtf", self.rtfs)):
            if values:
                middle, high = np.percentile(values, [50, 95]).round(4).tolist()
                found |= {f"{name}_median": middle, f"{name}_95": high}
        return found


def _read(sound: Sound, inbox: Inbox, stop: Event) -> None:
    try:
        for block, late in sound:
            if stop.is_set():
                break
            inbox.put(block, late)
    except Exception as error:  # the consumer's thread raises it in take()
        inbox.close(error)
    else:
        inbox.close()
    finally:
        sound.close()
