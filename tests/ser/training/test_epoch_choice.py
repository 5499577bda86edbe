"""The epochs that each protocol reports."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_shift.ser.training.epoch_choice import Chosen, Epoch, Scores, best_test_epochs, choose


def curve(*epochs: tuple[float, float, float]) -> list[Epoch]:
    """Epochs with the given validation UA, test WA and test UA. Validation WA is 1 minus validation UA."""
    return [
        Epoch(number, 1.0, Scores(1.0, 1 - validation, validation), Scores(1.0, wa, ua))
        for number, (validation, wa, ua) in enumerate(epochs, start=1)
    ]


CURVE = curve((0.3, 0.5, 0.2), (0.6, 0.2, 0.4), (0.6, 0.5, 0.6), (0.4, 0.1, 0.6))


@pytest.mark.parametrize("kind", ["heldout", "speaker"])
def test_the_first_epoch_with_the_best_validation_ua_is_chosen(kind):
    assert choose(kind, CURVE) == Chosen(wa=2, ua=2)


def test_the_protocol_last_reports_the_last_epoch():
    unvalidated = [replace(epoch, validation=None) for epoch in CURVE]
    assert choose("last", unvalidated) == Chosen(wa=4, ua=4)


def test_the_protocol_paper_reports_the_first_best_test_epochs_of_wa_and_ua_separately():
    unvalidated = [replace(epoch, validation=None) for epoch in CURVE]
    assert choose("paper", unvalidated) == best_test_epochs(CURVE) == Chosen(wa=1, ua=3)


scores = st.tuples(*[st.floats(0, 1)] * 3)


@pytest.mark.parametrize("kind", ["heldout", "speaker", "last"])
@given(epochs=st.lists(st.tuples(scores, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_the_test_part_chooses_only_under_the_protocol_paper(kind, epochs):
    seen = curve(*(epoch for epoch, _, _ in epochs))
    other = curve(*((epoch[0], wa, ua) for epoch, wa, ua in epochs))
    assert choose(kind, seen) == choose(kind, other)


def test_choosing_by_validation_without_validation_scores_is_an_error():
    with pytest.raises(ValueError, match=r"validation.*None.*epoch 1"):
        choose("heldout", [replace(epoch, validation=None) for epoch in CURVE])
