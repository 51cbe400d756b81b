"""End-point error, PCK and warp error of dense answers, and the comparison they rest on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError
from homolog.evaluators.dense import endpoint_error, flow_pck, warp_error
from homolog.evaluators.precision import calibration, within


def test_the_end_point_error_is_a_distance_and_infinite_where_there_is_no_place():
    predicted = np.array([[3, 4], [1, 1], [np.nan, 0], [np.inf, 0]], dtype=np.float32)
    error = endpoint_error(predicted, np.array([[0, 0], [1, 1], [0, 0], [0, 0]], dtype=np.float32))
    assert error.tolist() == [5, 0, np.inf, np.inf]
    assert error.dtype == np.float64


def test_flow_pck_by_hand_on_the_threshold():
    error = np.array([0.0, 5.0, 5.01, 20.0])
    assert flow_pck(error, side=100.0, alphas=[0.05, 0.2], comparison="<=").tolist() == [0.5, 1]
    assert flow_pck(error, side=100.0, alphas=[0.05, 0.2], comparison="<").tolist() == [0.25, 0.75]


def test_a_pair_without_pixels_has_no_number():
    assert np.isnan(flow_pck(np.zeros(0), side=100.0, alphas=[0.05], comparison="<=")).all()


@given(st.lists(st.floats(0, 50), min_size=1, max_size=20), st.floats(1, 100))
def test_flow_pck_grows_with_alpha_and_does_not_care_for_the_unit(errors, side):
    alphas = [0.01, 0.1, 0.5, 1.0]
    shares = flow_pck(np.array(errors), side=side, alphas=alphas, comparison="<=")
    assert (np.diff(shares) >= 0).all()
    scaled = flow_pck(np.array(errors) * 4, side=side * 4, alphas=alphas, comparison="<=")
    np.testing.assert_array_equal(shares, scaled)


def test_the_warp_error_is_the_squared_distance_summed_over_the_channels():
    found, truth = np.array([[1, 0.5, 0], [0.2, 0.2, 0.2]]), np.array([[0, 0, 0], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(warp_error(found, truth), [1.25, 0])


def test_only_the_two_comparisons_exist():
    with pytest.raises((ConfigError, TypeError, Exception), match="<="):
        within(np.zeros(1), 1.0, "==")  # pyright: ignore[reportArgumentType]


# --- calibration ----------------------------------------------------------------------------------


def test_calibration_compares_confidence_with_how_often_it_was_right():
    sure = np.array([0.05, 0.15, 0.95, 1.0, 0.97])
    right = np.array([False, True, True, True, False])
    curve = calibration(sure, right, bins=10)
    np.testing.assert_allclose(curve.x, [0.05, 0.15, (0.95 + 1 + 0.97) / 3])
    np.testing.assert_allclose(curve.y, [0, 1, 2 / 3])


def test_an_honest_confidence_lies_on_the_diagonal():
    random = np.random.default_rng(0)
    sure = random.random(200_000)
    curve = calibration(sure, random.random(200_000) < sure)
    assert len(curve.x) == 10
    # The share of 20,000 answers strays by 0.0035 (one standard deviation) at most.
    np.testing.assert_allclose(curve.y, curve.x, atol=0.0175)


def test_confidence_beyond_one_and_no_bins_are_refused():
    with pytest.raises(ValueError, match="confidence in"):
        calibration(np.array([1.5]), np.array([True]))
    with pytest.raises(ConfigError, match="at least 1 bin"):
        calibration(np.array([0.5]), np.array([True]), bins=0)


def test_nothing_at_all_is_an_empty_curve():
    curve = calibration(np.zeros(0), np.zeros(0, dtype=bool))
    assert curve.x.shape == curve.y.shape == (0,)
