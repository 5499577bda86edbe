"""Updates in real time: one per hop of sound, fewer if the model is too slow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple

import numpy as np
import pytest
from rich.console import Console

from temporal_shift.ser.inference import live
from temporal_shift.ser.inference.live_view import Drawing
from temporal_shift.ser.inference.recognizer import Recognizer
from temporal_shift.ser.utils.errors import RecipeError

from ..small_model import LABELS, local_model
from .test_speech_stream import noise, offline

pytestmark = pytest.mark.usefixtures("one_thread")

BLOCK = 800  # samples: 50 ms


@pytest.fixture(scope="module")
def windows() -> Recognizer:
    """A recognizer with an encoder that attends to the whole clip of 0.5 s."""
    return Recognizer(local_model("last"))


@pytest.fixture(scope="module")
def streaming() -> Recognizer:
    return Recognizer(local_model())


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeInbox(live.Inbox):
    """An inbox that receives a wave in the time of a fake clock; waiting advances the clock."""

    def __init__(self, clock: FakeClock, wave: np.ndarray) -> None:
        super().__init__(16000, clock)
        self.clock = clock
        self.blocks = [wave[place : place + BLOCK] for place in range(0, len(wave), BLOCK)]
        self.arrived = self.taken = 0

    def take(self, min_samples: int) -> live.Delivery:
        passed = self.clock.now
        while self.blocks and (self.arrived - self.taken < min_samples or self.due <= passed + 1e-9):
            self.clock.now = self.due
            self.arrived += len(self.blocks[0])
            self.put(self.blocks.pop(0))
        self.clock.now = max(passed, self.clock.now)
        if not self.blocks:
            self.close()
        self.taken = self.arrived
        return super().take(min_samples)

    @property
    def due(self) -> float:
        return (self.arrived + len(self.blocks[0])) / 16000


class FakePredictor:
    """A predictor that returns its first and last input sample after a fixed time, or ``None`` without samples."""

    window = 0.5

    def __init__(self, clock: FakeClock, seconds: float, uses_all: bool = False) -> None:
        self.clock, self.seconds, self.uses_all = clock, seconds, uses_all
        self.gaps = 0

    def __call__(self, samples: np.ndarray, *, gap: bool, last: bool) -> tuple[float, ...] | None:
        self.clock.now += self.seconds
        self.gaps += gap
        return (float(samples[0]), float(samples[-1])) if len(samples) else None


def fake_updates(seconds: float, of: float, hop: float = 0.5, **kinds) -> tuple[list[live.Update], FakePredictor]:
    clock = FakeClock()
    predictor = FakePredictor(clock, seconds, **kinds)
    inbox = FakeInbox(clock, np.arange(round(of * 16000), dtype=np.float32))
    return list(live.updates(predictor, inbox, hop, clock)), predictor


def test_a_fast_model_updates_after_every_hop_and_at_the_end():
    found, _ = fake_updates(0.1, of=1.7)
    assert [update.seconds for update in found] == [0.5, 1.0, 1.5, 1.7]
    assert [update.probabilities[1] for update in found] == [7999, 15999, 23999, 27199]
    np.testing.assert_allclose([update.latency for update in found], 0.1)
    np.testing.assert_allclose([update.rtf for update in found], 0.2)
    assert found[-1].skipped == 0


def test_a_slow_model_skips_updates_and_does_not_fall_behind():
    found, predictor = fake_updates(1.2, of=60)
    assert [update.seconds for update in found[:4]] == pytest.approx(
        [0.5, 1.7, 2.9, 4.1]
    )  # each update covers the latest sound
    assert max(update.latency for update in found[:-1]) < 1.2 + 0.05  # the last sound arrived during a prediction
    assert len(found) + found[-1].skipped == 120
    assert {round(update.rtf, 6) for update in found} == {2.4}
    assert predictor.gaps > 0  # the inbox holds one second


def test_the_real_time_factor_of_a_stream_counts_all_samples_that_it_processes():
    found, _ = fake_updates(0.9, of=6, uses_all=True)
    assert [update.seconds for update in found[:3]] == pytest.approx([0.5, 1.4, 2.3])
    assert [update.rtf for update in found[:3]] == pytest.approx([1.8, 1.0, 1.0])


def test_an_inbox_drops_the_oldest_samples_and_counts_them():
    inbox = live.Inbox(10, clock=FakeClock())
    for block in np.arange(18, dtype=np.float32).reshape(6, 3):
        inbox.put(block)
    delivery = inbox.take(18)
    assert (delivery.samples.tolist(), delivery.lost, delivery.last) == (list(range(9, 18)), 9, False)
    inbox.close()
    assert astuple(inbox.take(1))[2:] == (0, True)


def test_updates_by_windows_equal_those_of_latest(windows):
    wave = noise(24000)
    blocks = np.split(wave, range(BLOCK, len(wave), BLOCK))
    predictor, way = live.predictor_of(windows)
    assert (
        way
        == "in windows of 0.5 s, because its encoder (wav2vec2, layer last) has no known context of at most 3 s before "
        "and after a frame"
    )
    clock = FakeClock()
    found = list(live.updates(predictor, FakeInbox(clock, wave), 0.3, clock))
    np.testing.assert_allclose(
        [(update.seconds, *update.probabilities) for update in found],
        [(window.end, *window.probabilities) for window in windows.latest(blocks, 0.3)],
        atol=1e-6,
    )


def test_a_stream_ends_with_the_last_frames_of_the_recording(streaming):
    predictor, way = live.predictor_of(streaming)
    assert re.match(r"streaming, .* 0\.08 s before .* 0\.1 s after .* 0\.5 s, up to 0\.14 s ago$", way)
    clock, wave = FakeClock(), noise(7000)  # shorter than a window, so all frames count
    *_, end = live.updates(predictor, FakeInbox(clock, wave), 0.1, clock)
    logits = offline(streaming.model, wave)
    assert end.probabilities == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)


def test_a_stream_restarts_after_a_gap(streaming):
    predictor, _ = live.predictor_of(streaming)
    predictor(noise(9000), gap=False, last=False)
    after = predictor(noise(5000), gap=True, last=True)
    logits = offline(streaming.model, noise(5000))
    assert after == pytest.approx(np.exp(logits) / np.exp(logits).sum(), abs=1e-5)


def test_a_recording_is_played_at_the_speed_of_its_sound():
    clock, slept = FakeClock(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now += seconds

    for _ in live.played([noise(800)] * 3, clock, sleep):
        clock.now += 0.02  # the time that the consumer takes
    assert slept == pytest.approx([0.05, 0.03, 0.03])


def test_an_error_of_the_reader_is_raised_in_the_consumer():
    def broken() -> Iterator[tuple[np.ndarray, float]]:
        yield noise(800), 0.0
        raise RecipeError("unplugged")

    with live.reading(broken(), max_seconds=1.0) as inbox, pytest.raises(RecipeError, match="unplugged"):
        list(live.updates(FakePredictor(FakeClock(), 0.0), inbox, 0.5))


def test_the_sound_is_closed_when_the_block_ends():
    closed = []

    def endless() -> Iterator[tuple[np.ndarray, float]]:
        try:
            while True:
                yield noise(80), 0.0
        finally:
            closed.append(True)

    with live.reading(endless(), max_seconds=1.0) as inbox:
        inbox.take(1)
    assert closed == [True]


def test_the_summary_has_the_median_and_the_95th_percentile():
    summary = live.Summary()
    for number in range(101):
        summary.add(live.Update(number / 2, (1.0,), -20.0, number / 1000, number / 100, 7))
    assert summary.figures() == {
        "updates": 101,
        "skipped": 7,
        "heard_s": 50.0,
        "latency_s_median": 0.05,
        "latency_s_95": 0.095,
        "rtf_median": 0.5,
        "rtf_95": 0.95,
    }


def test_a_terminal_gets_bars_and_figures():
    console = Console(force_terminal=True, width=100, record=True)
    view, summary = Drawing(LABELS, console), live.Summary()
    update = live.Update(1.5, (0.7, 0.1, 0.1, 0.1), -20.0, 0.048, 0.09, 2)
    summary.add(update)
    view.begin("Shiftformer", "in windows of 2.5 s")
    with view.shown():
        view.show(update, summary)
    view.end(summary)
    text = console.export_text()
    for piece in (
        "Shiftformer, in windows",
        "happy ",
        "70.0 %",
        "━━━",
        "latency   48 ms",
        "RTF     0.09",
        "2 updates skipped",
    ):
        assert piece in text
