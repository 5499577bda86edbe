"""Speaker groups, which are the folds of corpora without sessions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_shift.ser.corpora.speaker_groups import group_speakers
from temporal_shift.ser.utils.errors import RecipeError

names = st.text("abcdefgh", min_size=1, max_size=4)
corpora = st.dictionaries(names, st.integers(1, 200), min_size=1, max_size=30)


@given(corpora, st.integers(1, 12), st.data())
def test_every_speaker_is_in_one_group_and_no_group_is_empty(utterances, groups, data):
    groups = min(groups, len(utterances))
    genders = data.draw(st.dictionaries(st.sampled_from(sorted(utterances)), st.sampled_from("fm")))
    found = group_speakers(utterances, groups, genders)
    assert found.keys() == utterances.keys()
    assert len(set(found.values())) == groups


@given(corpora, st.data())
def test_the_groups_do_not_depend_on_the_order_of_the_speakers(utterances, data):
    shuffled = dict(data.draw(st.permutations(list(utterances.items()))))
    assert group_speakers(shuffled) == group_speakers(utterances)


@given(corpora, st.integers(2, 6))
def test_groups_differ_by_at_most_the_utterances_of_one_speaker(utterances, groups):
    groups = min(groups, len(utterances))
    sizes: dict[str, int] = {}
    for speaker, group in group_speakers(utterances, groups).items():
        sizes[group] = sizes.get(group, 0) + utterances[speaker]
    assert max(sizes.values()) - min(sizes.values()) <= max(utterances.values())


def test_women_and_men_are_divided_evenly():
    genders = {f"{sex}{number}": sex for sex in "fm" for number in range(6)}
    found = group_speakers(dict.fromkeys(genders, 7), 3, genders)
    for group in ("Group1", "Group2", "Group3"):
        assert sorted(genders[speaker] for speaker in found if found[speaker] == group) == ["f", "f", "m", "m"]


def test_there_are_five_groups_or_as_many_as_speakers():
    assert len(set(group_speakers(dict.fromkeys("abcdefg", 1)).values())) == 5
    assert group_speakers(dict.fromkeys("abc", 1)) == {"a": "Group1", "b": "Group2", "c": "Group3"}


def test_ten_groups_sort_in_numeric_order():
    found = group_speakers(dict.fromkeys("abcdefghij", 1), 10)
    assert sorted(found.values()) == [f"Group{number:02d}" for number in range(1, 11)]


def test_more_groups_than_speakers_are_an_error():
    with pytest.raises(RecipeError, match=r"^groups must be at most the number of speakers, 3, got 4$"):
        group_speakers(dict.fromkeys("abc", 1), 4)
