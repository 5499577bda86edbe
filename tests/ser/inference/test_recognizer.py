"""Windows of recordings of any length that arrive in blocks of any length."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_shift.ser.audio.resampling import SAMPLE_RATE
from temporal_shift.ser.inference.recognizer import Recognizer, Window, mean_probabilities

from ..small_model import LABELS, SECONDS, small_model

FULL = round(SECONDS * SAMPLE_RATE)


class InputRecorder(Recognizer):
    """A recognizer that records its inputs. Its probabilities are a clip's first sample, largest sample and sum."""

    def __init__(self, seconds: float) -> None:
        self.labels, self.window = LABELS, seconds
        self.batches: list[int] = []

    def probabilities(self, clips: np.ndarray) -> np.ndarray:
        self.batches.append(len(clips))
        return np.stack([clips[:, 0], clips.max(axis=1), clips.sum(axis=1)], axis=1)


def blocks_of(wave: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    return np.split(wave, np.cumsum(sizes)) if sizes else [wave]


def by_hand(total: int, full: int, step: int) -> list[tuple[int, int]]:
    """Start and end of every window, in samples."""
    cuts = [(start, start + full) for start in range(0, total - full + 1, step)]
    if total and (not cuts or cuts[-1][1] < total):
        cuts.append((max(0, total - full), total))
    return cuts


@settings(deadline=None)
@given(
    total=st.integers(0, 60),
    full=st.integers(1, 20),
    step=st.integers(1, 25),
    sizes=st.lists(st.integers(0, 15), max_size=8),
    batch=st.integers(1, 4),
)
def test_every_window_is_predicted_once_for_any_block_size(total, full, step, sizes, batch):
    wave = np.arange(1, total + 1, dtype=np.float32) / 64  # exact in float32
    recognizer = InputRecorder(full / SAMPLE_RATE)
    windows = list(recognizer.windows(blocks_of(wave, sizes), step / SAMPLE_RATE, batch=batch))
    cuts = by_hand(total, full, step)
    assert [(round(w.start * SAMPLE_RATE), round(w.end * SAMPLE_RATE)) for w in windows] == cuts
    assert [w.probabilities for w in windows] == [
        (wave[start], wave[stop - 1], wave[start:stop].sum()) for start, stop in cuts
    ]
    assert max(recognizer.batches, default=0) <= batch


@settings(deadline=None)
@given(
    total=st.integers(0, 60),
    full=st.integers(1, 20),
    step=st.integers(1, 25),
    size=st.integers(1, 30),
    batch=st.integers(1, 3),
)
def test_latest_predicts_the_latest_window_after_every_hop(total, full, step, size, batch):
    wave = np.arange(1, total + 1, dtype=np.float32) / 64  # exact in float32
    blocks = [wave[start : start + size] for start in range(0, total, size)]
    updates = list(InputRecorder(full / SAMPLE_RATE).latest(blocks, step / SAMPLE_RATE, batch=batch))
    ends = [round(update.end * SAMPLE_RATE) for update in updates]
    assert len(ends) == len({end // step for end in ends})  # at most one per hop
    assert all(end % step < max(size, 1) for end in ends)  # immediately after the block that completes it
    if size <= step:
        assert len(ends) == total // step
    for update, end in zip(updates, ends, strict=True):
        start = max(0, end - full)
        assert round(update.start * SAMPLE_RATE) == start
        assert update.probabilities == (wave[start], wave[end - 1], wave[start:end].sum())


def test_memory_is_bounded_by_a_window_and_a_block():
    held = []

    def endless():
        for _ in range(50):
            yield np.ones(1000, dtype=np.float32)

    class MemoryRecorder(InputRecorder):
        def probabilities(self, clips):
            held.append(sum(clip.base.nbytes if clip.base is not None else clip.nbytes for clip in clips))
            return super().probabilities(clips)

    windows = list(MemoryRecorder(2000 / SAMPLE_RATE).windows(endless(), 500 / SAMPLE_RATE, batch=1))
    assert len(windows) == 97
    assert max(held) <= 4 * 2 * (2000 + 1000)


def test_windows_equal_separate_predictions_and_a_recording_is_their_mean():
    model = small_model()
    recognizer = Recognizer(model)
    wave = np.random.default_rng(0).normal(scale=0.1, size=2 * FULL + 100).astype(np.float32)
    windows = list(recognizer.windows([wave]))
    starts = [round(window.start * SAMPLE_RATE) for window in windows]
    assert starts == [0, FULL // 2, FULL, FULL + 100]
    with torch.no_grad():
        clips = torch.from_numpy(np.stack([wave[start : start + FULL] for start in starts]))
        expected = model(clips).logits.softmax(1).numpy()
    np.testing.assert_allclose([window.probabilities for window in windows], expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(mean_probabilities(windows), expected.mean(0), rtol=0, atol=1e-6)
    assert isinstance(mean_probabilities([Window(0, 1, (0.25, 0.75), -20.0)])[0], float)


@pytest.mark.parametrize("hop", [0, -1.0, 1e-6])
def test_a_hop_of_less_than_a_sample_is_refused(hop):
    with pytest.raises(ValueError, match=rf"hop .*at least one sample.*{hop}$"):
        list(InputRecorder(1.0).windows([], hop))
