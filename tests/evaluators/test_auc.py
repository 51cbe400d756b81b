"""AUC and accuracy by hand, and what holds for any errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.auc import best_mean_auc, pose_accuracy, pose_auc

ERRORS = st.lists(st.floats(0, 40) | st.just(np.inf) | st.just(np.nan), min_size=1, max_size=30).map(np.array)


def test_auc_is_the_area_under_the_line_through_the_recalls() -> None:
    # (0, 0), (1, 1/2), (3, 1), then level to 4: areas 1/4, 3/2 and 1, of 4.
    assert pose_auc(np.array([3.0, 1.0]), [4], rounding="exact")[0] == pytest.approx((0.25 + 1.5 + 1) / 4)
    # Up to 3 the second one, on the threshold, is out: (1, 1/2), then level.
    assert pose_auc(np.array([3.0, 1.0]), [3], rounding="exact")[0] == pytest.approx((0.25 + 1) / 3)
    assert pose_auc(np.array([3.0, 1.0]), [3], rounding="4 decimals")[0] == 0.4167


def test_edge_cases_of_auc_and_accuracy() -> None:
    failed = np.array([np.inf, np.nan])
    assert pose_auc(failed, [5], rounding="exact") == [0]
    assert pose_accuracy(failed, [5], comparison="<=") == [0]
    assert np.isnan(pose_auc(np.zeros(0), [5, 10], rounding="exact")).tolist() == [True, True]
    assert np.isnan(pose_accuracy(np.zeros(0), [5, 10], comparison="<")).all()
    assert pose_auc(np.zeros(3), [5], rounding="exact") == [1]
    assert pose_accuracy(np.array([5.0]), [5], comparison="<") == [0]
    assert pose_accuracy(np.array([5.0]), [5], comparison="<=") == [1]


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_sense_is_refused() -> None:
    some = np.ones(2)
    with pytest.raises(ConfigError, match="thresholds above 0"):
        pose_auc(some, [0, 5], rounding="exact")
    with pytest.raises(ConfigError, match="rounding to be one of exact, 4 decimals, got '2'"):
        pose_auc(some, [5], rounding="2")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ShapeError, match="errors of 0 or more, got -1"):
        pose_auc(-some, [5], rounding="exact")
    with pytest.raises(ConfigError, match="at least one setting"):
        best_mean_auc({}, [5], rounding="exact")


def test_the_first_of_equally_good_thresholds_is_the_best() -> None:
    errors = {0.5: np.array([9.0]), 1.0: np.array([1.0]), 1.5: np.array([1.0])}
    assert best_mean_auc(errors, [5, 10], rounding="exact") == 1.0


@given(ERRORS)
def test_auc_depends_on_no_order_and_lies_below_the_recall_at_its_threshold(errors: np.ndarray) -> None:
    areas = pose_auc(errors, [5, 10, 20], rounding="exact")
    np.testing.assert_array_equal(pose_auc(errors[::-1], [5, 10, 20], rounding="exact"), areas)
    recall = pose_accuracy(errors, [5, 10, 20], comparison="<")
    assert (areas >= 0).all()
    assert (areas <= recall + 1e-12).all()


@given(ERRORS)
def test_auc_is_the_integral_of_the_interpolated_recall(errors: np.ndarray) -> None:
    # A slow twin: the mean of the curve, read at many places.
    known = np.sort(np.where(np.isnan(errors), np.inf, errors))
    below = known[known < 10]
    x = np.concatenate(([0], below, [10]))
    y = np.concatenate(([0], np.arange(1, len(below) + 1), [len(below)])) / len(errors)
    reached = sum((b - a) * (f + g) / 2 for a, b, f, g in zip(x, x[1:], y, y[1:], strict=False))
    assert pose_auc(errors, [10], rounding="exact")[0] == pytest.approx(reached / 10)
