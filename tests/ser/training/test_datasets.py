"""The split of an epoch into steps, processes and passes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from temporal_shift.ser.training.datasets import IGNORED_LABEL, Batches, Frames, Part
from temporal_shift.ser.training.run_record import Run

from ..small_run import LABELS, small_run


@pytest.fixture
def run(tmp_path) -> Run:
    return small_run(tmp_path)


def epoch_of(rows: int, batch_size: int, passes: int, processes: int, **settings: object) -> list[list[list[int]]]:
    """The batches of each process in an epoch."""
    shares = [
        Batches(rows, batch_size, passes=passes, rank=rank, processes=processes, **settings)
        for rank in range(processes)
    ]
    batches = [list(share) for share in shares]
    assert [len(of_process) for of_process in batches] == [len(share) for share in shares]
    return batches


plans = st.tuples(st.integers(1, 40), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4))


@given(plans, st.booleans())
def test_an_epoch_has_each_row_once(plan, shuffle):
    found = [row for process in epoch_of(*plan, shuffle=shuffle) for batch in process for row in batch if row >= 0]
    assert sorted(found) == list(range(plan[0]))


@given(plans, st.booleans())
def test_the_shares_of_a_step_add_up_to_it_and_differ_by_at_most_one(plan, shuffle):
    rows, batch_size, passes, _ = plan
    (order,) = epoch_of(rows, rows, 1, 1, shuffle=shuffle)
    batches = epoch_of(*plan, shuffle=shuffle)
    steps = -(-rows // batch_size)
    assert {len(of_process) for of_process in batches} == {steps * passes}
    for step in range(steps):
        shares = [batch for of_process in batches for batch in of_process[step * passes : (step + 1) * passes]]
        sizes = [sum(row >= 0 for row in share) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert sorted(row for share in shares for row in share if row >= 0) == sorted(
            order[0][step * batch_size : (step + 1) * batch_size]
        )


@given(plans, st.booleans())
def test_an_empty_share_is_one_row_of_the_step_without_its_label(plan, shuffle):
    rows, batch_size, passes, _ = plan
    (order,) = epoch_of(rows, rows, 1, 1, shuffle=shuffle)
    for of_process in epoch_of(*plan, shuffle=shuffle):
        for number, batch in enumerate(of_process):
            assert batch
            if min(batch) < 0:
                first = number // passes * batch_size
                assert [~row for row in batch] == [order[0][first]]


@given(plans, st.integers(0, 5), st.integers(0, 3))
def test_seed_and_epoch_determine_the_order_in_all_processes(plan, epoch, seed):
    rows = plan[0]
    settings = {"shuffle": True, "epoch": lambda: epoch, "seed": seed}
    (alone,) = epoch_of(rows, rows, 1, 1, **settings)
    assert epoch_of(*plan, **settings) == epoch_of(*plan, **settings)
    processes = epoch_of(rows, rows, 1, 2, **settings)
    assert [processes[position % 2][0][position // 2] for position in range(rows)] == alone[0]


def test_the_order_changes_with_epoch_and_seed_and_follows_the_files_without_shuffling():
    orders = {
        tuple(epoch_of(30, 30, 1, 1, shuffle=True, epoch=lambda epoch=epoch: epoch, seed=seed)[0][0])
        for epoch in range(3)
        for seed in range(3)
    }
    assert len(orders) == 9
    assert epoch_of(7, 3, 1, 1) == [[[0, 1, 2], [3, 4, 5], [6]]]
    assert epoch_of(5, 4, 1, 2) == [[[0, 2], [4]], [[1, 3], [~4]]]


def test_a_filler_row_is_the_same_utterance_without_its_label(run):
    part = Part(run, run.fold.train, Frames(run.cache))
    assert len(part) == len(run.fold.train) == 32
    for row in (0, 5, 31):
        mine, filler = part[row], part[~row]
        assert torch.equal(mine["frames"], torch.from_numpy(run.cache[run.fold.train[row]]))
        assert torch.equal(mine["frames"], filler["frames"])
        assert mine["labels"] == LABELS.index(run.manifest.utterances[run.fold.train[row]].label)
        assert filler["labels"] == IGNORED_LABEL == -100
