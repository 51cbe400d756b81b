"""Which sample comes when."""

from collections import Counter
from typing import Any

import pytest
import torch

from homolog.core.errors import ConfigError
from homolog.training.mixture import Mixture


def mixed(shifts, shares, **settings):
    plain: dict[str, Any] = {"count": 400, "seed": 5, **settings}
    return Mixture({name: shifts(20) for name in "abc"}, shares, **plain)


def test_shares_are_kept(shifts):
    found = Counter(mixed(shifts, {"a": 1, "b": 3}).place(index)[0] for index in range(400))
    assert 70 <= found["a"] <= 130  # 100 expected, standard deviation 8.7
    assert set(found) == {"a", "b"}


def test_the_nth_sample_does_not_depend_on_what_was_asked_before(shifts):
    one, other = mixed(shifts, {"a": 1, "b": 1}, swap=0.5), mixed(shifts, {"a": 1, "b": 1}, swap=0.5)
    forward = [one[index] for index in range(60)]
    backward = [other[index] for index in reversed(range(60))][::-1]
    for first, second in zip(forward, backward, strict=True):
        assert torch.equal(first.image0.pixels, second.image0.pixels)


def test_another_seed_gives_another_order(shifts):
    places = [[mixed(shifts, {"a": 1}, seed=seed).place(index) for index in range(20)] for seed in (1, 2)]
    assert places[0] != places[1]


def test_a_source_alone_is_gone_through_before_it_repeats(shifts):
    mixture = mixed(shifts, {"a": 1})
    first = [mixture.place(index)[1] for index in range(20)]
    second = [mixture.place(index)[1] for index in range(20, 40)]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_turns_follow_the_shares_batch_by_batch(shifts):
    mixture = mixed(shifts, {"a": 1, "b": 3}, cycle=True, group=2)
    names = [mixture.place(index)[0] for index in range(16)]
    assert names[::2] == names[1::2]
    assert Counter(names[:8]) == {"a": 2, "b": 6}
    seen = [mixture.place(index) for index in range(80) if mixture.place(index)[0] == "b"]
    assert len(set(seen[:20])) == 20


def test_images_change_places_as_often_as_asked(shifts):
    plain, mixture = shifts(20), mixed(shifts, {"a": 1}, swap=0.25)
    swapped = 0
    for index in range(200):
        place = mixture.place(index)[1]
        swapped += not torch.equal(mixture[index].image0.pixels, plain[place].image0.pixels)
    assert 30 <= swapped <= 70


def test_a_source_without_a_share_need_not_be_there(shifts):
    alone = Mixture({"a": shifts(20)}, {"a": 1, "absent": 0}, count=20, seed=0)
    assert {alone.place(number)[0] for number in range(20)} == {"a"}


@pytest.mark.parametrize("shares", [{}, {"a": 0}, {"a": -1, "b": 2}, {"d": 1}])
def test_shares_that_make_no_sense_are_refused(shares, shifts):
    with pytest.raises(ConfigError):
        mixed(shifts, shares)


def test_an_empty_source_and_a_number_too_far_are_refused(shifts):
    with pytest.raises(ConfigError, match="source a"):
        Mixture({"a": shifts(0)}, {"a": 1}, count=3, seed=0)
    with pytest.raises(IndexError):
        mixed(shifts, {"a": 1})[400]
