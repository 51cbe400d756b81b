"""The bounded memory: what is kept, what goes first, and that it never weighs more than its limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError
from homolog.matchers.recall import Recall


def ask(recall: Recall[str], key: str, *, weight: int = 1) -> bool:
    """Ask for a key and tell whether it had to be made."""
    made: list[str] = []

    def make() -> str:
        made.append(key)
        return key.upper()

    assert recall.get(key, make, lambda _: weight) == key.upper()
    return bool(made)


def test_a_value_is_made_once():
    recall: Recall[str] = Recall(10)
    assert ask(recall, "a")
    assert not ask(recall, "a")


def test_the_least_recently_used_goes_first():
    recall: Recall[str] = Recall(2)
    ask(recall, "a")
    ask(recall, "b")
    ask(recall, "a")
    ask(recall, "c")  # no room for all three: b was used longest ago
    assert not ask(recall, "a")
    assert not ask(recall, "c")
    assert ask(recall, "b")


def test_what_is_heavier_than_the_limit_is_returned_but_pushes_nothing_out():
    recall: Recall[str] = Recall(3)
    ask(recall, "a")
    assert ask(recall, "heavy", weight=4)
    assert ask(recall, "heavy", weight=4)
    assert not ask(recall, "a")


def test_a_limit_of_zero_keeps_nothing():
    recall: Recall[str] = Recall(0)
    ask(recall, "a")
    assert (len(recall), recall.weight) == (0, 0)
    assert ask(recall, "a")


def test_a_failure_leaves_nothing_behind():
    recall: Recall[str] = Recall(3)

    def fail() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        recall.get("a", fail, len)
    assert len(recall) == 0
    assert ask(recall, "a")


def test_after_clearing_everything_is_made_anew():
    recall: Recall[str] = Recall(3)
    ask(recall, "a", weight=2)
    recall.clear()
    assert recall.weight == 0
    assert ask(recall, "a")


def test_a_negative_limit_is_refused():
    with pytest.raises(ConfigError, match="0 bytes or more"):
        Recall(-1)


@given(limit=st.integers(0, 20), asked=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9))))
def test_it_behaves_like_a_list_ordered_by_use_that_is_cut_at_the_limit(limit, asked):
    recall: Recall[str] = Recall(limit)
    twin: list[tuple[str, int]] = []  # oldest first
    for key, weight in asked:
        kept = [entry for entry in twin if entry[0] == key]
        assert ask(recall, key, weight=weight) == (not kept)
        entry = kept[0] if kept else (key, weight)
        if kept:
            twin.remove(entry)
        if entry[1] <= limit:
            twin.append(entry)
        while sum(each[1] for each in twin) > limit:
            twin.pop(0)
        assert recall.weight == sum(each[1] for each in twin) <= limit
        assert len(recall) == len(twin)
