"""What a model makes of sound while it goes on: updates, as often as asked for and as fast as the machine can.

A reader thread puts blocks of samples into an inbox; whoever takes the updates does the computing. Who is too slow gets
fewer updates, each of the newest sound, and never older ones.
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
from .recognizer import Recognizer, Samples
from .speech_stream import SpeechStream

BLOCK = 0.05  # seconds that a reader reads at once

Sound = Generator[tuple[Samples, float], None, None]  # blocks at 16 kHz, and by how many seconds each is late

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Update:
    """What is to be made of the last window, or of the last frames.

    Attributes:
        heard: Seconds of sound so far.
        latency: Seconds from the arrival of the last of them to the answer.
        rtf: The real-time factor: seconds of computing per second of sound. Above 1, updates are skipped.
        skipped: How many were, so far.
    """

    heard: float
    probabilities: tuple[float, ...]
    latency: float
    rtf: float
    skipped: int


class Ear(Protocol):
    """What turns new samples into probabilities."""

    hears_all: bool  # whether the computing grows with the samples, or is that of a window

    def __call__(self, samples: Samples, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        """Feed samples, which do not follow those before where there is a gap."""


class WindowEar:
    """The last window, encoded as a whole at each update, as in :meth:`Recognizer.latest`."""

    hears_all = False

    def __init__(self, recognizer: Recognizer) -> None:
        self._recognizer = recognizer
        self._full = round(recognizer.window * SAMPLE_RATE)
        recognizer.probabilities(np.zeros((1, self._full), dtype=np.float32))  # the first time takes longer
        self._kept = np.zeros(0, dtype=np.float32)

    def __call__(self, samples: Samples, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        before = self._kept[:0] if gap else self._kept
        self._kept = np.concatenate([before, samples])[-self._full :]
        if len(samples) == 0:
            return None
        return tuple(map(float, self._recognizer.probabilities(self._kept[None])[0]))


class StreamEar:
    """The frames of the last window, each encoded once."""

    hears_all = True

    def __init__(self, stream: SpeechStream) -> None:
        self._stream = stream

    def __call__(self, samples: Samples, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        if gap:
            self._stream.flush()
        logits = self._stream(samples)
        if last:
            logits = self._stream.flush()
        return None if logits is None else tuple(torch.from_numpy(logits).softmax(dim=0).tolist())


def ear_of(recognizer: Recognizer) -> tuple[Ear, str]:
    """How to hear with a model, and a line that says which way, and why."""
    try:
        stream = SpeechStream.of(recognizer.model, recognizer.window)
    except ValueError as error:
        return WindowEar(recognizer), f"by windows of {recognizer.window:g} s, because {error}"
    return StreamEar(stream), (
        f"streaming, because each frame of its encoder sees {stream.past:.2g} s back and {stream.future:.2g} s ahead; "
        f"the answer is of the {recognizer.window:g} s before the last {stream.delay:.2g} s"
    )


@dataclass(frozen=True, slots=True)
class Delivery:
    """All the samples that waited; ``arrived`` is when the last of them did, and ``lost`` how many were dropped."""

    samples: Samples
    arrived: float
    lost: int
    last: bool


class Inbox:
    """Blocks between two threads, of ``most`` samples at most: where nobody takes them, the oldest are dropped."""

    def __init__(self, most: int, clock: Clock = time.perf_counter) -> None:
        self._most = most
        self._clock = clock
        self._blocks: deque[Samples] = deque()
        self._waiting = self._lost = 0
        self._arrived = clock()
        self._closed = False
        self._error: Exception | None = None
        self._changed = Condition()

    def put(self, samples: Samples, late: float = 0.0) -> None:
        """Add a block that came just now, ``late`` seconds after its last sample sounded."""
        with self._changed:
            self._arrived = self._clock() - late
            self._blocks.append(samples)
            self._waiting += len(samples)
            while self._waiting > self._most and len(self._blocks) > 1:
                dropped = len(self._blocks.popleft())
                self._waiting -= dropped
                self._lost += dropped
            self._changed.notify()

    def close(self, error: Exception | None = None) -> None:
        """Say that no more will come; an error is raised where the blocks are taken."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify()

    def take(self, least: int) -> Delivery:
        """Wait for so many samples, lost ones included, or for the end, and take all there are."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting + self._lost >= least or self._closed)
            if self._error is not None:
                raise self._error
            samples = np.concatenate([np.zeros(0, dtype=np.float32), *self._blocks])
            delivery = Delivery(samples, self._arrived, self._lost, self._closed)
            self._blocks.clear()
            self._waiting = self._lost = 0
        return delivery


def updates(ear: Ear, inbox: Inbox, hop: float, clock: Clock = time.perf_counter) -> Iterator[Update]:
    """After each ``hop`` seconds of sound an update, and one at its end; fewer where the model is slower than that."""
    step = round(hop * SAMPLE_RATE)
    heard = skipped = 0
    last = False
    while not last:
        before = heard // step
        delivery = inbox.take((before + 1) * step - heard)
        heard, last = heard + delivery.lost + len(delivery.samples), delivery.last
        skipped += max(0, heard // step - before - 1)
        begun = clock()
        probabilities = ear(delivery.samples, gap=delivery.lost > 0, last=last)
        done = clock()
        if probabilities is not None:
            sound = max(1, len(delivery.samples)) if ear.hears_all else step
            rtf = (done - begun) * SAMPLE_RATE / sound
            yield Update(heard / SAMPLE_RATE, probabilities, done - delivery.arrived, rtf, skipped)


@contextmanager
def reading(sound: Sound, most: float) -> Iterator[Inbox]:
    """An inbox for so many seconds, which a thread fills with sound for as long as one is in the block."""
    inbox, stop = Inbox(round(most * SAMPLE_RATE)), Event()
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
    """A recording at the speed at which it sounds: each block when its last sample does."""
    begun, samples = clock(), 0
    for block in blocks:
        samples += len(block)
        sleep(max(0.0, begun + samples / SAMPLE_RATE - clock()))
        yield block, 0.0


def first(sound: Sound, seconds: float) -> Sound:
    """The beginning of a sound."""
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
    """Latencies and real-time factors of all updates so far."""

    latencies: list[float] = field(default_factory=list)
    rtfs: list[float] = field(default_factory=list)
    heard: float = 0.0
    skipped: int = 0

    def add(self, update: Update) -> None:
        self.latencies.append(update.latency)
        self.rtfs.append(update.rtf)
        self.heard, self.skipped = update.heard, update.skipped

    def figures(self) -> dict[str, float]:
        """Plain data: medians, and what 95 % of the updates stay below."""
        found = {"updates": len(self.rtfs), "skipped": self.skipped, "heard_s": round(self.heard, 2)}
        for name, values, digits in (("latency_s", self.latencies, 4), ("rtf", self.rtfs, 4)):
            if values:
                middle, high = np.percentile(values, [50, 95])
                found |= {f"{name}_median": round(float(middle), digits), f"{name}_95": round(float(high), digits)}
        return found


def _read(sound: Sound, inbox: Inbox, stop: Event) -> None:
    try:
        for block, late in sound:
            if stop.is_set():
                break
            inbox.put(block, late)
    except Exception as error:  # which nobody would see in a thread
        inbox.close(error)
    else:
        inbox.close()
    finally:
        sound.close()
