"""PCK by hand, and what holds for any keypoints."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.keypoint_pck import (
    average_pck,
    box_side,
    image_side,
    keypoint_error,
    keypoint_side,
    pck,
    pck_per_image,
)


def along_x(*errors: float) -> tuple[np.ndarray, np.ndarray]:
    target = np.full((len(errors), 2), 7.0)
    return target + np.array([[error, 0.0] for error in errors]).reshape(-1, 2), target


def test_an_error_on_the_threshold_counts_or_not_as_is_said():
    """3-4-5 triangle, side 50: the error is exactly 0.1 of it."""
    predicted, target = np.array([[3.0, 4.0]]), np.zeros((1, 2))
    assert not pck(predicted, target, side=50.0, alphas=[0.1], comparison="<").hits[0, 0]
    assert pck(predicted, target, side=50.0, alphas=[0.1], comparison="<=").hits[0, 0]


def test_hits_and_share_by_hand():
    found = pck(*along_x(0, 4, 6, 11), side=100, alphas=[0.05, 0.1], comparison="<")
    assert found.hits.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert found.share.tolist() == [0.5, 0.75]


def test_every_keypoint_may_have_its_own_side():
    found = pck(*along_x(6, 6), side=np.array([50.0, 100.0]), alphas=[0.1], comparison="<")
    assert found.hits.tolist() == [[False, True]]


@pytest.mark.parametrize("place", [np.nan, np.inf, -np.inf])
def test_a_place_that_is_not_finite_is_missed_at_any_threshold(place: float):
    predicted, target = np.array([[place, 0.0]]), np.zeros((1, 2))
    assert keypoint_error(predicted, target).tolist() == [np.inf]
    assert pck(predicted, target, side=1e300, alphas=[1e6], comparison="<=").share[0] == 0


def test_without_keypoints_the_share_is_not_a_number():
    found = pck(np.zeros((0, 2)), np.zeros((0, 2)), side=10.0, alphas=[0.1, 0.2], comparison="<")
    assert found.hits.shape == (2, 0)
    assert np.isnan(found.share).all()


def test_precision_decides_within_a_rounding_of_the_threshold():
    """0.15 * 100 is 15 exactly in both; 0.1f * 3 rounds up in float32, and 0.3 is farther off in float64."""
    predicted, target = np.array([[np.float32(0.3), 0]], dtype=np.float32), np.zeros((1, 2), dtype=np.float32)
    limits = np.float32(0.1) * np.float32(3), 0.1 * 3
    assert float(np.float32(0.3)) > limits[1]
    assert np.float32(0.3) <= limits[0]
    hits = {
        precision: pck(predicted, target, side=3.0, alphas=[0.1], comparison="<=", precision=precision).share[
            0
        ]
        for precision in ("float32", "float64")
    }
    assert hits == {"float32": 1, "float64": 0}


def test_settings_that_are_none_are_refused():
    predicted, target = along_x(1, 2)
    unchecked: Any = getattr(pck, "__wrapped__", pck)  # as a caller without a type checker
    with pytest.raises(ConfigError, match="precision"):
        unchecked(predicted, target, side=1.0, alphas=[0.1], comparison="<", precision="half")
    with pytest.raises(ShapeError, match=r"two arrays \[N 2\]"):
        unchecked(predicted, target[:1], side=1.0, alphas=[0.1], comparison="<")
    with pytest.raises(ShapeError, match="sides of 0 pixels or more"):
        pck(predicted, target, side=float("nan"), alphas=[0.1], comparison="<")
    with pytest.raises(ShapeError, match="sides of 0 pixels or more"):
        pck(predicted, target, side=-1.0, alphas=[0.1], comparison="<")


def test_choices_that_move_the_number_have_no_default():
    with pytest.raises(TypeError, match="side"):
        pck(*along_x(1), alphas=[0.1], comparison="<")  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="comparison"):
        pck(*along_x(1), side=1.0, alphas=[0.1])  # pyright: ignore[reportCallIssue]


def test_four_averages_by_hand():
    """Two cats of 1 and 3 keypoints, a dog of 1: cat 1/1, 0/3; dog 1/1. A pair without keypoints is none."""
    hits = np.array([[True, False, False, False, True]])
    image = np.array([0, 1, 1, 1, 3])
    average = average_pck(hits, image, ["cat", "cat", "bird", "dog"])
    assert average.per_image[0] == pytest.approx((1 + 0 + 1) / 3)
    assert average.per_point[0] == pytest.approx(2 / 5)
    assert average.macro_per_image[0] == pytest.approx((1 / 2 + 1) / 2)
    assert average.macro_per_point[0] == pytest.approx((1 / 4 + 1) / 2)
    assert average.of("macro per point")[0] == average.macro_per_point[0]
    shares = pck_per_image(hits, image, count=4)
    np.testing.assert_array_equal(shares, [[1, 0, np.nan, 1]])


def test_averages_of_nothing_are_not_numbers():
    none = average_pck(np.zeros((2, 0), dtype=np.bool_), np.zeros(0, dtype=np.int64), [])
    assert all(part.shape == (2,) and np.isnan(part).all() for part in none)


def test_sides_by_hand():
    assert box_side(np.array([10, 20, 30, 40])) == 40
    assert image_side((480, 640)) == 640
    assert keypoint_side(np.array([[0.0, 5.0], [3.0, 1.0]])) == 4
    assert np.isnan(keypoint_side(np.zeros((0, 2))))


POINTS = st.integers(1, 20).flatmap(
    lambda count: st.tuples(
        *[arrays(np.float64, (count, 2), elements=st.floats(-1e3, 1e3)) for _ in range(2)]
    )
)


@given(POINTS, st.floats(1, 1e3))
def test_pck_grows_with_alpha_and_inclusive_counts_at_least_as_much(pair, side: float):
    alphas = [0.0, 0.01, 0.05, 0.1, 0.5, 10.0]
    strict, inclusive = (
        pck(*pair, side=side, alphas=alphas, comparison=comparison) for comparison in ("<", "<=")
    )
    assert (np.diff(strict.share) >= 0).all()
    assert (inclusive.hits | ~strict.hits).all()


@given(
    st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=30),
    st.lists(st.sampled_from(["cat", "dog"]), min_size=5, max_size=5),
)
def test_averages_are_those_of_plain_loops(points, categories: list[str]):
    """Against the definition, written out over lists."""
    image, hits = (np.array(part) for part in zip(*points, strict=True))
    pairs = {number: [hit for other, hit in points if other == number] for number in set(image.tolist())}
    shares = {number: np.mean(hits) for number, hits in pairs.items()}
    by: dict[str, list[int]] = {}
    for number in pairs:
        by.setdefault(categories[number], []).append(number)
    average = average_pck(hits[None], image, categories)
    assert average.per_image[0] == pytest.approx(np.mean(list(shares.values())))
    assert average.per_point[0] == pytest.approx(np.mean([hit for _, hit in points]))
    assert average.macro_per_image[0] == pytest.approx(
        np.mean([np.mean([shares[number] for number in numbers]) for numbers in by.values()])
    )
    assert average.macro_per_point[0] == pytest.approx(
        np.mean([np.mean([hit for number in numbers for hit in pairs[number]]) for numbers in by.values()])
    )
